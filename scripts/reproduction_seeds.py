"""Parts whose networks take hours: run a seed at a time, whose rows join those that ship, on whatever machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from reproduction_rows import ROWS, packed, read_table, write_table
from tangency.files import file_digest
from tangency.study import StudySpec

_SAME = ("name", "spec_hash", "data", "dimension", "constant", "exact")  # of all seeds of a part


def registered(spec: StudySpec, score: Path) -> str:
    """A digest of the spec without its seeds, and of the weights of the trained score."""
    plain = spec.model_copy(update={"seeds": (0,), "network_score": ""})
    return hashlib.sha256(f"{plain.digest()} {file_digest(score)}".encode()).hexdigest()[:16]


def shipped_seeds(name: str, digest: str, folder: Path = ROWS) -> set[int]:
    """Seeds whose rows ship.

    Raises:
        SystemExit: they were made from another spec or score.
    """
    table = read_table(name, folder)
    if table is None:
        return set()
    if (own := table[1]["spec_hash"]) != digest:
        raise SystemExit(
            f"{name}: the rows that ship are of spec and score {own}, expected {digest}; "
            f"delete reproduction/rows/{name}.* to make them anew."
        )
    return {seed for recipe in table[1]["recipes"] for seed in recipe["seeds"]}


def add_seed(run: Path, name: str, digest: str, folder: Path = ROWS) -> None:
    """Join the rows of a run of one seed to those that ship.

    Raises:
        SystemExit: the run is of other data, or of seeds that ship already.
    """
    frame, about = packed(run)
    about |= {"spec_hash": digest}
    if (table := read_table(name, folder)) is not None:
        about = _joined(table[1], about)
        frames = [own.with_columns(pl.col("trial").cast(pl.String)) for own in (table[0], frame)]
        frames[0] = frames[0].filter(~pl.col("trial").is_in(frames[1]["trial"].unique()))  # of a join that was killed
        frame = pl.concat(frames, how="diagonal").with_columns(pl.col("trial").cast(pl.Categorical))
    write_table(frame, name, about, folder)


def _joined(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    if different := [key for key in _SAME if earlier[key] != later[key]]:
        key = different[0]
        raise SystemExit(f"{later['name']}: {key} is {later[key]}, of the rows that ship it is {earlier[key]}.")
    recipes = {own["id"]: own for own in earlier["recipes"]}
    for own in later["recipes"]:
        before = recipes.get(own["id"], own | {"seeds": []})["seeds"]
        if twice := set(before) & set(own["seeds"]):
            raise SystemExit(f"{later['name']}: the rows of seed {min(twice)} ship already.")
        recipes[own["id"]] = own | {"seeds": sorted([*before, *own["seeds"]])}
    slack = {key: max(own.get(key, 0.0) for own in (earlier["slack"], later["slack"])) for key in later["slack"]}
    versions = {key: _both(earlier["versions"][key], own) for key, own in later["versions"].items()}
    return later | {
        "recipes": list(recipes.values()),
        "gate": [*earlier["gate"], *later["gate"]],
        "slack": slack,
        "seconds": earlier["seconds"] + later["seconds"],
        "versions": versions,
    }


def _both(earlier: str, later: str) -> str:
    return earlier if later in earlier.split(", ") else f"{earlier}, {later}"
