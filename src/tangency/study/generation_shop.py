"""What the tasks of generation are done with, and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tangency.errors import SpecError
from tangency.generate import Ascent, Climb
from tangency.mixtures import Mixture
from tangency.score import Denoiser
from tangency.study.generation_config import GenerationConfig
from tangency.types import Dataset

OWN, START, TRUTH = "classifier", "input", "truth"


@dataclass(frozen=True)
class Workshop:
    """Everything that a task is done with.

    Args:
        classifier: maps (N, C, H, W) to logits; None where only references are wanted.
        data: its test images are what is restored or changed.
        config: the task.
        mixture: of the images, for references; None for none.
        class_gaussians: of each class, for starts; None where they are not asked for.
        bayes: a classifier that is the Bayes rule of the mixture; None for none.
        score: a score model; None for none.
        device: where.
    """

    classifier: nn.Module | None
    data: Dataset
    config: GenerationConfig
    mixture: Mixture | None = None
    class_gaussians: Mixture | None = None
    bayes: nn.Module | None = None
    score: Denoiser | None = None
    device: str = "cpu"

    @property
    def networks(self) -> dict[str, tuple[nn.Module, str]]:
        """The networks that the same ascent is done with, and what they are called."""
        named = {OWN: (self.classifier, "the classifier"), "bayes": (self.bayes, "the Bayes rule of the mixture")}
        return {source: (network, words) for source, (network, words) in named.items() if network is not None}

    @property
    def own(self) -> nn.Module:
        """The classifier, where a task cannot be thought of without one."""
        if self.classifier is None:
            raise SpecError(f"task '{self.config.task}': expected a classifier, or a target class for its references.")
        return self.classifier


@dataclass
class Outcome:
    """Pictures of one batch by who made them, and what is told of each.

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

    def add_ascent(self, source: str, found: Ascent, how: str) -> None:
        """As `add`, with what is told of an ascent."""
        told = {name: getattr(found, name) for name in ("steps", "stalled", "diverged", "stopped")}
        self.add(source, found.images, how, found.evaluations, **told)
        if source == OWN:
            self.frames, self.frame_steps = found.frames, found.frame_steps


def in_words(climb: Climb, network: str, label: str = "") -> str:
    """What an ascent did; a restoration by its label "energy" raises that, whatever the objective."""
    raised = ("energy" if label == "energy" else climb.objective) + (
        f" − {climb.variation:g} total variation" if climb.variation else ""
    )
    raised += f" of the {label} class" if label in ("predicted", "oracle") and climb.objective != "energy" else ""
    return f"at most {climb.steps} {climb.rule} steps up the {raised} of {network}"
