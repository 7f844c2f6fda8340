"""Decisions that the files of a network leave open, by its accuracy on training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tangency.errors import ModelError
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.normalise import Convention, Fed, clearly_better, conventions, resemblance
from tangency.models.foreign.opening import Opened, Request
from tangency.numerics import at_once
from tangency.seeding import permutation
from tangency.types import Dataset

_TRIED_IMAGES, _FIRST_IMAGES, _COMPARED_IMAGES = 1000, 100, 200
_FEWEST, _PIXELS = 32, 1 << 21  # of large images fewer of each: these are enough for a network that has learned them
_GOOD = 0.9  # an accuracy that no other candidate can clearly exceed
_LEARNED = 1.5  # times the share of the largest class, below which accuracy says nothing
_LEVEL = 0.01  # of the sign test by which one candidate is better than another
_DROPPED_AT = 1e-4  # the same, for dropping a candidate after the first images
_UNUSUAL_AT = 1e-3  # the same, for replacing the usual twin by an unusual one
_NO_NORMALISATION = (
    "nothing says how its images are normalised. Give ?range=0,1&mean=none for plain images in [0, 1], range=-1,1 or "
    "range=0,255 for others, or mean=…&std=… (numbers, or mean=imagenet, mean=cifar10, …)"
)
Wrap = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Decided:
    """A network with nothing left open.

    Args:
        opened: of its loader, the right one of its twins.
        known: its input, with range, mean and std.
        warnings: alternatives that would do nearly as well, in sentences.
    """

    opened: Opened
    known: Feeding
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """One way to take a network: which of its twins, and how it is fed."""

    opened: Opened
    fed: Fed
    name: str
    options: str
    usual: bool


@dataclass(frozen=True)
class _Hits:
    """Which training images a candidate classifies correctly: (n,) bool, of the first n that are tried."""

    candidate: _Candidate
    right: Tensor

    @property
    def share(self) -> float:
        return float(self.right.double().mean())

    def beats(self, other: _Hits, level: float = _LEVEL) -> bool:
        """Whether it is right clearly more often than another, on the images that both have seen."""
        n = min(len(self.right), len(other.right))
        return clearly_better(self.right[:n], other.right[:n], level)


def decided(known: Feeding, opened: Opened, request: Request, wrap: Wrap) -> Decided:
    """Range, mean and std, and which of its twins a network is: known, or decided by training images.

    The candidate that is right most often is taken, where each other one is right clearly less often (one-sided exact
    sign test), or is measured alike (`Resemblance.alike`), which a warning reports.

    Args:
        known: of its input.
        opened: the network.
        request: for the data, and for errors.
        wrap: puts a network behind a change of size and the like.

    Raises:
        ModelError: nothing decides; the options of the reference that would are named.
    """
    known = _completed(known)
    undecided, twins = known.mean is None, opened.twins
    if twins is None and not undecided:
        return Decided(opened, known)
    questions = [_NO_NORMALISATION] * undecided + ([twins.question] if twins and not twins.usual else [])
    problem = f"{request.reference.text}: {'. '.join(questions)}"
    has_usual = twins is not None and twins.usual is not None and not undecided
    own = Convention("", "", known.input_range or (0.0, 1.0), known.mean or (), known.std or ())
    if request.data is None and not has_usual:
        raise ModelError(f"{problem}; with --data it is found from the training images.")
    usual_ways = conventions(request.data.train) if undecided and request.data is not None else [own]
    first = _candidates([opened], usual_ways, undecided, wrap)
    if request.data is None:
        return _taken(first[0], known, ", as usual; no data were given to check it on")
    images = _Images(request.data)
    if has_usual:
        hits = images.hits(first[0], images.index[: images.count(_FIRST_IMAGES)])
        if hits.share >= _GOOD:
            return _taken(
                first[0], known, f", as usual; right for {hits.share:.0%} of {len(hits.right)} training images"
            )
    rest = _candidates([make() for make in opened.others.values()], usual_ways, undecided, wrap)
    return _chosen(images.trials([*first, *rest]), known, images, problem, has_usual)


class _Images:
    """The training images that decide, in a random order that is always the same."""

    def __init__(self, data: Dataset) -> None:
        self.data = data.train
        self.index = permutation(len(self.data), 0, "normalisation")[: self.count(_TRIED_IMAGES)]

    def count(self, most: int) -> int:
        """How many of at most `most` images are used: fewer of those larger than 128 × 128 pixels, in proportion."""
        return max(min(most, _FEWEST), at_once(self.data.shape, most, most * _PIXELS // _FIRST_IMAGES))

    @property
    def chance(self) -> float:
        """The share of the largest class."""
        return float(self.data.class_counts.max()) / len(self.data)

    def hits(self, candidate: _Candidate, index: Tensor) -> _Hits:
        parts = torch.split(index, at_once(self.data.shape, 128))
        with torch.no_grad():
            right = [candidate.fed(self.data.images(part)).argmax(1) == self.data.labels[part] for part in parts]
        return _Hits(candidate, torch.cat(right))

    def trials(self, candidates: Sequence[_Candidate]) -> list[_Hits]:
        """Every candidate on the first images, and those that are not dropped there on all of them."""
        count = self.count(_FIRST_IMAGES)
        first = [self.hits(candidate, self.index[:count]) for candidate in candidates]
        leader = max(first, key=lambda hits: hits.share)
        kept = [not leader.beats(hits, _DROPPED_AT) for hits in first]
        large = count < _FIRST_IMAGES  # then more are not worth their passes where these show nothing learned
        if sum(kept) == 1 or (large and leader.share < _LEARNED * self.chance):
            return first
        return [
            replace(hits, right=torch.cat([hits.right, self.hits(hits.candidate, self.index[count:]).right]))
            if keep
            else hits
            for hits, keep in zip(first, kept, strict=True)
        ]


def _chosen(trials: Sequence[_Hits], known: Feeding, images: _Images, problem: str, has_usual: bool) -> Decided:
    """The best of the candidates, if the images tell it apart from those that would be measured otherwise."""
    best = _best(trials)
    table = ", ".join(f"{hits.candidate.name} {hits.share:.1%}" for hits in trials)
    seen = f"{len(best.right)} training images"
    if best.share < _LEARNED * images.chance:
        if has_usual:
            usual = next(hits.candidate for hits in trials if hits.candidate.usual)
            return _taken(usual, known, f", as usual; {seen} do not tell: accuracy with {table}")
        raise ModelError(f"{problem}; {seen} do not decide it: accuracy with {table}.")
    rivals = [hits for hits in trials if hits is not best and not best.beats(hits)]
    if best.candidate.usual:  # an unusual twin needs evidence of its own
        rivals = [hits for hits in rivals if hits.candidate.usual]
    compared = images.index[: images.count(_COMPARED_IMAGES)]
    x, y = images.data.images(compared), images.data.labels[compared]
    pairs = [(rival, resemblance(best.candidate.fed, rival.candidate.fed, x, y)) for rival in rivals]
    if apart := [f"with {rival.candidate.name}, {alike.text}" for rival, alike in pairs if not alike.alike]:
        raise ModelError(
            f"{problem}; {seen} do not decide it: accuracy with {table}. Beside {best.candidate.name} it would be "
            f"measured otherwise {'; '.join(apart)}."
        )
    warnings = tuple(
        f"the images do not tell {best.candidate.name} (right for {best.share:.1%}, taken) from {rival.candidate.name} "
        f"(right for {rival.share:.1%}); measures are alike with both: {alike.text}. Where you know which, put "
        f"?{best.candidate.options} or ?{rival.candidate.options} behind the reference."
        for rival, alike in pairs
    )
    taken = _taken(best.candidate, known, f", found from {seen} (accuracy with {table})")
    return replace(taken, warnings=warnings)


def _candidates(
    versions: Sequence[Opened], inputs: Sequence[Convention], undecided: bool, wrap: Wrap
) -> list[_Candidate]:
    """Each version of the network with each way of feeding it."""
    candidates = []
    for opened in versions:
        module, twins = wrap(opened.module).eval(), opened.twins
        choice = [f"{twins.option}={opened.choice}"] if twins is not None else []
        for convention in inputs:
            name = " and ".join([convention.name] * undecided + choice)
            options = "&".join([convention.options] * undecided + choice)
            usual = twins is None or twins.usual in (None, opened.choice)
            candidates.append(_Candidate(opened, Fed(module, convention), name, options, usual))
    return candidates


def _best(trials: Sequence[_Hits]) -> _Hits:
    """The one that is right most often; a usual one where no unusual one is right clearly more often."""
    seen = max(len(hits.right) for hits in trials)
    best = max((hits for hits in trials if len(hits.right) == seen), key=lambda hits: hits.share)
    usual = max((hits for hits in trials if hits.candidate.usual), key=lambda hits: hits.share, default=best)
    return best if best.candidate.usual or best.beats(usual, _UNUSUAL_AT) else usual


def _completed(known: Feeding) -> Feeding:
    """Range, mean and std where the known ones imply the others; mean stays None where nothing is known."""
    if known.mean is None and known.input_range is not None:
        return replace(known, mean=(), std=(), notes=(*known.notes, "no mean and std, as none are named"))
    if known.mean is None or known.input_range is not None:
        return known
    high = 255.0 if max((*known.mean, *(known.std or ()), 0.0)) > 1.5 else 1.0
    note = f"range [0, {high:g}], as its mean and std suggest" if known.mean else "range [0, 1]"
    return replace(known, input_range=(0.0, high), notes=(*known.notes, note))


def _taken(candidate: _Candidate, known: Feeding, why: str) -> Decided:
    """The candidate, with notes of what was left open about it and why it was taken."""
    opened, convention = candidate.opened, candidate.fed.convention
    notes = list(known.notes)
    if known.mean is None:
        notes.append(f"normalisation: {convention.name}{why}")
    if opened.twins is not None:
        notes.append(f"the network is {opened.twins.sentence(opened.choice)}{why}")
    limits, mean, std = convention.input_range, convention.mean, convention.std
    return Decided(opened, replace(known, input_range=limits, mean=mean, std=std, notes=tuple(notes)))
