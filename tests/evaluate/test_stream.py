"""Rows that are written shard by shard: the same as all at once, whatever the batch, the limit or the kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import torch
from torch import nn

from tangency.evaluate import stream
from tangency.evaluate.request import MeasureRequest
from tangency.evaluate.stream import RowShards, fill_shards, identity_of, planned_shards
from tangency.measures import ComparisonSource, Driver, MeasureConfig, Subject
from tangency.models import Classifier, build
from tangency.tangents import WorldTangents
from tangency.types import Dataset
from tangency.worlds import load_dataset, make_world

WORLD = "world:linear?shape=1x8x8&rank=3&classes=3"
QUICK = MeasureConfig(metrics=("cosine",), epsilons=(1.0,), rho_sigmas=(0.1,), directions=1, sigmas=(0.25,))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SHARD", 20)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(f"{WORLD}&train=100&test=70")


@pytest.fixture(scope="module")
def classifier(data: Dataset) -> Classifier:
    return build("convnet", data.test.shape, data.test.classes, seed=1)


def source_of(data: Dataset, config: MeasureConfig = QUICK) -> ComparisonSource:
    world = make_world(WORLD)
    return ComparisonSource(world, {"exact": WorldTangents(world)}, data.test, data.train, config)


def filled(data: Dataset, folder: Path, net: nn.Module, limit: int, batch: int = 7) -> RowShards:
    shards = planned_shards(len(data.test), limit, folder, 64, 3)
    fill_shards([(shards, Subject(net))], source_of(data), QUICK, batch_size=batch)
    return shards


def test_batches_and_shards_leave_no_trace(data: Dataset, classifier: Classifier, tmp_path: Path) -> None:
    shards = filled(data, tmp_path / "a", classifier, 70)
    assert [len(ids) for ids in shards.images] == [20, 20, 20, 10]
    rows = shards.rows()
    assert rows.ids.tolist() == list(range(70))
    driver = Driver(source_of(data), QUICK, batch_size=70)
    ((whole,),) = driver.rows([Subject(classifier)], torch.arange(70))
    assert rows.keys() == whole.keys()
    for key, values in whole.columns.items():
        np.testing.assert_allclose(rows[key].numpy(), values.numpy(), rtol=1e-5, atol=1e-7, err_msg=key)


def test_a_larger_limit_goes_on_from_a_smaller_one(data: Dataset, classifier: Classifier, tmp_path: Path) -> None:
    first = filled(data, tmp_path, classifier, 45)
    written = {path.name: path.stat().st_mtime_ns for path in first.paths}
    shards = planned_shards(len(data.test), 70, tmp_path, 64, 3)
    shares: list[float] = []
    now = fill_shards([(shards, Subject(classifier))], source_of(data), QUICK, lambda _, share: shares.append(share), 7)
    assert now == 30  # the third shard, of which there were 5, and the fourth
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    kept = [path for path in shards.paths if path.name in written]
    assert len(kept) == 2
    assert all(path.stat().st_mtime_ns == written[path.name] for path in kept)
    assert set(first.rows().ids.tolist()) < set(shards.rows().ids.tolist())


def test_two_classifiers_share_references(data: Dataset, classifier: Classifier, tmp_path: Path) -> None:
    other = build("convnet", data.test.shape, data.test.classes, seed=2)
    both = [
        (planned_shards(len(data.test), 40, tmp_path / name, 64, 3), Subject(net))
        for name, net in (("a", classifier), ("b", other))
    ]
    source = source_of(data)
    calls = []
    comparison = source.comparison
    source.comparison = lambda *given: calls.append(1) or comparison(*given)
    fill_shards(both, source, QUICK, batch_size=20)
    assert len(calls) == 2
    alone = filled(data, tmp_path / "alone", other, 40, batch=20).rows()
    for key, values in both[1][0].rows().columns.items():
        assert torch.equal(values.nan_to_num(9), alone[key].nan_to_num(9))


def test_the_table_has_a_row_for_each_image_and_a_column_for_each_measure(
    data: Dataset, classifier: Classifier, tmp_path: Path
) -> None:
    shards = filled(data, tmp_path / "shards", classifier, 45)
    shards.join(tmp_path / "rows.parquet")
    table = polars.read_parquet(tmp_path / "rows.parquet")
    rows = shards.rows()
    assert table.columns == ["trial", "seed", "image", *rows.keys()]
    assert table["image"].to_list() == torch.cat(shards.images).tolist()
    assert table.sort("image").equals(rows.frame())


def test_damaged_and_long_shards_are_measured_again(data: Dataset, classifier: Classifier, tmp_path: Path) -> None:
    shards = filled(data, tmp_path, classifier, 45)
    expected = shards.rows()
    ids = shards.images[1].tolist()
    polars.DataFrame({"image": ids, "measure": ["accuracy"] * 20, "value": [1.0] * 20}).write_parquet(shards.paths[1])
    shards.paths[2].write_bytes(b"PAR1")
    assert [shards.holds(number) for number in range(3)] == [True, False, False]
    assert fill_shards([(shards, Subject(classifier))], source_of(data), QUICK, batch_size=7) == 25
    for key, values in shards.rows().columns.items():
        torch.testing.assert_close(values, expected[key], equal_nan=True)


def test_rows_of_a_shard_belong_to_the_images_that_it_names(
    data: Dataset, classifier: Classifier, tmp_path: Path
) -> None:
    shards = filled(data, tmp_path, classifier, 45)
    expected = shards.rows()
    polars.read_parquet(shards.paths[1]).reverse().write_parquet(shards.paths[1])
    assert shards.holds(1)
    found = shards.rows()
    assert found.ids.tolist() == expected.ids.tolist()
    for key, values in expected.columns.items():
        torch.testing.assert_close(found[key], values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("held", [polars.lit(None, dtype=polars.Float64), polars.lit(1, dtype=polars.Float32), "one"])
def test_shards_of_anything_but_numbers_are_measured_again(
    held: Any, data: Dataset, classifier: Classifier, tmp_path: Path
) -> None:
    shards = filled(data, tmp_path, classifier, 20)
    column = polars.lit(held) if isinstance(held, str) else held
    polars.read_parquet(shards.paths[0]).with_columns(column.alias("accuracy")).write_parquet(shards.paths[0])
    assert not shards.holds(0)


def test_folders_of_several_models_have_short_names() -> None:
    models = ("run:runs/long/trials/pgd_l2-1-s0", "onnx:nets/a b.onnx?range=0,255")
    asked = MeasureRequest(models, "mnist", out=Path("out"))
    assert [asked.folder(number) for number in (0, 1)] == [
        Path("out/01-pgd_l2-1-s0"),
        Path("out/02-a-b"),
    ]


def test_rows_know_their_weights_and_measures(data: Dataset, classifier: Classifier) -> None:
    other = build("convnet", data.test.shape, data.test.classes, seed=2)
    own = identity_of(classifier, ["data"], QUICK)
    assert own == identity_of(classifier, ["data"], QUICK)
    assert own != identity_of(other, ["data"], QUICK)
    assert own != identity_of(classifier, ["other data"], QUICK)
    assert own != identity_of(classifier, ["data"], MeasureConfig(metrics=("cosine",)))
    assert identity_of(nn.Flatten(), [], QUICK) != identity_of(nn.Flatten(), [], QUICK)  # code alone says nothing
