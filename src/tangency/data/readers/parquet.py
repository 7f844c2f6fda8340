"""Parquet and Arrow files of Hugging Face's datasets: a column of encoded images, a column of labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tangency.data.build import Source, labelled, numbered_classes
from tangency.data.readers.decode import decode_images
from tangency.data.readers.shards import Column, SplitFiles, described_columns, find_shards
from tangency.errors import DataError, listed, quoted, unknown_name
from tangency.files import polars_errors
from tangency.formats.opening import existing_file, refuse_foreign
from tangency.references import Reference
from tangency.types import LabelledImages

if TYPE_CHECKING:
    import polars

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_EXPECTED = "a Parquet file with a column of images and a column of labels"
_TEST_NAMES = ("test", "testing", "validation", "valid", "val", "dev")
_MODES = {"L": 1, "1": 1, "RGB": 3}


def _column(schema: Sequence[str], given: str | None, usual: tuple[str, ...], role: str, path: Path) -> str:
    """The column for `role`: the one given, or the only usual one that is there."""
    there = [name for name in ((given,) if given else usual) if name in schema]
    if not there:
        wanted = f"'{given}'" if given else " or ".join(usual)
        raise DataError(
            f"{path}: no {role} column {wanted}; the columns are {listed(schema)}. Name it with {role}=COLUMN."
        )
    return there[0]


def _metadata(path: Path) -> dict[str, Column]:
    """Hugging Face's description of the columns in the file; empty where there is none."""
    import polars

    if path.suffix == ".arrow":
        return {}
    try:
        with polars_errors():
            return described_columns(json.loads(polars.read_parquet_metadata(path)["huggingface"])["info"]["features"])
    except (ValueError, KeyError, TypeError, RecursionError, polars.exceptions.PolarsError):
        return {}  # the metadata is optional, and other writers fill it otherwise


def _encoded(column: polars.Series, path: Path) -> list[bytes]:
    """The encoded images of a column of bytes, or of structs with a field `bytes`."""
    import polars

    name = column.name
    if isinstance(column.dtype, polars.Struct) and "bytes" in column.struct.fields:
        column = column.struct.field("bytes")
    if column.dtype not in (polars.Binary, polars.Null):
        raise DataError(
            f"{path}: the column '{name}' holds {str(column.dtype)[:100]}, expected encoded images (bytes, or a "
            "struct with a field 'bytes'). Name another one with image=COLUMN; arrays of pixels are read from .npz."
        )
    if column.null_count():
        row = column.is_null().arg_max()
        raise DataError(
            f"{path}: row {row} holds no image bytes, expected a JPEG or PNG. A file that only names paths "
            "must be written again with the images in it."
        )
    return column.to_list()


def _targets(column: polars.Series, names: tuple[str, ...], given: str, path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Labels (N,) int64 and class names, from integers or from class names."""
    import polars

    if column.null_count():
        raise DataError(f"{path}: row {column.is_null().arg_max()} has no label. Remove the row.")
    if column.dtype == polars.Boolean:
        column, names = column.cast(polars.Int64), names or ("False", "True")
    if column.dtype in (polars.String, polars.Categorical) or isinstance(column.dtype, polars.Enum):
        return _named_targets(column.cast(polars.String), given, path)
    if not column.dtype.is_integer():
        raise DataError(
            f"{path}: the column '{column.name}' holds {str(column.dtype)[:100]}, expected class numbers or class "
            "names. Name another one with label=COLUMN."
        )
    whole = column.cast(polars.Int64, strict=False)
    if whole.null_count():
        raise DataError(f"{path}: row {whole.is_null().arg_max()} has a label beyond 64 bits, expected class numbers.")
    labels = torch.from_numpy(whole.to_numpy().copy())
    if bool((labels == -1).all()):
        raise DataError(
            f"{path}: each label is -1, as where a competition keeps the labels of its test images to itself. Take "
            "the images of another split, as with test=validation."
        )
    return labels, names if names and not given else numbered_classes(labels, given, str(path))


def _named_targets(texts: polars.Series, given: str, path: Path) -> tuple[Tensor, tuple[str, ...]]:
    """Labels from class names: sorted, or in the order of the option `classes`."""
    present = tuple(texts.unique().sort().to_list())
    names = tuple(part.strip() for part in given.split(",")) if given else present
    unknown = [name for name in present if name not in names]
    if unknown:
        raise DataError(f"{path}: classes={given} lacks the labels {listed(unknown)}. Name them all.")
    place = {name: number for number, name in enumerate(names)}
    return torch.tensor([place[text] for text in texts], dtype=torch.int64), names


def _table(path: Path, options: Mapping[str, str]) -> tuple[polars.DataFrame, str, str]:
    """The two columns of a file, and their names."""
    import polars
    from polars.exceptions import PolarsError

    arrow = path.suffix == ".arrow"
    with existing_file(path, _EXPECTED).open("rb") as handle:
        head = handle.read(512)
    if not arrow and not head.startswith(b"PAR1"):
        refuse_foreign(head, str(path), _EXPECTED)
    try:
        with polars_errors():
            whole = polars.read_ipc_stream(path) if arrow else None
            schema = list(polars.read_parquet_schema(path) if whole is None else whole.schema)
            image = _column(schema, options.get("image"), _IMAGE_COLUMNS, "image", path)
            label = _column(schema, options.get("label"), _LABEL_COLUMNS, "label", path)
            table = polars.read_parquet(path, columns=[image, label]) if whole is None else whole.select(image, label)
    except (PolarsError, OSError, ValueError) as error:
        what = "Arrow" if arrow else "Parquet"
        raise DataError(f"{path}: cannot be read as {what} ({quoted(error)}), expected {_EXPECTED}.") from error
    if not table.height:
        raise DataError(f"{path}: has no rows, expected at least one image.")
    return table, image, label


def read_parquet(
    paths: Sequence[Path],
    reference: Reference,
    classes: tuple[str, ...] = (),
    columns: Mapping[str, Column] | None = None,
    name: str = "",
) -> LabelledImages:
    """All images of one or several Parquet (or Arrow stream) files, turned as their EXIF orientation says.

    Args:
        paths: the files, in order.
        reference: its options `image` and `label` name columns; `classes=a,b,c`, `size` and `channels` as
            elsewhere.
        classes: names, where the caller knows them.
        columns: as a file beside the images describes them.
        name: what results call the images; the reference by default.

    Raises:
        DataError: not a Parquet file, no such columns, a damaged image (with its row), labels out of range, files that
            name different classes.
    """
    tables = [_table(path, reference.options) for path in paths]
    described = [columns or _metadata(path) for path in paths]
    label_columns = (one.get(label, Column()) for one, (_, _, label) in zip(described, tables, strict=True))
    own = _common_names(paths, [column.names for column in label_columns])
    if classes and own and own != classes:
        raise DataError(
            f"{paths[0]}: names the classes {listed(own)}, expected {listed(classes)}: other data under this name. "
            f"Give it as parquet:{paths[0]}."
        )
    column = _joined([table[label] for table, _, label in tables], reference)
    labels, names = _targets(column, classes or own, reference.options.get("classes", ""), paths[0])
    encoded: list[bytes] = []
    places: list[tuple[Path, int]] = []
    for path, (table, image, _) in zip(paths, tables, strict=True):
        encoded += _encoded(table[image], path)
        places += [(path, row) for row in range(table.height)]
    pixels, turned = decode_images(
        encoded,
        lambda index: f"{places[index][0]}, row {places[index][1]}",
        reference,
        upright=True,
        channels=_MODES.get(described[0].get(tables[0][1], Column()).mode),
    )
    said = [f"{turned} images were turned as their EXIF orientation says, as datasets does"] if turned else []
    return labelled(pixels, labels, names, name or reference.text, said)


def _common_names(paths: Sequence[Path], names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The class names that all files agree on; empty where none names any."""
    named = set(names) - {()}
    if len(named) > 1:
        raise DataError(f"{listed(map(str, paths), 3)}: these files name different classes, expected the same.")
    return next(iter(named), ())


def _joined(columns: Sequence[polars.Series], reference: Reference) -> polars.Series:
    import polars

    kinds = sorted({str(column.dtype)[:60] for column in columns})
    if len(kinds) > 1:
        raise DataError(f"{reference.text}: its files hold labels of the kinds {listed(kinds)}, expected one kind.")
    return polars.concat(columns)


def open_parquet(reference: Reference, root: Path | None) -> Source:
    """Parquet files: one split, or those that names of files, folders or a dataset card separate."""
    path = reference.path(root)
    if not path.exists() and not any(sign in path.name for sign in "*["):
        existing_file(path, _EXPECTED)
    files = find_shards(path, reference)
    chosen, notes = _chosen(files, reference)
    readers = {}
    for part, split in chosen.items():
        name = reference.text if len(chosen) == 1 else f"{reference.text} {split}"
        readers[part] = partial(read_parquet, files.splits[split], reference, columns=files.columns, name=name)
    return Source(reference.text, readers, notes=(*files.notes, *notes))


def _chosen(files: SplitFiles, reference: Reference) -> tuple[dict[str, str], list[str]]:
    """Which splits are train and test, the only one being split by us, and a note where there are more."""
    names = list(files.splits)
    requested = {part: reference.options.get(part, "") for part in ("train", "test")}
    requested = {part: name for part, name in requested.items() if name and not name.isdecimal()}
    for name in requested.values():
        if name not in names:
            raise DataError(f"{reference.text}: {unknown_name('split or file', name, names)}")
    if len(names) == 1:
        note = f"only the split '{names[0]}' is there: it is split five to one"
        return {"whole": names[0]}, [] if names[0] == "whole" else [note]
    train = requested.get("train", "train")
    test = requested.get("test") or next((name for name in _TEST_NAMES if name in names and name != train), "")
    if train not in names or test not in names:
        raise DataError(
            f"{reference.text}: has the splits {listed(names)}, expected train and test. Choose them with "
            "train=NAME&test=NAME."
        )
    rest = [name for name in names if name not in (train, test)]
    note = f"train is the split '{train}', test is '{test}', not used: {listed(rest)}"
    return {"train": train, "test": test}, [note] if rest or test != "test" else []
