"""The formats that `tangency` reads: how a valid file is made, what is mutated in it, and how it is loaded."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.mutations import BYTES, TEXT, Mutation, safetensors_header, several, zip_member

CLASSES = ("ant", "bee")


@dataclass(frozen=True)
class Subject:
    """A format.

    Args:
        make: writes valid files into an empty folder.
        load: reads them, as a user's command would.
        kinds: mutations; each mutant gets one of them.
        magic: whether a mutant still looks like its format at first sight, so that it gets past the first check.
        files: pattern of the files of which one is mutated.
        writes: whether loading may write into the folder.
    """

    make: Callable[[Path], None]
    load: Callable[[Path], object]
    kinds: tuple[Mutation, ...]
    magic: Callable[[bytes], bool]
    files: str = "*"
    writes: bool = False


def _pixels(count: int = 24, side: int = 8, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, channels, side, side), dtype=np.uint8), np.arange(count) % 2


def _load_data(reference: str) -> Callable[[Path], object]:
    def load(folder: Path) -> object:
        from tangency.data import load_split

        return load_split(reference, root=folder).images()

    return load


def _npz(folder: Path) -> None:
    images, labels = _pixels()
    np.savez(folder / "a.npz", images=images, labels=labels, classes=np.array(CLASSES))


def _load_maps(folder: Path) -> object:
    from tangency.measures import read_maps

    return read_maps(f"npz:{folder / 'maps.npz'}", 24, (1, 8, 8))


def _maps(folder: Path) -> None:
    np.savez_compressed(folder / "maps.npz", saliency=np.random.default_rng(0).random((24, 8, 8)))


def _encoded(form: str) -> list[bytes]:
    from data.pictures import encode

    return [encode(image.transpose(1, 2, 0), form) for image in _pixels(24, 12, 3)[0]]


def _parquet(folder: Path) -> None:
    import polars

    images = [{"bytes": one, "path": None} for one in _encoded("PNG")]
    table = polars.DataFrame({"image": images, "label": [i % 2 for i in range(24)]})
    names = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    table.write_parquet(folder / "a.parquet", metadata={"huggingface": json.dumps(names)}, row_group_size=10)


def _idx(folder: Path) -> None:
    from tangency.data.readers.idx import encode_idx

    for split, count in (("train", 24), ("t10k", 12)):
        images, labels = _pixels(count, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(encode_idx(images[:, 0]))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encode_idx(labels.astype(np.uint8))))


def _gzipped(inner: Mutation) -> Mutation:
    def mutate(data: bytes, rng: random.Random) -> bytes:
        packed = data[:2] == b"\x1f\x8b"
        changed = inner(gzip.decompress(data) if packed else data, rng)
        return gzip.compress(changed) if packed else changed

    return mutate


def _load_idx(folder: Path) -> object:
    from tangency.data import load

    return load(f"mnist:{folder}")


def _pictures(form: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for number, encoded in enumerate(_encoded(form)):
            path = folder / "images" / CLASSES[number % 2] / f"{number}.{form.lower()}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)

    return make


def _cifar(folder: Path) -> None:
    from data.python2 import batch

    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / name).write_bytes(batch(pixels, [i % 10 for i in range(20)]))


def _load_cifar(folder: Path) -> object:
    from tangency.data import load

    return load(f"cifar10:{folder}")


def _net() -> Any:
    from tangency.models import build

    return build("convnet", (1, 8, 8), list(CLASSES), seed=0, channels=[4, 4, 4])


def _card(folder: Path) -> None:
    from tangency.models import save_classifier

    save_classifier(_net(), folder / "net.safetensors")


def _resealed(data: bytes, rng: random.Random) -> bytes:
    """A card or tensor changed under a checksum that holds."""
    import tempfile

    from safetensors import SafetensorError
    from safetensors.torch import load, save_file

    from fuzz.mutations import text
    from tangency.tensors import _KEY, _checksum

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    try:
        tensors = load(data)
    except SafetensorError:
        return data
    changed = text(header[_KEY].encode(), rng).decode("utf-8", "replace")
    if rng.random() < 0.3:
        name = rng.choice(sorted(tensors))
        one = tensors.pop(name)
        tensors[rng.choice((name, "other"))] = rng.choice((one.double(), one.flatten(), one * float("nan"), one[:1]))
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        save_file(tensors, file.name, metadata={**header, _KEY: changed, "sha256": _checksum(changed, tensors)})
        return Path(file.name).read_bytes()


def _load_card(folder: Path) -> object:
    import torch

    from tangency.models import load_model

    with torch.no_grad():
        return load_model(str(folder / "net.safetensors"))(torch.rand(2, 1, 8, 8))


ARCHITECTURE = "arch=convnet&shape=1x8x8&channels=4,4,4&range=0,1&mean=none"


def _load_states(name: str) -> Callable[[Path], object]:
    def load(folder: Path) -> object:
        from tangency.models import load_model

        return load_model(f"state_dict:{folder / name}?{ARCHITECTURE}")

    return load


def _states(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in _net().module.state_dict().items()}, folder / "net.safetensors")


def _torch(zipped: bool) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import torch

        net = _net().module
        optimiser = torch.optim.Adam(net.parameters())
        content = {"state_dict": net.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 3, "arch": "convnet"}
        torch.save(content, folder / "net.pt", _use_new_zipfile_serialization=zipped)

    return make


def _onnx(folder: Path) -> None:
    from models.onnx_graphs import network

    network(folder / "net.onnx", ending="Softmax")


def _onnx_parts(data: bytes, rng: random.Random) -> bytes:
    """A dimension, number, name or operator of the graph changed, the encoding kept."""
    import onnx

    model = onnx.load_model_from_string(data)
    graph, odd = model.graph, rng.choice((-1, 0, 1, 7, 2**31, 2**40, 2**62))
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    kind = rng.randrange(8)
    if kind == 0:
        tensor.dims[rng.randrange(len(tensor.dims))] = odd
    elif kind == 1:
        tensor.data_type = rng.randrange(0, 25)
    elif kind == 2:
        tensor.raw_data = several(BYTES)(tensor.raw_data, rng)
    elif kind == 3 and node.attribute:
        one = rng.choice(node.attribute)
        one.i, one.ints[:] = odd, [odd] * len(one.ints)
    elif kind == 4:
        node.op_type = rng.choice(("Softmax", "Conv", "Reshape", "Identity", "Nothing", "", "If", "Tile", "Expand"))
    elif kind == 5:
        model.opset_import[0].version = odd
    elif kind == 6:
        node.input[rng.randrange(len(node.input))] = rng.choice(("", "x", "y", "w", "nothing", node.output[0]))
    else:
        where = rng.choice((graph.input, graph.output))[0].type.tensor_type
        where.shape.dim[rng.randrange(len(where.shape.dim))].dim_value = odd
    return model.SerializeToString()


def _load_onnx(folder: Path) -> object:
    from tangency.models import load_model

    return load_model(f"onnx:{folder / 'net.onnx'}?range=0,1&mean=none")


def _edm(folder: Path) -> None:
    from score.edm_fixture import edm_bytes
    from score.hostile_layouts import network

    (folder / "net.pkl").write_bytes(edm_bytes(network()))


def _load_edm(folder: Path) -> object:
    from tangency.score.edm.pickle_file import load_edm_pickle

    return load_edm_pickle(folder / "net.pkl")


def _diffusers(folder: Path) -> None:
    from diffusers import DDPMScheduler

    from score.test_diffusers import pipeline

    pipeline(folder / "ddpm", DDPMScheduler(clip_sample=False))
    (folder / "ddpm" / "model_index.json").unlink(missing_ok=True)


def _load_diffusers(folder: Path) -> object:
    import torch

    from tangency.score import load_diffusers

    return load_diffusers(folder / "ddpm").denoise(torch.rand(1, 3, 8, 8), 0.1)


def _by_kind(text: tuple[Mutation, ...], binary: tuple[Mutation, ...]) -> Mutation:
    """Text is mutated as text."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        return rng.choice(text if data[:1] in (b"{", b"n", b"[") else binary)(data, rng)

    return mutate


def _safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data)


def _text(data: bytes) -> bool:
    import yaml

    try:
        return isinstance(yaml.safe_load(data), dict)
    except (yaml.YAMLError, ValueError):
        return False


def _whole_or_text(data: bytes) -> bool:
    if data[:4] == b"PAR1":
        return data[-4:] == b"PAR1"
    return _safetensors(data) or _text(data)


def _onnx_magic(data: bytes) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return bool(onnx.load_model_from_string(data).graph.node)
    except DecodeError:
        return False


def _spec(folder: Path) -> None:
    from tangency.study import load_spec
    from tangency.study.spec import dump_spec

    (folder / "spec.yaml").write_text(dump_spec(load_spec(Path("quickstart"))))


def _load_spec(folder: Path) -> object:
    from tangency.study import load_spec

    return load_spec(folder / "spec.yaml").digest()


ZIP: Callable[[bytes], bool] = lambda data: data[:4] == b"PK\x03\x04" and b"PK\x05\x06" in data[-64:]  # noqa: E731
RAW = several(BYTES)
SAFETENSORS = (RAW, safetensors_header)
FOLDER = (_by_kind(TEXT, SAFETENSORS),)
SUBJECTS: dict[str, Subject] = {
    "npz": Subject(_npz, _load_data("npz:a.npz"), (RAW, zip_member(RAW)), ZIP),
    "npy": Subject(_maps, _load_maps, (zip_member(RAW), RAW), ZIP),
    "parquet": Subject(
        _parquet, _load_data("parquet:a.parquet"), (RAW,), lambda d: d[:4] == b"PAR1" and d[-4:] == b"PAR1"
    ),
    "idx": Subject(_idx, _load_idx, (RAW, _gzipped(RAW)), lambda d: d[:3] in (b"\0\0\x08", b"\x1f\x8b\x08")),
    "png": Subject(
        _pictures("PNG"), _load_data("folder:images"), (RAW,), lambda d: d[:8] == b"\x89PNG\r\n\x1a\n", "images/*/*"
    ),
    "jpeg": Subject(
        _pictures("JPEG"), _load_data("folder:images"), (RAW,), lambda d: d[:3] == b"\xff\xd8\xff", "images/*/*"
    ),
    "cifar": Subject(_cifar, _load_cifar, (RAW,), lambda d: d[:2] == b"\x80\x02"),
    "card": Subject(_card, _load_card, (*SAFETENSORS, _resealed, _resealed), _safetensors),
    "safetensors": Subject(_states, _load_states("net.safetensors"), SAFETENSORS, _safetensors),
    "torch zip": Subject(_torch(True), _load_states("net.pt"), (RAW, zip_member(RAW)), ZIP),
    "torch legacy": Subject(_torch(False), _load_states("net.pt"), (RAW,), lambda d: d[:2] == b"\x80\x02"),
    "onnx": Subject(_onnx, _load_onnx, (RAW, _onnx_parts), _onnx_magic),
    "edm": Subject(_edm, _load_edm, (RAW,), lambda d: d[:1] == b"\x80"),
    "diffusers": Subject(_diffusers, _load_diffusers, FOLDER, _whole_or_text, "ddpm/*/*"),
    "spec": Subject(_spec, _load_spec, TEXT, _text),
}
