"""A rehearsal of a study: one of its networks, one epoch, a few images; does everything load and fit together?"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from tangency.errors import SpecError
from tangency.study.generation.spec import JudgeSpec
from tangency.study.spec import StudySpec
from tangency.study.sweep import SweepEntry

FEWEST = 20  # images
_MEASURED, _SHARD, _PICTURES, _REPLICATES = 20, 10, 2, 100


def rehearsal(spec: StudySpec, images: int = 200) -> StudySpec:
    """The same study with one trial, trained for one epoch, on this many training images and a fifth of test images.

    The trial is the middle strength of the last entry of the sweep, or its first given network. Nothing is generated,
    and there is no untrained network; autoencoders are trained for one epoch.

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
            "tangents": tuple(re.sub(r"\bepochs=\d+", "epochs=1", reference) for reference in spec.tangents),
            "sweep": (_one(spec.sweep),),
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


def _one(sweep: Sequence[SweepEntry]) -> SweepEntry:
    last = sweep[-1]
    if last.networks:
        return last.model_copy(update={"networks": last.networks[:1]})
    epochs = {"epochs": 1} if "epochs" in last.train else {}
    middle = sorted(last.strengths)[len(last.strengths) // 2]
    return last.model_copy(update={"strengths": (middle,), "train": last.train | epochs})
