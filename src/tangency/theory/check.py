"""All claims, or those of one world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tangency.theory.chance import chance
from tangency.theory.claims import Claim
from tangency.theory.curvature import curvature
from tangency.theory.dimension import intrinsic_dimension
from tangency.theory.identities import identities
from tangency.theory.theorem1 import theorem1
from tangency.theory.theorem2 import theorem2
from tangency.theory.verdicts import verdict_claims
from tangency.worlds import WORLDS, family, make_world

# Instances small enough for full Jacobians, where the law allows it.
SMALL = {
    "linear": "linear?shape=1x6x6&rank=4&classes=3",
    "offset": "offset?shape=1x6x6&rank=4",
    "rotated": "rotated?shape=1x6x6&rank=3",
    "fitted": "fitted?components=2&rank=6&images=2000",
    "sphere": "sphere?shape=1x6x6&rank=5",
    "torus": "torus?shape=1x6x6&rank=3",
    "distractor": "distractor?shape=1x8x6&rank=2&classes=2&mark=0.1",
    "decoder": "decoder?size=5&classes=3&noise=0.02",
}
SIGMAS = (0.03, 0.1, 0.4)
TOPICS: dict[str, Callable[[int], list[Claim]]] = {
    "theorem 1": theorem1,
    "chance": chance,
    "theorem 2": theorem2,
    "curvature": curvature,
    "verdicts": verdict_claims,
    "intrinsic dimension": intrinsic_dimension,
}


def steps(world: str | None = None, seed: int = 0) -> Iterator[tuple[str, Callable[[], list[Claim]]]]:
    """(title, work) of each part of a check: identities of every world (or of one), then the theorems and verdicts.

    Args:
        world: reference of one world, or of a `family`; then only its identities are checked.
        seed: of images and noise.
    """
    references = [SMALL[name] for name in WORLDS] if world is None else family(world)
    for reference in references:
        made = make_world(reference)
        for sigma in SIGMAS:
            yield f"identities of {reference}, σ = {sigma:g}", partial(identities, made, sigma, seed)
    if world is None:
        for topic, claims in TOPICS.items():
            yield topic, partial(claims, seed)


def check(world: str | None = None, seed: int = 0) -> list[Claim]:
    """Every claim, checked.

    Example:
        >>> all(claim.passed for claim in check("linear?shape=1x4x4&rank=2"))
        True
    """
    return [claim for _, work in steps(world, seed) for claim in work()]
