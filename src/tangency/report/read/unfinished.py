"""What there is of a run that is not summed up yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.engines.bulletin import Going, read_going
from tangency.errors import TangencyError
from tangency.files import read_json
from tangency.study.layout import Layout


@dataclass(frozen=True)
class TrialSoFar:
    """A trial whose training ended: how, and how many of its images have rows."""

    id: str
    outcome: str
    measured: int


@dataclass(frozen=True)
class Unfinished:
    """A run without a summary.

    Args:
        name: of the study; of the folder where its spec cannot be read.
        folder: of the run.
        trials: whose training ended, by id.
        going: what the run said last of how it goes on.
        held: whether a process works on it now.
        unread: files that could not be read, in sentences.
    """

    name: str
    folder: Path
    trials: list[TrialSoFar]
    going: Going | None
    held: bool
    unread: list[str]


def read_unfinished(folder: Path) -> Unfinished | None:
    """What there is of a run without a summary; None for one with a summary, and for what is no run."""
    layout = Layout(folder)
    if layout.summary.exists() or not layout.spec.is_file():
        return None
    trials, unread = [], []
    for path in sorted(folder.glob("trials/*/trial.json")):
        try:
            trials.append(_so_far(path, read_json(path)))
        except TangencyError as error:
            unread.append(str(error))
    try:
        going = read_going(layout.going)
    except (TangencyError, TypeError, KeyError) as error:
        going = None
        unread.append(str(error))
    trials.sort(key=lambda trial: trial.id)
    return Unfinished(layout.study_name() or folder.name, folder, trials, going, layout.held(), unread)


def _so_far(path: Path, content: Any) -> TrialSoFar:
    about = content if isinstance(content, Mapping) else {}
    shards = [shard.stem.rpartition("-")[2] for shard in path.parent.glob("rows/*/*.parquet")]
    measured = sum(int(count) for count in shards if count.isdigit())
    return TrialSoFar(str(about.get("id", path.parent.name)), str(about.get("outcome", "unknown")), measured)
