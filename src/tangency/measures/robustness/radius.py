"""The first-order radius: how far an image is from the decision boundary if the margin were linear."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.autodiff import scalar
from tangency.measures.batch import Batch
from tangency.measures.definition import INF, Measure, Scale
from tangency.measures.keys import MARGIN
from tangency.numerics import norms


def radius(batch: Batch) -> Tensor:
    """r = m/‖∇ₓm‖₂ of the margin m = f_y − max_{j≠y} f_j, (N,), in [0, 1] pixel units; the same for logits × c > 0.

    Negative where another class than y is predicted; NaN where the gradient is zero or a logit is not finite.
    """
    margin = scalar(MARGIN, batch.logits.double(), batch.comparison.y)
    length = norms(batch.margin_gradient.double())
    return (margin / length).where((length > 0) & margin.isfinite() & length.isfinite(), torch.nan)


MEASURES = {
    "radius": Measure(
        "first-order radius, the margin over the length of its gradient",
        Scale("l2 in [0, 1] pixels", -INF, INF, "ℓ₂ in [0, 1] pixel units; the median over images"),
        "neither",
        radius,
        aggregate="median",
        heading="First-order radius",
        what="Median over images of the margin f_y − max f_j (j ≠ y) over the ℓ₂ length of its gradient: to first "
        "order the distance to the decision boundary, negative where the answer is wrong.",
        chance="0 where half of the answers are wrong",
        reading="the strength that a training had, on one scale for all objectives; it proves no robustness",
    ),
}
