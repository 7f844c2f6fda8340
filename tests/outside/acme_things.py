"""An objective, tangent spaces, a metric, a measure and a kind of classifier, which tangency finds by entry points."""

import numpy as np
import torch
from torch.nn import functional as F

from tangency.measures import Measure, Metric, PairMetric, Scale
from tangency.models import Opened
from tangency.tangents import TangentSpace


def smoothed_labels(model, x, y, draw, strength, *, power=1):
    """Cross-entropy to labels that give a share strength^power of their weight to all classes alike, (N,)."""
    return F.cross_entropy(model(x), y, label_smoothing=min(strength**power, 1.0), reduction="none")


class Axes:
    """The span of the pixels at which training images vary most, the same for every image."""

    kind, where = "acme/axes", "everywhere"

    def __init__(self, images, rank):
        pixels = images.images().flatten(1)
        self.basis = torch.eye(pixels.shape[1])[:, pixels.var(0).argsort(descending=True)[:rank]]
        self.max_rank, self.card = rank, {"kind": self.kind, "rank": rank}

    def at(self, x, ids=None):
        """The tangent space at each image x (N, C, H, W)."""
        return TangentSpace.shared(self.basis.to(x.device), torch.full((len(x),), self.max_rank, device=x.device))


def axes(ground, *, rank=3):
    """`Axes` of `rank` pixels, of the training images of the data."""
    return Axes(ground.data.train, rank)


class Signs(PairMetric):
    """Share of the pixels with equal signs less the share with opposite ones: the cosine of the signs."""

    def compare(self, a, b):
        """Gradients and targets (N, C, H, W) to (N, 1)."""
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


def doubt(batch):
    """One minus the largest probability of each image, (N,)."""
    return 1 - batch.logits.softmax(1).amax(1)


DOUBT = Measure(
    title="one minus the largest probability",
    scale=Scale("probability", 0, 1),
    better="neither",
    function=doubt,
    level=lambda sample: 1 - 1 / sample.classes,
    heading="Doubt",
    chance="1 − 1 / number of classes, for equal logits",
    reading="a classifier that knows its images is sure of them",
)


def linear(request):
    """`acme/linear:FILE.npz`, a matrix "weight" (classes, C·H·W) that maps images to logits."""
    request.check()  # no options but those of every classifier: shape=, mean=, …
    weight = torch.from_numpy(np.load(request.path)["weight"]).float()
    layer = torch.nn.Linear(weight.shape[1], len(weight), bias=False)
    layer.weight.data.copy_(weight)
    network = torch.nn.Sequential(torch.nn.Flatten(), layer)
    return Opened(network, "custom", outputs=len(weight), file=request.path)
