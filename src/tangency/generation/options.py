"""Every option of the tasks of generation, declared once: default, range or choices, and its flag on the command line.

Nothing here imports torch, so that the command line can be drawn up from these declarations without it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tangency.errors import SpecError, unknown_name

OBJECTIVES = ("cross_entropy", "log_odds", "logit", "margin", "energy")
RULES = ("normalised", "gradient", "adam")
NORMS = ("l2", "linf")
MASKS = ("rectangle", "random", "half")
REFERENCES = ("bayes", "mixture", "score")
METHODS = ("budget", "map", "tweedie")
LABELS = ("energy", "predicted", "oracle")
STARTS = ("noise", "class")
Bounds = tuple[float, float] | None

_MOST = 10_000_000  # images
_FRAMES = 10_000
_PIXELS = ", in [0, 1] pixel units"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Within:
    """An interval of numbers; `ends` are its brackets, round where an end is left out."""

    low: float
    high: float
    ends: str = "[)"

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.ends[0] == "(" else value >= self.low
        return above and (value < self.high if self.ends[1] == ")" else value <= self.high)

    def __str__(self) -> str:
        return f"{self.ends[0]}{self.low}, {self.high}{self.ends[1]}"


_POSITIVE, _NOT_NEGATIVE, _FROM_ONE = Within(0, math.inf, "()"), Within(0, math.inf), Within(1, math.inf)
_SHARE = Within(0, 1, "()")


@dataclass(frozen=True)
class Declaration:
    """What an option is, besides its type and its default.

    Args:
        help: on the command line; "" for an option without a flag.
        flag: its name there; that of the field where "".
        choices: the names it can have; () for any value.
        within: the range of a number; None for any.
        unit: of that number, for errors.
    """

    help: str = ""
    flag: str = ""
    choices: tuple[str, ...] = ()
    within: Within | None = None
    unit: str = ""

    @property
    def help_text(self) -> str:
        """The help, with the choices."""
        return f"{self.help.removesuffix('.')}: {', '.join(self.choices)}." if self.choices else self.help

    def check(self, name: str, value: Any) -> None:
        """Raise where the value of the option of this name is not among the choices, or out of its range."""
        for each in (value if isinstance(value, tuple) else (value,)) if self.choices else ():
            if each not in self.choices:
                raise SpecError(f"{name}: {unknown_name(name.removesuffix('s'), each, self.choices)}")
        if self.within is not None and value is not None and value not in self.within:
            raise SpecError(f"{name}: got {value}, expected a number in {self.within}{self.unit}.")


def _option(default: _T, help: str = "", **about: Any) -> _T:
    """A field of an options class: its default, and the rest of its `Declaration`."""
    declared: _T = field(default=default, metadata={"option": Declaration(help, **about)})
    return declared


def declarations(options: type) -> dict[str, Declaration]:
    """The declaration of each option of a class, by the name of its field."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(options) if "option" in each.metadata}


def _check(options: Climb | TaskOptions) -> None:
    for name, declaration in declarations(type(options)).items():
        declaration.check(name, getattr(options, name))


@dataclass(frozen=True)
class Climb:
    """The ascent that all tasks share: what is raised, by which steps, within which budget.

    Args:
        objective: one of `OBJECTIVES`.
        steps: at most; each is one forward and one backward pass.
        rule: "normalised" (l2 length of a move), "gradient" (its multiple), or "adam".
        length: of a move, see the rule; None is 2.5 · radius/steps for "normalised", and must be given for others.
        radius: l2 budget about the start, pixels in [0, 1]; None leaves it to the task.
        norm: of the budget and of a normalised move, "l2" or "linf".
        noise: standard deviation of Langevin noise at each step, pixel units.
        average: β of the moving average of iterates, 0 for the last one.
        variation: weight of total variation; 0, since a picture should show the classifier and no other prior.
        decay: whether moves shrink linearly to nothing.
        confidence: stop an image once p(y|x) reaches this, in (0, 1); None for never.
        bounds: of pixels; None for none.
        frames: iterates kept.

    Raises:
        SpecError: a name is unknown, a number out of its range, or options that exclude each other.

    Example:
        >>> Climb(steps=30, confidence=0.9).rule
        'normalised'
    """

    objective: str = _option("log_odds", "What is raised.", choices=OBJECTIVES)
    steps: int = _option(60, "Gradient steps at most.", within=_NOT_NEGATIVE)
    rule: str = _option("normalised", "Rule of the steps.", choices=RULES)
    length: float | None = _option(
        None, "Length of a step; 2.5·radius/steps by default.", within=_POSITIVE, unit=_PIXELS
    )
    radius: float | None = _option(None, "Budget about the start, pixels in [0, 1].", within=_POSITIVE, unit=_PIXELS)
    norm: str = _option("l2", "Norm of the budget.", choices=NORMS)
    noise: float = _option(0.0, "Noise added at each step.", flag="langevin", within=_NOT_NEGATIVE)
    average: float = _option(0.0, "Weight of a moving average of iterates, in [0, 1).", within=Within(0, 1))
    variation: float = _option(0.0, "Weight of total variation; off by default.", within=_NOT_NEGATIVE)
    decay: bool = _option(False, "Let steps shrink to nothing.")
    confidence: float | None = _option(None, "Stop an image at this p(y|x).", within=_SHARE)
    bounds: Bounds = (0.0, 1.0)
    frames: int = _option(0, within=Within(0, _FRAMES, "[]"))

    def __post_init__(self) -> None:
        _check(self)
        if self.bounds is not None and not -math.inf < self.bounds[0] < self.bounds[1] < math.inf:
            raise SpecError(f"bounds: got {list(self.bounds)}, expected two finite numbers, the lower one first.")
        if self.rule != "normalised" and self.length is None:
            raise SpecError(f"length: got none for rule '{self.rule}', whose moves have no length of their own.")
        if self.confidence is not None and self.objective not in ("log_odds", "cross_entropy"):
            raise SpecError(f"confidence: '{self.objective}' is no probability; use log_odds or cross_entropy.")
        if self.confidence is not None and self.variation:
            raise SpecError("confidence: less total variation, the objective is no probability; leave variation out.")


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
    count: int = _option(64, "Images; 1000 and more give a KID.", within=Within(1, _MOST, "[]"))
    climb: Climb = field(default_factory=Climb)
    sigma: float = _option(0.25, "Noise level that denoise removes, pixels in [0, 1].", within=_POSITIVE)
    blind: bool = _option(False, "Denoise without knowing σ.")
    method: str = _option("budget", "Method of denoise.", choices=METHODS)
    label: str = _option("energy", "What restorations raise.", choices=LABELS)
    mask: str = _option("rectangle", "Mask of inpaint.", choices=MASKS)
    share: float = _option(0.25, "Share of the pixels that the mask hides.", within=_SHARE)
    factor: int = _option(2, "Factor of superres: a divisor of both sides, 2 or more.")
    target: int | str | None = None
    start: str = _option("noise", "Start of generate and feature.", choices=STARTS)
    unit: str = _option("", "Module whose channel feature raises, e.g. module.features.3.")
    margin: float = _option(0.0, "Logits by which a counterfactual's class leads.", within=_NOT_NEGATIVE)
    drawn: bool = _option(False, "The data of task sketch are sketches already.")
    guidance: float = _option(1.0, "Weight of the score's guidance.", within=_NOT_NEGATIVE)
    references: tuple[str, ...] = _option(REFERENCES, choices=REFERENCES)
    components: int = _option(4, within=_FROM_ONE)
    rank: int = _option(12, within=_FROM_ONE)
    seed: int = _option(0, "Seed of noise, masks and starts.")
    batch: int = _option(256, "Images at once; changes memory, not results.", within=_FROM_ONE)

    def __post_init__(self) -> None:
        _check(self)
        if len(set(self.references)) != len(self.references):
            raise SpecError(f"references: got {', '.join(self.references)}, expected each at most once.")

    @property
    def budget(self) -> int:
        """Evaluations of a network for each image that references get at most: those of the ascent."""
        return self.climb.steps + 1
