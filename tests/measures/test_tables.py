"""The table of rows: a row for each trial and image, a column for each measure; what was not measured is null."""

from __future__ import annotations

import math
from pathlib import Path

import polars
import pytest
import torch

from tangency.errors import NumericsError, RunError
from tangency.evaluate.stream import RowShards
from tangency.measures import Rows
from tangency.measures.tables import columns_of, join_shards, read_rows, write_shard

AGAIN = "Make it again."


def write(folder: Path) -> Path:
    """A table of two trials; the second lacks a measure, the first has a degenerate value of another."""
    own = {"accuracy": torch.tensor([1.0, 0.0]), "kappa": torch.tensor([0.5, math.nan])}
    other = {"accuracy": torch.tensor([1, 1]), "alignment": torch.tensor([0.25, -math.inf])}
    shards = {"own": (torch.tensor([4, 1]), own), "other": (torch.tensor([1, 4]), other)}
    for name, (ids, columns) in shards.items():
        for part in range(2):
            rows = Rows(ids, columns, 4, 2).at(torch.tensor([part]))
            write_shard(folder / name / f"{part}.parquet", rows)
    trials = [(name, seed, sorted((folder / name).glob("*.parquet"))) for seed, name in enumerate(shards)]
    join_shards(folder / "rows.parquet", trials)
    return folder / "rows.parquet"


def test_it_is_wide_and_tells_null_from_nan(tmp_path: Path) -> None:
    table = read_rows(write(tmp_path), AGAIN)
    assert table.schema == {
        "trial": polars.String, "seed": polars.Int64, "image": polars.Int64,
        "accuracy": polars.Float64, "kappa": polars.Float64, "alignment": polars.Float64,
    }  # fmt: skip
    assert table.select("trial", "seed", "image").rows() == [
        ("own", 0, 4),
        ("own", 0, 1),
        ("other", 1, 1),
        ("other", 1, 4),
    ]
    assert table["kappa"].is_null().to_list() == [False, False, True, True]
    assert table["kappa"].is_nan().to_list() == [False, True, None, None]
    assert table["alignment"].to_list() == [None, None, 0.25, -math.inf]


def test_columns_of_a_trial_are_in_the_order_of_images_and_hold_what_was_measured(tmp_path: Path) -> None:
    path = write(tmp_path)
    ids, columns = columns_of(read_rows(path, AGAIN).filter(trial="own"), path, AGAIN)
    assert ids.tolist() == [1, 4]
    assert list(columns) == ["accuracy", "kappa"]
    assert columns["accuracy"].tolist() == [0.0, 1.0]
    assert math.isnan(columns["kappa"][0])
    assert columns["kappa"][1] == 0.5


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, "is missing"),
        ({"trial": ["a"], "image": [1]}, r"lacks \['seed'\]"),
        ({"trial": ["a"], "seed": [0], "image": ["1"], "accuracy": [1.0]}, "column 'image' holds String"),
        (
            {"trial": ["a"], "seed": [0], "image": [1], "measure": ["accuracy"], "value": [1.0]},
            "column 'measure' holds no float64.*older versions have a row for each measure.*Make it again",
        ),
    ],
)
def test_missing_foreign_and_older_tables_are_refused(
    table: dict[str, list[object]] | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    if table is not None:
        polars.DataFrame(table).write_parquet(path)
    with pytest.raises(RunError, match=words):
        read_rows(path, AGAIN)


def test_holes_and_repeated_images_are_refused(tmp_path: Path) -> None:
    head = {"trial": ["a", "a"], "seed": [0, 0], "image": [1, 2]}
    for content in ({**head, "accuracy": [1.0, None]}, {**head, "image": [2, 2], "accuracy": [1.0, 0.0]}):
        with pytest.raises(RunError, match="the rows of 'accuracy' are not one for each image"):
            columns_of(polars.DataFrame(content), tmp_path, AGAIN)


@pytest.mark.parametrize("first", [0, 1])
def test_shards_with_other_measures_are_refused(first: int, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number:05d}-1.parquet" for number in range(2)]
    values = torch.tensor([0.5])
    for number, path in enumerate(paths):
        more = {} if number == first else {"kappa": values}
        write_shard(path, Rows(torch.tensor([number]), {"accuracy": values, **more}, 4, 2))
    with pytest.raises(RunError, match=rf"{paths[first].name}': lacks kappa, which other files .* delete that folder"):
        join_shards(tmp_path / "rows.parquet", [("own", 0, paths)])
    with pytest.raises(RunError, match="lacks kappa"):
        RowShards(tmp_path, (torch.tensor([0]), torch.tensor([1])), 4, 2).rows()


def test_batches_with_other_measures_are_refused() -> None:
    one = Rows(torch.tensor([0]), {"accuracy": torch.ones(1)}, 4, 2)
    more = Rows(torch.tensor([1]), {"accuracy": torch.ones(1), "kappa": torch.ones(1)}, 4, 2)
    for parts in ([one, more], [more, one]):
        with pytest.raises(NumericsError, match="kappa: measured of some images only"):
            Rows.concatenate(parts)
