"""Two splits from one: deterministic, with every class in both."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.data.build import labelled
from tangency.errors import DataError
from tangency.seeding import permutation
from tangency.types import LabelledImages

PARTS = {"train": "train: 5 of 6 images of each class", "test": "test: 1 of 6 images of each class"}
HELD_OUT = 6  # one image in six of each class is held out for the test


def held_out(labels: Tensor, classes: tuple[str, ...], name: str) -> Tensor:
    """(N,) bool, which images are held out: n // 6 of the n images of each class, at least one.

    Args:
        labels: (N,) int64 in [0, len(classes)).
        classes: names, index = label.
        name: what errors call the data.

    Raises:
        DataError: a class has fewer than two images.
    """
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label, class_name in enumerate(classes):
        members = (labels == label).nonzero().flatten()
        if len(members) < 2:
            raise DataError(
                f"{name}: class '{class_name}' has {len(members)} images, expected at least 2 to split into "
                "train and test. Give the test images separately, or leave the class out."
            )
        order = permutation(len(members), 0, "data split", label)
        mask[members[order[: max(1, len(members) // HELD_OUT)]]] = True
    return mask


def five_to_one(whole: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Train and test, five to one in each class, both in the order of `whole`; their names say so."""
    mask = held_out(whole.labels, whole.classes, whole.name)
    train, test = (
        labelled(whole.pixels[chosen], whole.labels[chosen], whole.classes, f"{whole.name} [{what}]", whole.notes)
        for what, chosen in zip(PARTS.values(), (~mask, mask), strict=True)
    )
    return train, test


def cut(images: LabelledImages, kept: int | None, reference: str, part: str) -> LabelledImages:
    """The first images of one fixed permutation, so that fewer are among more; all of them where `kept` is None.

    Args:
        images: one split.
        kept: how many are kept.
        reference: for errors.
        part: "train" or "test".
    """
    if kept is None:
        return images
    return images.subset(torch.tensor(kept_of(len(images), kept, reference, part)))


def kept_of(count: int, kept: int | None, reference: str, part: str) -> list[int]:
    """Which of `count` images `cut` keeps, in its order; all of them where `kept` is None."""
    if kept is None:
        return list(range(count))
    kind = "training" if part == "train" else "test"
    if kept > count:
        raise DataError(f"{reference}: {part}={kept}, there are {count} {kind} images.")
    chosen: list[int] = permutation(count, 0, f"{kind} images")[:kept].tolist()
    return chosen
