"""What the files leave open about a network is told by how well it classifies training images, or is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tangency.errors import ModelError
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.normalise import Convention, Fed, agreement, clearly_better, conventions
from tangency.models.foreign.opening import Opened, Request
from tangency.numerics import at_once
from tangency.seeding import permutation
from tangency.types import Dataset

_TRIED_IMAGES, _FIRST_IMAGES, _COMPARED_IMAGES = 1000, 100, 200
_FEWEST, _PIXELS = 32, 1 << 21  # of large images fewer of each: these are enough for a network that has learned them
_GOOD = 0.9  # an accuracy that no other candidate can clearly exceed
_LEARNED = 1.5  # times the share of the largest class, below which accuracy says nothing
_LEVEL = 0.01  # of the sign test by which one candidate is better than another
_DROPPED_AT = 1e-4  # the same, where the first images already rule one out
_UNUSUAL_AT = 1e-3  # the same, where an unusual twin is to replace the usual one
_ASK = (
    "nothing says how its images are normalised. Give ?range=0,1&mean=none for plain images in [0, 1], range=-1,1 or "
    "range=0,255 for others, or mean=…&std=… (numbers, or mean=imagenet, mean=cifar10, …)"
)
Behind = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Decided:
    """A network with nothing left open.

    Args:
        opened: as its loader found it, the right one of its twins.
        module: it, behind a change of size and the like, in eval mode.
        known: of its input, range, mean and std among it.
        warnings: where something else would do nearly as well, in sentences.
    """

    opened: Opened
    module: nn.Module
    known: Feeding
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """One way to take a network: which of its twins, and how that is fed."""

    opened: Opened
    fed: Fed
    name: str
    options: str
    usual: bool


@dataclass(frozen=True)
class _Trial:
    """Which training images a candidate classifies rightly: (n,) bool, of the first n that are tried."""

    candidate: _Candidate
    right: Tensor

    @property
    def share(self) -> float:
        return float(self.right.double().mean())

    def beats(self, other: _Trial, level: float = _LEVEL) -> bool:
        """Whether it is right clearly more often than another, on the images that both have seen."""
        n = min(len(self.right), len(other.right))
        return clearly_better(self.right[:n], other.right[:n], level)


def decided(known: Feeding, opened: Opened, request: Request, behind: Behind) -> Decided:
    """Range, mean and std, and which of its twins a network is: known, or told by training images.

    The candidate that is right most often is taken, where each other one is right clearly less often (one-sided exact
    sign test), or is measured alike (`Agreement.alike`), which a warning says.

    Args:
        known: of its input.
        opened: the network.
        request: for the data, and for errors.
        behind: puts a network behind a change of size and the like.

    Raises:
        ModelError: nothing tells; what may be said in the reference is named.
    """
    known = _as_said(known)
    undecided, twins = known.mean is None, opened.twins
    if twins is None and not undecided:
        return Decided(opened, behind(opened.module).eval(), known)
    ask = ". ".join(([_ASK] if undecided else []) + ([twins.question] if twins and not twins.usual else []))
    ask = f"{request.reference.text}: {ask}"
    has_usual = twins is not None and twins.usual is not None and not undecided
    if request.data is None:
        if not has_usual:
            raise ModelError(f"{ask}; with --data it is found from the training images.")
        alone = _candidates([opened], [_convention(known)], undecided, behind)[0]
        return _taken(alone, known, ", as usual; no data were given to check it on")
    found = conventions(request.data.train) if undecided else [_convention(known)]
    first = _candidates([opened], found, undecided, behind)
    chosen = permutation(len(request.data.train), 0, "normalisation")[: _count(request.data, _TRIED_IMAGES)]
    if has_usual:
        trial = _tried(first[0], request.data, chosen[: _count(request.data, _FIRST_IMAGES)])
        if trial.share >= _GOOD:
            return _taken(
                first[0], known, f", as usual; right for {trial.share:.0%} of {len(trial.right)} training images"
            )
    rest = _candidates([make() for make in opened.others.values()], found, undecided, behind)
    trials = _trials([*first, *rest], request.data, chosen)
    return _told(trials, known, request.data, chosen, ask, has_usual)


def _told(
    trials: Sequence[_Trial], known: Feeding, data: Dataset, chosen: Tensor, ask: str, has_usual: bool
) -> Decided:
    """The best of the candidates, if the images tell it apart from those that would be measured otherwise."""
    best = _best(trials)
    table = ", ".join(f"{trial.candidate.name} {trial.share:.1%}" for trial in trials)
    seen = f"{len(best.right)} training images"
    said = f", found from {seen} (accuracy with {table})"
    if best.share < _LEARNED * _chance(data):
        usual = next(trial for trial in trials if trial.candidate.usual)
        if has_usual:
            return _taken(usual.candidate, known, f", as usual; {seen} do not tell: accuracy with {table}")
        raise ModelError(f"{ask}; {seen} do not decide it: accuracy with {table}.")
    rivals = [trial for trial in trials if trial is not best and not best.beats(trial)]
    if best.candidate.usual:  # an unusual twin needs evidence of its own
        rivals = [trial for trial in rivals if trial.candidate.usual]
    compared = chosen[: _count(data, _COMPARED_IMAGES)]
    x, y = data.train.images(compared), data.train.labels[compared]
    pairs = [(rival, agreement(best.candidate.fed, rival.candidate.fed, x, y)) for rival in rivals]
    if apart := [f"with {rival.candidate.name}, {found.text}" for rival, found in pairs if not found.alike]:
        raise ModelError(
            f"{ask}; {seen} do not decide it: accuracy with {table}. Beside {best.candidate.name} it would be measured "
            f"otherwise {'; '.join(apart)}."
        )
    warnings = tuple(
        f"the images do not tell {best.candidate.name} (right for {best.share:.1%}, taken) from {rival.candidate.name} "
        f"(right for {rival.share:.1%}); measures are alike with both: {found.text}. Where you know which, put "
        f"?{best.candidate.options} or ?{rival.candidate.options} behind the reference."
        for rival, found in pairs
    )
    return replace(_taken(best.candidate, known, said), warnings=warnings)


def _candidates(
    versions: Sequence[Opened], inputs: Sequence[Convention], undecided: bool, behind: Behind
) -> list[_Candidate]:
    """Each version of the network with each way of feeding it."""
    found = []
    for opened in versions:
        module, twins = behind(opened.module).eval(), opened.twins
        chosen = f"{twins.option}={opened.choice}" if twins is not None else ""
        for convention in inputs:
            told = [convention.name, chosen] if undecided else [chosen]
            options = [convention.options, chosen] if undecided else [chosen]
            found.append(
                _Candidate(
                    opened,
                    Fed(module, convention),
                    " and ".join(filter(None, told)),
                    "&".join(filter(None, options)),
                    usual=twins is None or twins.usual in (None, opened.choice),
                )
            )
    return found


def _trials(candidates: Sequence[_Candidate], data: Dataset, chosen: Tensor) -> list[_Trial]:
    """Every candidate on the first images, and those that these leave on all of them."""
    count = _count(data, _FIRST_IMAGES)
    first = [_tried(candidate, data, chosen[:count]) for candidate in candidates]
    leader = max(first, key=lambda trial: trial.share)
    kept = [not leader.beats(trial, _DROPPED_AT) for trial in first]
    large = count < _FIRST_IMAGES  # then more are not worth their passes where these show nothing learned
    if sum(kept) == 1 or (large and leader.share < _LEARNED * _chance(data)):
        return first
    rest = [
        _tried(trial.candidate, data, chosen[count:]).right if keep else trial.right[:0]
        for trial, keep in zip(first, kept, strict=True)
    ]
    return [replace(trial, right=torch.cat([trial.right, more])) for trial, more in zip(first, rest, strict=True)]


def _count(data: Dataset, most: int) -> int:
    """How many of at most `most` images are looked at: fewer of those larger than 128 × 128 pixels, in proportion."""
    return max(min(most, _FEWEST), at_once(data.train.shape, most, most * _PIXELS // _FIRST_IMAGES))


def _tried(candidate: _Candidate, data: Dataset, ids: Tensor) -> _Trial:
    parts = ids.split(at_once(data.train.shape, 128))
    with torch.no_grad():
        right = [candidate.fed(data.train.images(part)).argmax(1) == data.train.labels[part] for part in parts]
    return _Trial(candidate, torch.cat(right))


def _chance(data: Dataset) -> float:
    return float(data.train.class_counts.max()) / len(data.train)


def _best(trials: Sequence[_Trial]) -> _Trial:
    """The one that is right most often; a usual one where no unusual one is right clearly more often."""
    seen = max(len(trial.right) for trial in trials)
    best = max((trial for trial in trials if len(trial.right) == seen), key=lambda trial: trial.share)
    usual = max((trial for trial in trials if trial.candidate.usual), key=lambda trial: trial.share, default=best)
    return best if best.candidate.usual or best.beats(usual, _UNUSUAL_AT) else usual


def _as_said(known: Feeding) -> Feeding:
    """Range, mean and std where what is known of them says the rest; mean stays None where nothing does."""
    if known.mean is None and known.input_range is not None:
        return replace(known, mean=(), std=(), notes=(*known.notes, "no mean and std, as none are named"))
    if known.mean is None or known.input_range is not None:
        return known
    bytes_meant = max((*known.mean, *(known.std or ()), 0.0)) > 1.5
    limits = (0.0, 255.0) if bytes_meant else (0.0, 1.0)
    said = f"range [{limits[0]:g}, {limits[1]:g}], as its mean and std suggest" if known.mean else "range [0, 1]"
    return replace(known, input_range=limits, notes=(*known.notes, said))


def _convention(known: Feeding) -> Convention:
    return Convention("", "", known.input_range or (0.0, 1.0), known.mean or (), known.std or ())


def _taken(candidate: _Candidate, known: Feeding, why: str) -> Decided:
    """The candidate, with notes of what was left open about it and why it was taken."""
    opened, convention = candidate.opened, candidate.fed.convention
    notes = list(known.notes)
    if known.mean is None:
        notes.append(f"normalisation: {convention.name}{why}")
    if opened.twins is not None:
        notes.append(f"the network is {opened.twins.said(opened.choice)}{why}")
    known = replace(
        known, input_range=convention.input_range, mean=convention.mean, std=convention.std, notes=tuple(notes)
    )
    return Decided(opened, candidate.fed.module, known)
