"""A package of somebody else's: an objective, a tangent estimator and a metric for tangency, found by entry points."""

import torch
from torch.nn import functional as F

from tangency.measures import Metric, PairMetric
from tangency.tangents import TangentSpace


def smoothed_labels(model, x, y, draw, strength, *, power=1):
    """Cross-entropy to labels that give a share strength^power of their weight to all classes alike."""
    return F.cross_entropy(model(x), y, label_smoothing=min(strength**power, 1.0), reduction="none")


def short(model, x):
    """No objective: it takes neither labels nor strength."""
    return model(x)


class Axes:
    """The span of the pixels at which the training images vary most, the same for all images."""

    kind, where = "acme/axes", "everywhere"

    def __init__(self, images, rank):
        varied = images.images().flatten(1).var(0).argsort(descending=True)[:rank]
        self.basis = torch.eye(images.images().flatten(1).shape[1])[:, varied]
        self.max_rank, self.card = rank, {"kind": self.kind, "rank": rank}

    def at(self, x, ids=None):
        """The same tangent space at every image."""
        return TangentSpace.shared(self.basis.to(x.device), torch.full((len(x),), self.max_rank, device=x.device))


def axes(ground, *, rank=3):
    """Of the training images; `rank` pixels."""
    return Axes(ground.data.train, rank)


def nothing(ground):
    """No estimator."""
    return ground


class Signs(PairMetric):
    """Share of pixels with equal signs less the share with opposite ones: the cosine of the signs."""

    def compare(self, a, b):
        """Signals (N, C, H, W) to (N, 1)."""
        return (a.sign() * b.sign()).double().flatten(1).mean(1, keepdim=True)


SIGN = Metric(
    title="agreement of signs",
    unit="cosine",
    low=-1,
    high=1,
    identical=1,
    negated="opposite",
    chance=0,
    reference="share of equal less share of opposite signs",
    make=lambda shape, device: Signs(),
)
