"""What ships of a run: the columns that claims need, a row for each network and image, each in coarse steps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tangency.evaluate.verdicts import Recipe, SweepRows
from tangency.files import atomic
from tangency.measures.keys import Key
from tangency.study.plan import FILTERED, REFERENCES, Trial
from tangency.study.sweep import STANDARD
from tangency.training import TrainConfig

ROWS = Path(__file__).parents[1] / "reproduction" / "rows"
STEP, MEAN = 1 / 8, 1 / 4000  # most that a value, and a network's mean, moves: in standard deviations over its images
BITS = 7  # of the mantissa of `MEDIANS`, whose value is one image's: it is off by less than 8·10⁻³ of itself, at random
MEDIANS = ("radius",)  # of which claims use the median, not the mean
NOISE = 0.5  # σ of the noise on signal and distractor, named in docs/theory.md before looking
_ALIGNED = ("accuracy", "alignment_")
_CONSTANT = ("tangent_rank", "tangent_overlap")  # the same for all networks, so that they compress to little


@dataclass(frozen=True)
class PackedSweep:
    """The rows of a study, as its verdicts are made from.

    Args:
        rows: of all recipes.
        longer: trials of the convergence gate, and `columns` of them by id.
        about: how the run was made: spec digest, epochs, seconds, versions.
    """

    rows: SweepRows
    longer: list[Trial]
    columns: dict[str, dict[str, np.ndarray]]
    about: dict[str, Any]


def rounded(values: np.ndarray, groups: np.ndarray, name: str) -> np.ndarray:
    """Values in steps of a power of two, of at most `STEP` standard deviations of their group; NaN stays.

    Each is one of its two neighbours, chosen so that the sum over any run of a group's values is kept to one step
    (error diffusion from a random start): a mean moves by less than `MEAN` standard deviations, so that means of
    networks keep their order. Whole numbers, as accuracies and ranks, are kept as they are.

    Args:
        values: (N,).
        groups: (N,) the network of each.
        name: of the column; with the network it seeds the draws.
    """
    kept = np.full(values.shape, np.nan, np.float32)
    for group in np.unique(groups):
        at = np.flatnonzero((groups == group) & np.isfinite(values))
        draws = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{name} {group}".encode()).digest()[:8]))
        own, start = values[at].astype(np.float64), draws.random()
        spread = float(own.std()) if len(at) else 0.0
        if spread == 0 or np.array_equal(own, np.round(own)):
            kept[at] = own
        elif name in MEDIANS:
            whole, exponent = np.frexp(own)
            up = draws.random(own.shape)
            kept[at] = np.ldexp(np.floor(whole * 2 ** (BITS + 1) + up) / 2 ** (BITS + 1), exponent)
        else:
            step = 2.0 ** np.floor(np.log2(min(STEP, MEAN * len(at)) * spread))
            kept[at] = np.diff(np.floor(np.cumsum(own / step) + start), prepend=np.floor(start)) * step
    return kept


def write_table(frame: pl.DataFrame, name: str, about: dict[str, Any], folder: Path = ROWS) -> None:
    """NAME.parquet and what it is in NAME.json; the bytes of floats lie apart, a sixth less in all."""
    folder.mkdir(parents=True, exist_ok=True)
    floats = [column for column, kind in frame.schema.items() if kind == pl.Float32]
    with atomic(folder / f"{name}.parquet") as path:
        pq.write_table(
            frame.to_arrow(),
            path,
            compression="zstd",
            compression_level=22,
            use_dictionary=[column for column in frame.columns if column not in floats],
            column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
            write_statistics=False,
        )
    with atomic(folder / f"{name}.json") as path:
        path.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def pack_study(run: Path, name: str, folder: Path = ROWS) -> None:
    """Write the rows of a finished run, without untrained networks, and what its recipes are."""
    frame, about = packed(run)
    write_table(frame, name, about, folder)


def packed(run: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of a finished run, without untrained networks, and what its recipes are."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    rows = pl.read_parquet(run / "rows.parquet").filter(~pl.col("trial").str.starts_with("untrained"))
    kinds = [_kind(trial) for trial in rows["trial"]]
    frame = pack_frame(rows, lambda column: np.array([_kept(column, kind) for kind in kinds]))
    return frame, _about(summary, rows["trial"].unique().to_list())


def pack_frame(rows: pl.DataFrame, kept: Callable[[str], np.ndarray] | None = None) -> pl.DataFrame:
    """Trial, image and the columns that claims need, rounded; null where `kept` (column to (N,)) says no."""
    networks = rows["trial"].cast(pl.String).to_numpy()
    columns: dict[str, Any] = {"trial": rows["trial"].cast(pl.Categorical), "image": rows["image"].cast(pl.Int32)}
    for column in rows.columns:
        if column in ("trial", "image", "seed") or not _needed(column):
            continue
        values = rows[column].cast(pl.Float64).to_numpy()
        own = rounded(values if kept is None else np.where(kept(column), values, np.nan), networks, column)
        columns[column] = pl.Series(values=own).fill_nan(None)
    return pl.DataFrame(columns)


def _needed(column: str) -> bool:
    key = Key.parse(column)
    if column in ("accuracy", "radius") or key.family in _CONSTANT or key.family == "tangent_fraction":
        return True
    if key.family in ("change_on", "change_off"):
        return not key.tangents
    if key.family in ("noise_signal", "noise_distractor"):
        return key.value == NOISE
    if key.family == "signal_fraction":
        return not key.control
    return key.family.startswith("alignment_") and key.control in ("", "shuffled")


def _kind(trial: str) -> str:
    return "longer" if "-long-" in trial else "filtered" if trial.startswith(tuple(FILTERED.values())) else "trained"


def _kept(column: str, kind: str) -> bool:
    """Of filtered networks only what L needs, of longer trained ones only what the gate does."""
    if kind == "filtered":
        return column.startswith(_ALIGNED)
    return kind == "trained" or column.startswith(("tangent_fraction", *_CONSTANT))


def _about(summary: dict[str, Any], measured: Sequence[str]) -> dict[str, Any]:
    curves = {cell: curve["objective"] for curve in summary["curves"] for cell in curve["cells"][1:]}
    recipes = [
        {key: cell[key] for key in ("id", "strength", "seeds")}
        | {"objective": curves.get(cell["id"], cell["objective"])}
        for cell in summary["cells"]
        if cell["objective"] != "untrained"
    ]
    gate = [
        {"cell": each["cell"], "trials": [t for t in each["longer"] if t in measured], "epochs": each["epochs"]}
        for each in summary["convergence"]
    ]
    slack: dict[str, float] = {}
    for trial in summary["trials"]:
        target = next((t for t, own in FILTERED.items() if own == trial["objective"]), None)
        if target and "filter" in trial:
            slack[target] = max(slack.get(target, 0.0), trial["filter"]["slack"])
    return {
        "kind": "study",
        "name": summary["name"],
        "spec_hash": summary["spec_hash"],
        "data": {key: summary["data"][key] for key in ("name", "digest", "train", "measured")},
        "dimension": int(np.prod(summary["data"]["shape"])),
        "constant": summary["regimes"]["constant"],
        "exact": summary["score"]["kind"] == "exact",
        "recipes": recipes,
        "gate": gate,
        "slack": slack,
        "seconds": round(summary["seconds"]),
        "versions": {name: summary["provenance"]["versions"][name] for name in ("tangency", "torch")},
    }


def read_table(name: str, folder: Path = ROWS) -> tuple[pl.DataFrame, dict[str, Any]] | None:
    """The rows of a part and what they are; None where it was not run."""
    if not (folder / f"{name}.parquet").exists():
        return None
    about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return pl.read_parquet(folder / f"{name}.parquet"), about


def read_study(name: str, folder: Path = ROWS) -> PackedSweep | None:
    """The sweep of a part; None where it was not run."""
    table = read_table(name, folder)
    if table is None:
        return None
    frame, about = table
    columns = _columns(frame)
    recipes = {
        own["id"]: Recipe(
            own["id"], own["objective"], own["strength"], {s: columns[f"{own['id']}-s{s}"] for s in own["seeds"]}
        )
        for own in about["recipes"]
    }
    trained = [recipe for recipe in recipes.values() if recipe.objective not in REFERENCES]
    filtered = {target: recipes[own] for target, own in FILTERED.items() if own in recipes}
    rows = SweepRows(
        trained,
        constant=about["constant"],
        dimension=about["dimension"],
        exact=about["exact"],
        filtered=filtered,
        slack=about["slack"],
    )
    longer = [_longer(trial, own, recipes[own["cell"]]) for own in about["gate"] for trial in own["trials"]]
    return PackedSweep(rows, longer, columns, about)


def _columns(frame: pl.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    """Trial to its columns in the order of its images, without those that were not kept."""
    columns = {}
    for (trial,), own in frame.partition_by("trial", as_dict=True, maintain_order=True).items():
        ordered = own.sort("image")
        kept = [name for name in frame.columns[2:] if _kept(name, _kind(str(trial)))]
        columns[str(trial)] = {name: ordered[name].fill_null(np.nan).cast(pl.Float64).to_numpy() for name in kept}
    return columns


def _longer(trial: str, gate: dict[str, Any], recipe: Recipe) -> Trial:
    seed = int(trial.rsplit("-s", 1)[1])
    name = STANDARD if recipe.objective == STANDARD else recipe.objective
    config = TrainConfig(epochs=gate["epochs"][1], seed=seed)
    return Trial(trial, name, recipe.strength, seed, "", "", None, 0.0, train=config, longer=True)


def without_gate(sweep: PackedSweep) -> PackedSweep:
    """The same, as if nothing had been trained longer."""
    return dataclasses.replace(sweep, longer=[])
