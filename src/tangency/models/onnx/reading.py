"""ONNX files to protobufs: the file, gzipped or not, and weights in a plain file beside it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tangency.errors import DataError, ModelError, TangencyError, quoted
from tangency.formats.opening import read_bytes, refuse_foreign
from tangency.models.onnx.operators.calls import GraphError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

_EXPECTED = "a network in ONNX"
_GZIP = b"\x1f\x8b"
_LARGEST = 2**31 - 2**20  # of a protobuf
_ONE_FILE = "onnx.save(onnx.load(FILE), FILE, save_as_external_data=False) where it was exported writes one file"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever onnx or an operator raises because of a graph becomes a ModelError that names the file."""
    try:
        yield
    except GraphError as error:
        text = str(error).removeprefix("onnx: ")
        raise ModelError(text if str(path) in text else f"{path}: {text} {_WAY_OUT}") from error
    except TangencyError:
        raise
    except Exception as error:
        raise ModelError(
            f"{path}: the graph cannot be read ({type(error).__name__}: {quoted(error)}); expected {_EXPECTED}. "
            f"{_WAY_OUT}"
        ) from error


_WAY_OUT = (
    "Where the file is whole (onnx.checker.check_model accepts it), give the network in another way: as state_dict:, "
    "timm:, hf:, export: or torchscript:."
)


def onnx_package(path: Path | str) -> Any:
    """The package, or a ModelError that says how to install it."""
    try:
        import onnx
        import onnx.checker
        import onnx.inliner
        import onnx.numpy_helper
    except ImportError as error:
        raise ModelError(f"{path}: {error}; install the extra with pip install 'tangency[onnx]'.") from error
    return onnx


def read_model(path: Path) -> tuple[ModelProto, tuple[Path, ...]]:
    """The protobuf of a file, with its weights, checked by onnx; and the files beside it that held them.

    Raises:
        ModelError: another kind of file, a damaged one, or missing files of weights.
    """
    onnx = onnx_package(path)
    from google.protobuf.message import DecodeError

    try:
        data = _unpacked(read_bytes(path, _EXPECTED), path)
        refuse_foreign(data[:512], str(path), _EXPECTED)
    except DataError as error:
        raise ModelError(str(error)) from error
    try:
        model = onnx.load_from_string(data)
        beside = _fill_external(model, path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: not a readable ONNX network ({quoted(error)}); expected {_EXPECTED}. Fetch it again."
        ) from error
    return model, beside


def _unpacked(data: bytes, path: Path) -> bytes:
    """The content of a gzip file, up to the size of a protobuf; other data unchanged."""
    if not data.startswith(_GZIP):
        return data
    packed = zlib.decompressobj(wbits=31)
    try:
        content = packed.decompress(data, _LARGEST)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ModelError(
            f"{path}: a damaged gzip file ({quoted(error)}); expected {_EXPECTED}. Fetch it again."
        ) from error
    if not packed.eof:
        more = "holds more than the 2 GB of a graph" if packed.unconsumed_tail else "ends too early"
        raise ModelError(f"{path}: a gzip file that {more}; expected {_EXPECTED}. Fetch it again.")
    return content


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors of a graph or a function, in subgraphs as well."""
    yield from getattr(graph, "initializer", ())
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from [attribute.t] * attribute.HasField("t")
        yield from attribute.tensors
        for inner in [*[attribute.g] * attribute.HasField("g"), *attribute.graphs]:
            yield from _tensors(inner)


def _beside(path: Path, place: str) -> Path:
    """The file of weights of that name in the folder of the graph, and nowhere else."""
    if not place or place in (".", "..") or any(sign in place for sign in '/\\:\0"'):
        raise ModelError(
            f"{path}: its weights are said to lie in '{place[:100]}', expected the name of a file beside it. "
            f"{_ONE_FILE}."
        )
    file = path.parent / place
    if not file.exists():
        raise ModelError(
            f"{path}: its weights lie in '{place}', which is not beside it. Copy that file from where the graph is "
            f"from; or {_ONE_FILE}."
        )
    if not file.is_file() or file.resolve().parent != path.parent.resolve():
        raise ModelError(
            f"{path}: its weights are said to lie in '{place}', which is no plain file of this folder (a link, or a "
            f"folder). Copy the file itself; or {_ONE_FILE}."
        )
    return file


def _fill_external(model: ModelProto, path: Path) -> tuple[Path, ...]:
    """Put weights of files beside the graph into it, and name those files."""
    total, files = 0, set()
    tensors = [tensor for part in (model.graph, *model.functions) for tensor in _tensors(part)]
    for tensor in (tensor for tensor in tensors if tensor.data_location == tensor.EXTERNAL):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = _beside(path, entries.get("location", ""))
        files.add(file)
        size = file.stat().st_size
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        except ValueError:
            offset, length = -1, -1
        length = size - offset if length < 0 and "length" not in entries else length
        total += max(length, 0)
        if offset < 0 or length < 0 or offset + length > size:
            raise ModelError(
                f"{path}: the weights '{tensor.name}' lie at bytes {offset} to {offset + length} of '{file.name}', "
                f"which has {size}: it is cut, or of another graph. Fetch both files again."
            )
        if total > _LARGEST:
            raise ModelError(f"{path}: more than 2 GB of weights, expected less; give the network as state_dict:.")
        with open(file, "rb") as handle:
            handle.seek(offset)
            tensor.raw_data = handle.read(length)
        del tensor.external_data[:]
        tensor.data_location = tensor.DEFAULT
    return tuple(sorted(files))
