"""The ranks of a leaderboard as numbers: those of its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from measured_support import columns, write_measured
from tangency.errors import RunError
from tangency.report import rank_models, write_leaderboard


@pytest.fixture
def board(tmp_path: Path) -> Path:
    write_measured(tmp_path / "01-weak", columns(1, fraction=0.1))
    write_measured(tmp_path / "02-strong", {**columns(2), "tangent_fraction.margin": np.full(80, 0.6)})
    write_measured(tmp_path / "03-guessing", columns(3, accuracy=0.3))
    return tmp_path


def test_models_stand_in_the_order_of_the_page_with_its_number(board: Path) -> None:
    found = rank_models([board])
    assert [(one.label, one.rank) for one in found] == [("02-strong", "1"), ("01-weak", "2"), ("03-guessing", "–")]
    first, last = found[0], found[-1]
    own = np.log(0.6) - np.log(max(first.measures[f"tangent_fraction.margin.{first.control}"].mean, 0.0))
    assert first.ordered_by is not None
    assert first.ordered_by.mean == pytest.approx(own)
    assert first.tangent
    assert first.aligned
    assert (last.ordered_by, last.control) == (None, "")
    assert f"{last.excess['tangent_fraction.margin']:.2f}".count("[") == 1
    page = write_leaderboard([board]).read_text(encoding="utf-8")
    places = [page.index(f">{one.label}<") for one in found]
    assert places == sorted(places)


def test_models_of_other_data_have_no_common_order(board: Path) -> None:
    write_measured(board / "04-other", columns(4), digest="e" * 64)
    with pytest.raises(RunError, match="different data"):
        rank_models([board])


def test_what_cannot_be_read_is_refused(board: Path) -> None:
    (board / "01-weak" / "rows.parquet").write_bytes(b"")
    with pytest.raises(RunError, match="01-weak"):
        rank_models([board])
