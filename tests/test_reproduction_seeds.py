"""Rows of a part that is run a seed at a time: those of the whole study; nothing of another run joins them."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from study_support import InProcess, tiny_spec, write_data
from tangency.study import run_study
from tangency.study.spec import parse_spec

ROOT = Path(__file__).parents[1]
DIGEST = "0123456789abcdef"


@pytest.fixture(scope="module")
def seeds() -> Any:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("reproduction_seeds")


def table(seeds: ModuleType, name: str, folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    frame, about = seeds.read_table(name, folder)
    return frame.with_columns(pl.col("trial").cast(pl.String)).sort("trial", "image"), about


@pytest.mark.processes
def test_seeds_apart_have_the_rows_of_seeds_together(
    seeds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    data, rows = write_data(tmp_path), tmp_path / "rows"
    assert seeds.shipped_seeds("tiny", DIGEST, rows) == set()
    for seed in (0, 1):
        run_study(tiny_spec(data, seeds=[seed]), tmp_path / "apart", replace=True)
        seeds.add_seed(tmp_path / "apart", "tiny", DIGEST, rows)
        assert seeds.shipped_seeds("tiny", DIGEST, rows) == set(range(seed + 1))
    run_study(tiny_spec(data, seeds=[0, 1]), tmp_path / "together")
    seeds.add_seed(tmp_path / "together", "whole", DIGEST, rows)
    frame, about = table(seeds, "tiny", rows)
    other, whole = table(seeds, "whole", rows)
    assert frame.select(other.columns).equals(other)
    assert len(frame) > 0
    for key in ("recipes", "dimension", "constant", "exact", "data", "versions"):
        assert about[key] == whole[key]
    assert about["slack"] == pytest.approx(whole["slack"])
    killed = tmp_path / "killed"  # after the rows of seed 1, before what they are
    shutil.copytree(rows, killed)
    stale = about | {"recipes": [own | {"seeds": [0]} for own in about["recipes"]]}
    (killed / "tiny.json").write_text(json.dumps(stale), encoding="utf-8")
    seeds.add_seed(tmp_path / "apart", "tiny", DIGEST, killed)
    assert table(seeds, "tiny", killed)[0].equals(frame)
    with pytest.raises(SystemExit, match="tiny: the rows of seed 1 ship already"):
        seeds.add_seed(tmp_path / "apart", "tiny", DIGEST, rows)
    with pytest.raises(SystemExit, match=r"expected fedc; delete reproduction/rows/tiny\.\*"):
        seeds.shipped_seeds("tiny", "fedc", rows)
    path = tmp_path / "apart" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary["data"]["digest"] = "another"
    path.write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"tiny: data is .*another"):
        seeds.add_seed(tmp_path / "apart", "tiny", DIGEST, rows)
    assert table(seeds, "tiny", rows)[0].equals(frame)


def test_the_digest_is_of_spec_and_score_and_not_of_seeds_or_folders(seeds: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    base: dict[str, Any] = {
        "data": "fashion-mnist-5k",
        "sweep": [{"objective": "standard"}],
        "network_score": "edm-fashion-mnist",
    }
    base["measures"] = {"alignments": [["margin", "network_bayes_gradient"]], "metrics": ["cosine"]}
    elsewhere = {"seeds": [1, 2], "network_score": str(second)}
    spec = parse_spec(base | {"seeds": [0]}, "test")
    digest = seeds.registered(spec, first)
    assert digest == seeds.registered(parse_spec(base | elsewhere, "test"), second)
    assert digest != seeds.registered(parse_spec(base | {"seeds": [0], "measured": 100}, "test"), first)
    second.write_bytes(b"others")
    assert digest != seeds.registered(spec, second)
