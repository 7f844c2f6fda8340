"""Stored tangent spaces: the same as computed, resumed after a kill, refused for other data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from processes import run
from tangency.errors import NumericsError, RunError
from tangency.tangents import (
    Ground,
    StoredTangents,
    TangentEstimator,
    open_tangents,
    plan_store,
    space_agreement,
    store_tangents,
)
from tangency.tangents import stored as module
from tangency.tensors import digest, read_tensors
from tangency.types import LabelledImages
from tangency.worlds import load_dataset

WORLD = "world:sphere?shape=1x6x7&rank=3&train=300&test=50"
PROGRAM = f"""
import torch
from tangency.tangents import Ground, open_tangents, store_tangents, stored
from tangency.worlds import load_dataset
torch.set_num_threads(1)
stored._SHARD = 10 * 2 * 42 * 5
data = load_dataset("{WORLD}")
store_tangents(open_tangents("local-pca?rank=5&neighbours=10", Ground(data)), data.test, "FOLDER")
"""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> tuple[TangentEstimator, LabelledImages]:
    """An estimator and 50 images, ten to a shard."""
    monkeypatch.setattr(module, "_SHARD", 10 * 2 * 42 * 5)
    data = load_dataset(WORLD)
    return open_tangents("local-pca?rank=5&neighbours=10", Ground(data)), data.test


def test_what_comes_back_is_what_was_computed(made: tuple[TangentEstimator, LabelledImages], tmp_path: Path) -> None:
    estimator, data = made
    shares: list[float] = []
    stored = store_tangents(estimator, data, tmp_path, on_progress=lambda _, share: shares.append(share))
    assert shares == [0.2, 0.4, 0.6, 0.8, 1.0]
    ids = torch.tensor([49, 0, 10, 9, 33, 0])
    x = data.images(ids)
    found, expected = stored.at(x, ids), estimator.at(x, ids)
    assert float(space_agreement(found, expected).largest.max()) < 0.1  # half precision: 11 bits
    torch.testing.assert_close(found.spectrum, expected.spectrum, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.residual, expected.residual, rtol=1e-6, atol=1e-6)
    assert (stored.kind, stored.max_rank) == ("local-pca", 5)
    assert stored.card == json.loads(json.dumps(dict(estimator.card)))
    plan = plan_store(estimator, data)
    assert (plan.shards, plan.size) == (5, 50 * 42 * 5 * 2)
    with pytest.raises(NumericsError, match="without their places"):
        stored.at(x)
    with pytest.raises(NumericsError, match="expected places 0 to 49"):
        stored.at(x[:1], torch.tensor([50]))


@pytest.mark.slow
@pytest.mark.processes
def test_a_kill_at_any_moment_costs_at_most_a_shard(tmp_path: Path) -> None:
    folder, journal = tmp_path / "stored", tmp_path / "journal"
    program = PROGRAM.replace("FOLDER", str(folder))

    def code(kill: str = "") -> int:
        journal.unlink(missing_ok=True)
        order = {"TANGENCY_JOURNAL": str(journal), "TANGENCY_KILL": kill}
        return run([sys.executable, "-c", program], order, check=False).returncode

    def shards() -> int:
        return journal.read_text().splitlines().count("tangents.shard")

    for kill, done in (("tangents.shard#1", 0), ("rename:00001.safetensors#1", 1), ("tangents.shard#3", 3)):
        assert code(kill) == -9
        assert len(list(folder.glob("[0-9]*.safetensors"))) == done
    assert code() == 0
    assert shards() == 2  # only those that were not there
    assert not list(folder.rglob("*.tmp"))
    data = load_dataset(WORLD).test
    again = tmp_path / "again"
    whole = PROGRAM.replace("FOLDER", str(again))
    run([sys.executable, "-c", whole])
    for path in sorted(again.glob("*.safetensors")):
        assert digest(read_tensors(path)[0]) == digest(read_tensors(folder / path.name)[0])
    assert StoredTangents(folder, data).at(data.images(), torch.arange(50)).rank.tolist() == [4] * 50


def test_other_data_and_other_estimators_are_refused(
    made: tuple[TangentEstimator, LabelledImages], tmp_path: Path
) -> None:
    estimator, data = made
    store_tangents(estimator, data, tmp_path)
    other = load_dataset(WORLD.replace("test=50", "test=51"))
    with pytest.raises(RunError, match=r"are not those of .* \(by their hash\)"):
        StoredTangents(tmp_path, other.test)
    with pytest.raises(RunError, match="of another data"):
        store_tangents(estimator, other.test, tmp_path)
    with pytest.raises(RunError, match="of another card"):
        store_tangents(open_tangents("local-pca?rank=4&neighbours=10", Ground(other)), data, tmp_path)
    with pytest.raises(RunError, match="cannot be read"):
        StoredTangents(tmp_path / "nowhere", data)


def test_damage_is_seen(made: tuple[TangentEstimator, LabelledImages], tmp_path: Path) -> None:
    estimator, data = made
    ids = torch.arange(50)
    shard = tmp_path / "00002.safetensors"
    store_tangents(estimator, data, tmp_path)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RunError, match="which repairs it"):
        StoredTangents(tmp_path, data).at(data.images(), ids)
    store_tangents(estimator, data, tmp_path)  # it does
    assert StoredTangents(tmp_path, data).at(data.images(), ids).rank.tolist() == [4] * 50
    (tmp_path / "00001.safetensors").write_bytes(shard.read_bytes())  # another shard in its place
    with pytest.raises(RunError, match="belongs elsewhere"):
        StoredTangents(tmp_path, data).at(data.images(), ids)
    store_tangents(estimator, data, tmp_path)
    shard.unlink()
    with pytest.raises(RunError, match=r"1 shards are missing, first 00002.safetensors"):
        StoredTangents(tmp_path, data)
    store_tangents(estimator, data, tmp_path)
    assert StoredTangents(tmp_path, data).at(data.images(), ids).rank.tolist() == [4] * 50
    whole_index = json.loads((tmp_path / "tangents.json").read_text())
    for change in ({"shard": 0}, {"data": {}}, {"data": 3}, {"card": None}):
        (tmp_path / "tangents.json").write_text(json.dumps(whole_index | change))
        with pytest.raises(RunError, match="is no index"):
            StoredTangents(tmp_path, data)
