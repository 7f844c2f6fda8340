"""Every option of the tasks of generation, with its default and its range, in one flat record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tangency.errors import SpecError, unknown_name
from tangency.generation.masks import MASKS
from tangency.generation.tasks.climb import Climb

REFERENCES = ("bayes", "mixture", "score")
METHODS = ("budget", "map", "tweedie")
LABELS = ("energy", "predicted", "oracle")
STARTS = ("noise", "class")
_MOST = 10_000_000  # images


@dataclass(frozen=True)
class TaskOptions:
    """One task by name, and the options of all tasks; `GenerationConfig` refuses those that the task does not have.

    Args:
        task: name of the task; "translate" takes a test image to another class within a budget, "counterfactual" by the
            shortest way, "sketch" starts from the edges of a test image, "feature" raises one unit.
        count: images.
        climb: the ascent: objective, steps, budget and so on.
        sigma: of the noise that "denoise" adds, pixels in [0, 1].
        blind: whether "denoise" does not know σ, and estimates it from each image.
        method: of "denoise": "budget" (within σ√d, stopping there), "map" (with the likelihood), or "tweedie" (one step
            of σ² times the gradient of the logsumexp).
        label: what restorations raise: "energy", the logsumexp; the "predicted" class; or the true one, "oracle".
        mask: "rectangle", "random" or "half"; share: of the pixels that it hides.
        factor: of "superres".
        target: class, by number or name; of "feature" the unit's channel. None takes every class in turn (generate),
            the classifier's second choice (translate, counterfactual), the true class (sketch), every channel in turn
            (feature).
        start: of "generate" and "feature": grey "noise" or a draw from the "class"'s Gaussian.
        unit: of "feature": dotted name of a module.
        margin: of "counterfactual": logits by which the target must lead.
        drawn: of "sketch": whether the data are sketches already.
        guidance: weight of classifier-free guidance of the score, and of the classifier that guides it.
        references: what is done beside the classifier, of `REFERENCES`: "bayes" is the same ascent on the Bayes rule of
            the mixture, "mixture" its closed form, "score" a score model with at most as many evaluations; all that
            there are for the task by default.
        components, rank: of the mixture that is fitted where none is known.
        seed: of noise, masks and starts.
        batch: images at once; it changes memory, not results.

    Raises:
        SpecError: a name is unknown, or a number out of its range; it names the option.
    """

    task: str = "generate"
    count: int = 64
    climb: Climb = field(default_factory=Climb)
    sigma: float = 0.25
    blind: bool = False
    method: str = "budget"
    label: str = "energy"
    mask: str = "rectangle"
    share: float = 0.25
    factor: int = 2
    target: int | str | None = None
    start: str = "noise"
    unit: str = ""
    margin: float = 0.0
    drawn: bool = False
    guidance: float = 1.0
    references: tuple[str, ...] = REFERENCES
    components: int = 4
    rank: int = 12
    seed: int = 0
    batch: int = 256

    def __post_init__(self) -> None:
        named = (
            ("method", self.method, METHODS),
            ("label", self.label, LABELS),
            ("mask", self.mask, MASKS),
            ("start", self.start, STARTS),
            *(("references", name, REFERENCES) for name in self.references),
        )
        for option, got, known in named:
            if got not in known:
                raise SpecError(f"{option}: {unknown_name(option.removesuffix('s'), got, known)}")
        if len(set(self.references)) != len(self.references):
            raise SpecError(f"references: got {', '.join(self.references)}, expected each at most once.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        """Raise where a number is out of its range or not finite."""
        limits = (
            ("count", self.count, self.count >= 1, "at least 1 image"),
            ("count", self.count, self.count <= _MOST, f"at most {_MOST:,} images"),
            ("batch", self.batch, self.batch >= 1, "at least 1 image at once"),
            ("sigma", self.sigma, 0 < self.sigma < math.inf, "a finite noise level above 0"),
            ("share", self.share, 0 < self.share < 1, "a share above 0 and below 1"),
            ("guidance", self.guidance, 0 <= self.guidance < math.inf, "a finite weight of at least 0"),
            ("margin", self.margin, 0 <= self.margin < math.inf, "a finite number of logits, at least 0"),
            ("components", self.components, self.components >= 1, "at least 1 component"),
            ("rank", self.rank, self.rank >= 1, "a rank of at least 1"),
        )
        for option, given, fits, expected in limits:
            if not fits:
                raise SpecError(f"{option}: got {given}, expected {expected}.")

    @property
    def budget(self) -> int:
        """Evaluations of a network for each image that references get at most: those of the ascent."""
        return self.climb.steps + 1
