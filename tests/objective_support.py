"""Objectives with guides that need no fit."""

import torch

from tangency.objectives import OBJECTIVES, make
from tangency.objectives.options import options_of
from tangency.seeding import Draw
from tangency.tangents import TangentSpace


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


def complete(name, strength, images=None, **options):
    """`make`, with guides bound where the objective takes some."""
    guides = options_of(OBJECTIVES[name]).guides if name in OBJECTIVES else ()
    objective = make(name, strength, **dict.fromkeys(guides, "mine"), **options)
    return objective.guided(tangents=OwnSpaces(), images=images) if "tangents" in guides else objective
