"""Parquet files in the layout of Hugging Face's datasets: a column of encoded images, a column of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tangency.data.build import Source, labelled, numbered_classes
from tangency.data.decode import decode_images
from tangency.data.opening import existing_file, refuse_foreign
from tangency.data.references import Reference
from tangency.errors import DataError, listed
from tangency.types import LabelledImages

if TYPE_CHECKING:
    import polars

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_EXPECTED = "a Parquet file with a column of images and a column of labels"


def _column(schema: Sequence[str], given: str | None, usual: tuple[str, ...], role: str, path: Path) -> str:
    """The column for `role`: the one given, or the only usual one that is there."""
    there = [name for name in ((given,) if given else usual) if name in schema]
    if not there:
        wanted = f"'{given}'" if given else " or ".join(usual)
        raise DataError(
            f"{path}: no {role} column {wanted}; the columns are {listed(schema)}. Name it with {role}=COLUMN."
        )
    return there[0]


def _label_names(path: Path, column: str) -> tuple[str, ...]:
    """Class names from Hugging Face's metadata in the file; empty where there are none."""
    import polars

    text = polars.read_parquet_metadata(path).get("huggingface")
    if text is None:
        return ()
    try:
        names = json.loads(text)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return ()  # the metadata is optional, and other writers fill it otherwise
    return tuple(map(str, names))


def _encoded(column: polars.Series, path: Path) -> list[bytes]:
    """The encoded images of a column of bytes, or of structs with a field `bytes`."""
    import polars

    if isinstance(column.dtype, polars.Struct) and "bytes" in column.struct.fields:
        column = column.struct.field("bytes")
    if column.dtype != polars.Binary:
        raise DataError(
            f"{path}: the column '{column.name}' holds {column.dtype}, expected encoded images (bytes, or a "
            "struct with a field 'bytes'). Name another one with image=COLUMN."
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
    if column.dtype in (polars.String, polars.Categorical):
        texts = column.cast(polars.String)
        names = tuple(texts.unique().sort().to_list())
        return torch.tensor([names.index(text) for text in texts], dtype=torch.int64), names
    if not column.dtype.is_integer():
        raise DataError(
            f"{path}: the column '{column.name}' holds {column.dtype}, expected class numbers or class "
            "names. Name another one with label=COLUMN."
        )
    labels = torch.from_numpy(column.cast(polars.Int64).to_numpy().copy())
    return labels, names if names and not given else numbered_classes(labels, given, str(path))


def read_parquet(path: Path, reference: Reference, classes: tuple[str, ...] = ()) -> LabelledImages:
    """All images of a Parquet file.

    Args:
        path: the file.
        reference: its options `image` and `label` name columns; `classes=a,b,c`, `size` and `channels` as
            elsewhere.
        classes: names, where the caller knows them.

    Raises:
        DataError: not a Parquet file, no such columns, a damaged image (with its row), labels out of range.
    """
    import polars
    from polars.exceptions import PolarsError

    options = reference.options
    with existing_file(path, _EXPECTED).open("rb") as handle:
        head = handle.read(512)
    if not head.startswith(b"PAR1"):
        refuse_foreign(head, str(path), _EXPECTED)
    try:
        schema = polars.read_parquet_schema(path)
        image = _column(list(schema), options.get("image"), _IMAGE_COLUMNS, "image", path)
        label = _column(list(schema), options.get("label"), _LABEL_COLUMNS, "label", path)
        table = polars.read_parquet(path, columns=[image, label])
        names = classes or _label_names(path, label)
    except (PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet ({error}), expected {_EXPECTED}.") from error
    if not table.height:
        raise DataError(f"{path}: has no rows, expected at least one image.")
    labels, names = _targets(table[label], names, options.get("classes", ""), path)
    encoded = _encoded(table[image], path)
    pixels = decode_images(encoded, lambda row: f"{path}, row {row}", reference)
    return labelled(pixels, labels, names, reference.text)


def open_parquet(reference: Reference, root: Path | None) -> Source:
    """A Parquet file as one split."""
    path = existing_file(reference.path(root), _EXPECTED)
    return Source(reference.text, {"whole": lambda: read_parquet(path, reference)})
