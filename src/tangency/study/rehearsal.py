"""A rehearsal of a study: one of its networks, one epoch, a few images; does everything load and fit together?"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from tangency.errors import SpecError
from tangency.objectives.options import GUIDES
from tangency.study.generation.spec import JudgeSpec
from tangency.study.spec import StudySpec
from tangency.study.sweep import STANDARD, SweepEntry
from tangency.training import TrainConfig

FEWEST = 20  # images
_MEASURED, _SHARD, _PICTURES, _REPLICATES = 20, 10, 2, 100


def rehearsal(spec: StudySpec, images: int = 200) -> StudySpec:
    """The same study with one trial, trained for one epoch, on this many training images and a fifth of test images.

    The trial is the middle strength of the last entry of the sweep, or its first given network; a standard one of
    another recipe has the study's own beside it. Nothing is generated, and there is no untrained network; autoencoders
    are trained for one epoch.

    Args:
        spec: any study.
        images: of training, at least 20; of real data and worlds alike.

    Raises:
        SpecError: too few images.

    Example:
        >>> from tangency.study import load_spec
        >>> small = rehearsal(load_spec("linear"))
        >>> small.data, small.train.epochs, [(entry.objective, entry.strengths) for entry in small.sweep]
        ('world:linear?train=200&test=40', 1, [('pgd_l2', (0.3,))])
    """
    if images < FEWEST:
        raise SpecError(f"rehearsal: got {images} images, expected at least {FEWEST}.")
    train = dataclasses.replace(spec.train, epochs=1, batch_size=max(2, min(spec.train.batch_size, images // 4)))
    return spec.model_copy(
        update={
            "name": f"{spec.name}-rehearsal",
            "data": fewer(spec.data, images, images // 5),
            "measured": min(spec.measured, _MEASURED),
            "shard": min(spec.shard, _SHARD),
            "train": train,
            "tangents": tuple(map(_one_epoch, spec.tangents)),
            "sweep": _swept(spec.sweep, train),
            "seeds": spec.seeds[:1],
            "generate": (),
            "judge": JudgeSpec(),
            "untrained": False,
            "pictures": min(spec.pictures, _PICTURES),
            "replicates": _REPLICATES,
            "convergence": False,
        }
    )


def fewer(reference: str, train: int, test: int) -> str:
    """A reference of data with these numbers of images; the place of test images that lie apart is kept.

    Example:
        >>> fewer("npz:a.npz?layout=NHW&test=1000&train=5000", 200, 40), fewer("npz:a.npz?test=b.npz", 200, 40)
        ('npz:a.npz?layout=NHW&train=200&test=40', 'npz:a.npz?test=b.npz&train=200')
    """
    location, _, query = reference.partition("?")
    kept = [option for option in query.split("&") if option and not re.fullmatch(r"(train|test)=\d+", option)]
    counts = [f"train={train}"] + ([] if any(option.startswith("test=") for option in kept) else [f"test={test}"])
    return f"{location}?{'&'.join([*kept, *counts])}"


def _swept(sweep: Sequence[SweepEntry], train: TrainConfig) -> tuple[SweepEntry, ...]:
    """The one entry; a standard network of another recipe has the study's own before it, which a spec must have."""
    one = _one(sweep)
    if one.objective != STANDARD or not one.changes:
        return (one,)
    own = next(entry for entry in sweep if entry.objective == STANDARD and not entry.changes)
    same = one.training(train) == train and not one.model  # where it differs in its epochs only
    return (own,) if same else (own, one)


def _one(sweep: Sequence[SweepEntry]) -> SweepEntry:
    last = sweep[-1]
    if last.networks:
        return last.model_copy(update={"networks": last.networks[:1]})
    epochs = {"epochs": 1} if "epochs" in last.train else {}
    middle = sorted(last.strengths)[len(last.strengths) // 2]
    return last.model_copy(update={"strengths": (middle,), "train": last.train | epochs, "options": _short(last)})


def _short(entry: SweepEntry) -> dict[str, object]:
    """Its options, guides that are trained for one epoch."""
    return {k: _one_epoch(v) if k in GUIDES and isinstance(v, str) else v for k, v in entry.options.items()}


def _one_epoch(reference: str) -> str:
    return re.sub(r"\bepochs=\d+", "epochs=1", reference)
