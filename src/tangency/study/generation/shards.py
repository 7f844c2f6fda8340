"""Batches of generated pictures on disk, until they are judged; then rows and the few pictures that are kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from tangency.errors import ModelError
from tangency.evaluate.generation.numbers import SetNumbers, long_table
from tangency.files import atomic, is_whole
from tangency.generation.tasks.inputs import Outcome
from tangency.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    import polars

SHOWN = 10  # pictures of each source that are kept for the report


@dataclass(frozen=True)
class JudgedPictures:
    """What is kept of one task of one trial, or of its references.

    Args:
        rows: columns image, class, source, measure, value.
        pictures: source to the first pictures, (n, C, H, W).
        labels: (n,) the classes they are meant to show.
        how: source to words.
        sets: source to numbers of its pictures as a set.
        unavailable: what could not be judged, and why.
    """

    rows: polars.DataFrame
    pictures: dict[str, Tensor]
    labels: Tensor
    how: dict[str, str]
    sets: dict[str, SetNumbers]
    unavailable: dict[str, str]


@dataclass(frozen=True)
class PictureFiles:
    """The files of one task of one trial, or of its references."""

    folder: Path

    def path(self, number: int) -> Path:
        """Pictures of one batch."""
        return self.folder / f"pictures-{number:04d}.safetensors"

    @property
    def rows(self) -> Path:
        """Rows of all pictures."""
        return self.folder / "rows.parquet"

    @property
    def judged(self) -> Path:
        """The few pictures that are kept, with their numbers as a set; written last."""
        return self.folder / "judged.safetensors"

    def made(self, number: int) -> bool:
        """Whether a batch is there and whole; a damaged one is made again."""
        return _sound(self.path(number))

    def done(self) -> bool:
        """Whether all is judged."""
        return is_whole(self.rows, ("image", "source", "measure", "value")) and _sound(self.judged)

    def write(self, number: int, outcome: Outcome) -> None:
        """Write one batch, whole or not at all."""
        tensors = {"y": outcome.y} | {f"picture.{source}": pictures for source, pictures in outcome.pictures.items()}
        for source, columns in outcome.columns.items():
            tensors |= {f"column.{source}.{name}": values for name, values in columns.items()}
        write_tensors(self.path(number), tensors, {"how": outcome.how})

    def read(self, number: int, device: str) -> Outcome:
        """One batch as it was written."""
        tensors, header = read_tensors(self.path(number))
        outcome = Outcome(tensors["y"].to(device), how=header["how"])
        for name, values in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "picture":
                outcome.pictures[rest] = values.to(device)
            elif kind == "column":
                source, _, column = rest.partition(".")
                outcome.columns.setdefault(source, {})[column] = values.to(device)
        return outcome

    def write_judged(
        self,
        ids: Tensor,
        outcome: Outcome,
        columns: dict[str, dict[str, Tensor]],
        sets: dict[str, SetNumbers],
        unavailable: dict[str, str],
    ) -> None:
        """Write rows, then the first pictures with the rest; then the batches are needed no more."""
        with atomic(self.rows) as temporary:
            long_table(ids, outcome.y, columns).write_parquet(temporary, compression="zstd")
        header = {
            "how": {source: outcome.how[source] for source in columns},
            "sets": {source: numbers.to_json() for source, numbers in sets.items()},
            "unavailable": unavailable,
        }
        kept = {f"picture.{source}": outcome.pictures[source][:SHOWN] for source in columns}
        write_tensors(self.judged, kept | {"labels": outcome.y[:SHOWN]}, header)
        self.clear()

    def clear(self) -> None:
        """Remove batches that are judged."""
        for path in self.folder.glob("pictures-*.safetensors"):
            path.unlink()

    def read_judged(self) -> JudgedPictures:
        """What `write_judged` wrote."""
        import polars

        tensors, header = read_tensors(self.judged)
        pictures = {name.removeprefix("picture."): images for name, images in tensors.items() if name != "labels"}
        rows, labels = polars.read_parquet(self.rows), tensors["labels"]
        sets = {source: SetNumbers.from_json(numbers) for source, numbers in header["sets"].items()}
        return JudgedPictures(rows, pictures, labels, header["how"], sets, header["unavailable"])


def _sound(path: Path) -> bool:
    try:
        read_tensors(path)
    except ModelError:
        return False
    return True


def identity(*parts: object) -> str:
    """Hash of all that decides the content of a folder."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
