"""How a classifier reacts to noise on the part of an image that holds the class, and on the distractor beside it."""

from __future__ import annotations

import torch

from tangency.measures.batch import Batch
from tangency.measures.definition import INF, Columns, Measure, Scale
from tangency.measures.keys import Key
from tangency.seeding import Draw


def noise_changes(batch: Batch) -> Columns:
    """E‖p(x + σ m ⊙ n) − p(x)‖₁ on the signal, E‖p(x + σ (1 − m) ⊙ n) − p(x)‖₁ on the distractor, n ~ N(0, I).

    Their pooled ratio is the paper's relative noise robustness (arXiv 2305.19101, Figure 5). The same n for both parts
    and for every classifier; x + σn is not clipped.
    """
    x, signal, config = batch.x, batch.comparison.signal, batch.config
    if signal is None or not config.noise_sigmas:
        return {}
    base, columns = batch.logits.softmax(1), {}
    draws = (Draw(config.seed, batch.comparison.ids, f"noise {r}") for r in range(config.directions))
    noises = [draw.normal(x.shape[1:], x.dtype) for draw in draws]
    for part, mask in (("signal", signal), ("distractor", ~signal)):
        for sigma in config.noise_sigmas:
            changes = [(batch.model(x + sigma * mask * n).softmax(1) - base).abs().sum(1).double() for n in noises]
            columns[str(Key(f"noise_{part}").at(sigma=sigma))] = torch.stack(changes).mean(0)
    return columns


_CHANGE = Scale("probability", 0, 2, "L1 distance, 0 to 2; σ in [0, 1] pixel units")

MEASURES = {
    "noise_signal": Measure(
        "softmax change (l1) under noise on the signal",
        _CHANGE,
        "neither",
        noise_changes,
        heading="Change under noise on the signal",
        what="Change of the softmax under Gaussian noise of size σ on the signal's pixels, not clipped.",
        chance="equals the change under noise on the distractor",
        reading="a working classifier must react to its signal",
        shown=0.1,
    ),
    "noise_distractor": Measure(
        "softmax change (l1) under noise on the distractor",
        _CHANGE,
        "lower",
        noise_changes,
        heading="Change under noise on the distractor",
        what="Change of the softmax under Gaussian noise of size σ on the distractor's pixels, not clipped.",
        chance="equals the change under noise on the signal",
        reading="noise on pixels that are unrelated to the class does not change the answer",
        shown=0.1,
    ),
    "relative_noise": Measure(
        "softmax change under noise on the signal over noise on the distractor",
        Scale("ratio", 0, INF, "ratio, 0 to ∞; σ in [0, 1] pixel units"),
        "higher",
        level=1.0,
        aggregate="ratio",
        parts=("noise_signal", "noise_distractor"),
        heading="Relative noise robustness",
        what="Change of the softmax under noise of size σ on the signal's pixels, over that on the distractor's; "
        "pooled.",
        chance="1: both parts matter alike",
        reading="the classifier answers to the signal, not to the distractor",
        shown=0.1,
    ),
}
