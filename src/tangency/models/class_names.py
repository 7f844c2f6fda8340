"""Names of classes: compared without case and spaces; those of ImageNet."""

from __future__ import annotations

from collections.abc import Sequence

from tangency.data.classes import imagenet_synsets

IMAGENET = len(imagenet_synsets())


def plain(name: str) -> str:
    """A class name without case, spaces, hyphens and underscores, for comparison."""
    return "".join(c for c in name.casefold() if c.isalnum())


def numbered(names: Sequence[str]) -> bool:
    """Whether these are only numbers, which do not identify classes of another set."""
    return all(name.isdecimal() for name in names)


def imagenet_names() -> tuple[str, ...]:
    """The names that torchvision gives ImageNet's classes, in the order of their synsets."""
    from torchvision.models import get_model_weights

    return tuple(get_model_weights("resnet18").DEFAULT.meta["categories"])


def own_order(names: Sequence[str], outputs: int) -> bool:
    """Whether these classes may have another order than the outputs of a network.

    That is so where a network has the 1,000 outputs of ImageNet and the data name ImageNet's classes in an order of
    their own, or number them in another one.
    """
    if outputs != IMAGENET or len(names) != IMAGENET:
        return False
    return are_imagenets(names) or all(name.startswith("clsloc ") for name in names)


def are_imagenets(names: Sequence[str]) -> bool:
    """Whether all of these are synsets or names of ImageNet's classes.

    Example:
        >>> are_imagenets(("n01440764", "n02102040")), are_imagenets(("cat", "dog"))
        (True, False)
    """
    known = {*imagenet_synsets()}
    if all(name in known for name in names):
        return True
    known |= {plain(name) for name in imagenet_names()}
    return all(any(plain(part) in known for part in (name, *name.split(","))) for name in names)


def alike_imagenets(names: Sequence[str], share: float = 0.95) -> bool:
    """Whether 1,000 names are ImageNet's in the order of its synsets, nearly all of them."""
    if len(names) != IMAGENET:
        return False
    same = [
        own == synset or plain(name) in {plain(part) for part in (own, *own.split(","))}
        for own, name, synset in zip(names, imagenet_names(), imagenet_synsets(), strict=True)
    ]
    return sum(same) >= share * len(same)
