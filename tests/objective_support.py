"""Objectives with guides that need no fit."""

import torch

from tangency.objectives import OBJECTIVES, make
from tangency.objectives.options import options_of
from tangency.seeding import Draw
from tangency.tangents import TangentSpace
from tangency.types import Direction


class OwnSpaces:
    """A random subspace for each place, of rank 2 or 3; where `moved`, the image has a part in it too."""

    kind, where, max_rank, card = "own", "anywhere", 3, {"kind": "own"}

    def __init__(self, moved=False):
        self.moved, self.seen = moved, []

    def at(self, x, ids=None):
        self.seen.append((x.detach().clone(), ids.clone()))
        normal = Draw(7, ids, "own spaces").normal((x[0].numel(), 3), torch.float64)
        if self.moved:
            normal[:, :, 0] += 10 * x.flatten(1).double()
        rank = 2 + ids % 2
        return TangentSpace(torch.linalg.qr(normal).Q.to(x.dtype), rank).cut(rank)


class OwnScore:
    """A score that depends on image, label and noise level, and on nothing else."""

    kind, classes, card = "own", 5, {"kind": "own"}

    def score(self, x, sigma, y=None):
        shift = 0 if y is None else y[:, None, None, None] + 1
        return (7 * x + shift).sin() / sigma

    def bayes_direction(self, x, y, sigma):
        direction = self.score(x, sigma, y) - self.score(x, sigma)
        return Direction(direction, direction.flatten(1).norm(dim=1).log())


def complete(name, strength, images=None, **options):
    """`make`, with guides bound where the objective takes some."""
    guides = options_of(OBJECTIVES[name]).guides if name in OBJECTIVES else ()
    objective = make(name, strength, **dict.fromkeys(guides, "mine"), **options)
    objects = {"tangents": OwnSpaces(), "score": OwnScore()}
    return objective.guided(**{guide: objects[guide] for guide in guides}, images=images)
