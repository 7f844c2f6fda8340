"""What the tasks of generation take, and what they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tangency.errors import SpecError
from tangency.generation.engine import Ascent
from tangency.generation.options import Climb, TaskOptions
from tangency.mixtures import Mixture
from tangency.score import Denoiser
from tangency.types import Dataset

OWN, START, TRUTH = "classifier", "input", "truth"
_FRAMED = 64  # images whose way is kept, of the first batch


@dataclass(frozen=True)
class TaskInputs:
    """Everything that a task takes.

    Args:
        classifier: maps (N, C, H, W) to logits; None where only references are wanted.
        data: its test images are what is restored or changed.
        options: the task and its options.
        mixture: of the images, for references; None for none.
        class_gaussians: of each class, for starts; None where nothing starts from them.
        bayes: a classifier that is the Bayes rule of the mixture; None for none.
        score: a score model; None for none.
        device: where.
    """

    classifier: nn.Module | None
    data: Dataset
    options: TaskOptions
    mixture: Mixture | None = None
    class_gaussians: Mixture | None = None
    bayes: nn.Module | None = None
    score: Denoiser | None = None
    device: str = "cpu"

    @property
    def networks(self) -> dict[str, tuple[nn.Module, str]]:
        """The networks whose gradients are followed, and what they are called."""
        named = {OWN: (self.classifier, "the classifier"), "bayes": (self.bayes, "the Bayes rule of the mixture")}
        return {source: (network, words) for source, (network, words) in named.items() if network is not None}

    @property
    def own(self) -> nn.Module:
        """The classifier, for a task that needs one."""
        if self.classifier is None:
            raise SpecError(f"task '{self.options.task}': expected a classifier, or a target class for its references.")
        return self.classifier


@dataclass
class Outcome:
    """Pictures of one batch by the source that made them, with columns of numbers.

    Args:
        y: (N,) classes that the pictures are meant to show; −1 for none.
        pictures: source to (N, C, H, W).
        columns: source to column to (N,).
        how: source to words.
        frames: iterates of the classifier, (F, N, C, H, W).
        frame_steps: steps done at each.
    """

    y: Tensor
    pictures: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    how: dict[str, str] = field(default_factory=dict)
    frames: Tensor | None = None
    frame_steps: tuple[int, ...] = ()

    def add(self, source: str, pictures: Tensor, how: str, evaluations: Tensor | int = 0, **columns: Tensor) -> None:
        """Pictures of a source, and how many evaluations of a network each took."""
        spent = torch.zeros(len(pictures), dtype=torch.int64, device=pictures.device) + evaluations
        self.pictures[source], self.how[source] = pictures.float(), how
        self.columns[source] = {"evaluations": spent, **columns}

    def add_ascent(self, source: str, ascent: Ascent, how: str) -> None:
        """As `add`, with the steps of an ascent and how it ended."""
        columns = {name: getattr(ascent, name) for name in ("steps", "stalled", "diverged", "stopped")}
        self.add(source, ascent.images, how, ascent.evaluations, **columns)
        if source == OWN:
            self.frames, self.frame_steps = ascent.frames, ascent.frame_steps


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Batches of one task, one after the other; frames are those of the first batch, of 64 images at most."""
    first = parts[0]
    columns = {
        source: {name: torch.cat([part.columns[source][name] for part in parts]) for name in names}
        for source, names in first.columns.items()
    }
    pictures = {source: torch.cat([part.pictures[source] for part in parts]) for source in first.pictures}
    frames = None if first.frames is None else first.frames[:, :_FRAMED]
    y = torch.cat([part.y for part in parts])
    return Outcome(y, pictures, columns, first.how, frames, first.frame_steps)


def in_words(climb: Climb, network: str, label: str = "") -> str:
    """What an ascent did; a restoration by its label "energy" raises that, whatever the objective."""
    raised = ("energy" if label == "energy" else climb.objective) + (
        f" − {climb.variation:g} total variation" if climb.variation else ""
    )
    raised += f" of the {label} class" if label in ("predicted", "oracle") and climb.objective != "energy" else ""
    return f"at most {climb.steps} {climb.rule} steps up the {raised} of {network}"
