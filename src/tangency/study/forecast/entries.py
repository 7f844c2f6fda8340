"""What a study will take, as a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tangency.evaluate.entries import to_json


@dataclass(frozen=True, kw_only=True)
class KindEntry:
    """The tasks of one kind that are still to be done.

    Args:
        kind: of task; of trainings with the objective.
        tasks: how many.
        seconds: of all, on one worker.
        longest: seconds of the longest.
        memory: bytes at most, of a worker process or of its accelerator; None where it was not measured.
        measured: whether the time rests on tasks of this kind; else on passes of the network.
    """

    kind: str
    tasks: int
    seconds: float
    longest: float
    memory: int | None
    measured: bool


@dataclass(frozen=True, kw_only=True)
class Want:
    """Data or weights that a study names.

    Args:
        key: of the spec.
        reference: its value.
        missing: why it cannot be had; "" where it is there.
        advice: where it is from and where it belongs, where that is known.
    """

    key: str
    reference: str
    missing: str = ""
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What is there, what is wanted, and what the rest takes.

    Args:
        device: that was measured on; "" where nothing was measured.
        wants: data and weights.
        trained, measured: networks that are there, trained, and with all their rows.
        kinds: of the tasks that are left; none where nothing was measured.
        wall: workers to seconds, by a simulated schedule; without the start of processes.
    """

    device: str = ""
    wants: tuple[Want, ...] = ()
    trained: int = 0
    measured: int = 0
    kinds: tuple[KindEntry, ...] = ()
    wall: dict[int, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of all tasks that are left, on one worker."""
        return sum(kind.seconds for kind in self.kinds)

    @property
    def missing(self) -> tuple[Want, ...]:
        """What is wanted and not there."""
        return tuple(want for want in self.wants if want.missing)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "device": self.device or None,
            "wants": to_json(self.wants),
            "trained": self.trained,
            "measured": self.measured,
            "kinds": to_json(self.kinds),
            "seconds": to_json(self.seconds) if self.kinds else None,
            "wall": {str(workers): seconds for workers, seconds in self.wall.items()},
        }
