"""Accuracy, and how far a classifier's output moves under random steps on and off the manifold and under noise."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.measures.batch import Batch
from tangency.measures.comparison.frames import Frame
from tangency.measures.definition import FRACTION, INF, Better, Columns, LevelContext, Measure, Scale, guessing
from tangency.measures.keys import Key
from tangency.seeding import Draw


class Change:
    """Distances of other logits of the same images from the first ones, (N,) float64 each.

    Args:
        logits: (N, classes), f(x).
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.p = logits.softmax(1)
        self.log_p = logits.double().log_softmax(1)

    def softmax(self, moved: Tensor) -> Tensor:
        """‖p' − p‖₁, in [0, 2]."""
        return (moved.softmax(1) - self.p).abs().sum(1).double()

    def logit(self, moved: Tensor) -> Tensor:
        """‖f' − f‖₂; it also sees a shift common to all classes, which no probability shows."""
        return (moved - self.logits).double().square().sum(1).sqrt()

    def kl(self, moved: Tensor) -> Tensor:
        """KL(p‖p') = Σ_c p_c (log p_c − log p'_c) in nats, from log-softmax, so that no logarithm is of zero."""
        terms = self.log_p.exp() * (self.log_p - moved.double().log_softmax(1))
        return terms.sum(1).clamp(min=0)  # rounding alone makes it negative


def accuracy(batch: Batch) -> Tensor:
    """1 where the true class has the largest logit, else 0; NaN where a logit is not finite, (N,)."""
    return _right(batch, batch.logits)


def _right(batch: Batch, logits: Tensor) -> Tensor:
    return (logits.argmax(1) == batch.truth).double().where(logits.isfinite().all(1), torch.nan)


def changes(batch: Batch) -> Columns:
    """Softmax l1, logit l2 and KL between x and x + εu, one forward pass for all three, mean over directions.

    The directions u, uniform in the tangent or the normal space, are lifted to the size of x and have length one there.
    """
    columns: Columns = {}
    for frame in batch.comparison.frames:
        columns |= _changes(batch, frame)
    return columns


def _changes(batch: Batch, frame: Frame) -> Columns:
    columns, change = {}, Change(batch.logits)
    x, working, epsilons = batch.x, batch.comparison.working, batch.config.epsilons
    measures = {"change": change.softmax, "logit_change": change.logit, "kl": change.kl}

    def put(side: str, epsilon: float, ends: list[Tensor]) -> None:
        for name, of in measures.items():
            key = Key(f"{name}_{side}").at(eps=epsilon, tangents=frame.label)
            columns[str(key)] = torch.stack([of(moved) for moved in ends]).mean(0)

    for side, directions in (("on", frame.on), ("off", frame.off)):
        lifted = [working.direction(u) for u in directions] if epsilons else []
        for epsilon in epsilons:
            put(side, epsilon, [batch.model(x + epsilon * u) for u in lifted])
    if frame.curved is not None:
        for epsilon, paths in zip(epsilons, frame.curved, strict=True):
            put("curved", epsilon, [batch.model(working.moved(x, end)) for end in paths])
    return columns


def noise_response(batch: Batch) -> Columns:
    """Numerator and denominator of ρ₂(σ) = E‖f(x + (I−P)u) − f(x)‖² / E‖f(x + u) − f(x)‖², u ~ N(0, σ²I).

    The passes at x + u also give accuracy and softmax change under isotropic noise. With a working size that noise is
    still that of the images' own, while ρ₂ is of noise in the directions that the working size keeps (see
    `WorkingSize.noise`) and of its normal part: of a linear function it is then 1 − F² of the resized gradient.
    """
    columns: Columns = {}
    directions = batch.config.directions
    for sigma in batch.config.rho_sigmas:
        rounds = [_noise_round(batch, sigma, r) for r in range(directions)]
        columns |= {key: sum((each[key] for each in rounds[1:]), rounds[0][key]) for key in rounds[0]}
    return columns


def _noise_round(batch: Batch, sigma: float, r: int) -> Columns:
    """One noise image's part of every mean of `noise_response`."""
    x, change, working, model = batch.x, Change(batch.logits), batch.comparison.working, batch.model
    directions = batch.config.directions

    def response(moved: Tensor) -> Tensor:
        return change.logit(moved).square() / directions

    draw = Draw(batch.config.seed, batch.comparison.ids, f"rho {r}")
    noise = sigma * draw.normal(x.shape[1:], x.dtype)
    noisy = model(x + noise)
    columns = {
        str(Key("accuracy_noise").at(sigma=sigma)): _right(batch, noisy) / directions,
        str(Key("change_noise").at(sigma=sigma)): change.softmax(noisy) / directions,
    }
    if working.whole:
        everything = response(noisy)
    else:
        noise = sigma * draw.normal(working.shape, x.dtype)
        everything = response(model(x + working.noise(noise)))
    for frame in batch.comparison.frames:
        key = Key("rho_off", "logits").at(sigma=sigma, tangents=frame.label)
        columns[str(key)] = response(model(x + working.noise(frame.space.reject(noise))))
        columns[str(key.of("rho_all"))] = everything
    return columns


_CHANGE = Scale("probability", 0, 2, "L1 distance, 0 to 2; ε in [0, 1] pixel units")
_LOGITS = Scale("l2 of logits", 0, INF, "ℓ₂ of logits, 0 to ∞; ε in [0, 1] pixel units")
_NATS = Scale("nats", 0, INF, "nats, 0 to ∞; ε in [0, 1] pixel units")
_DISTANCE = Scale("l2 in [0, 1] pixels", 0, INF, "ℓ₂, [0, 1] pixel units; the same for every classifier")
_STEP = "after a random step of ℓ₂ length ε {} the tangent space"
# Side of a step: title, definition, the side that it equals by chance, better direction, reading.
_SIDES: dict[str, tuple[str, str, str, Better, str]] = {
    "on": (
        "along the manifold",
        _STEP.format("inside"),
        "off",
        "neither",
        "a working classifier must react along the manifold; near 0 it has stopped reacting",
    ),
    "off": (
        "off the manifold",
        _STEP.format("outside"),
        "on",
        "lower",
        "steps off the manifold do not matter to the classifier",
    ),
    "curved": (
        "along a path that follows the manifold",
        "after walking ε along a path that follows the tangent space as it turns",
        "off",
        "neither",
        "what the straight step would show if the manifold were flat",
    ),
}
# What of the output changes: title, definition, heading.
_OUTPUTS = {
    "change": ("softmax change (l1)", "Change of the softmax", "change", _CHANGE),
    "logit_change": ("logit change (l2)", "Length of the change of the logits", "change of the logits", _LOGITS),
    "kl": ("KL(p(x) ‖ p(x + εu))", "KL(p(x) ‖ p(x + εu))", "KL divergence", _NATS),
}
_QUIET = "noise does not change the answer"


def _random_rho(sample: LevelContext) -> float:
    """ρ₂ of a linear function with a random gradient, 1 − k/d."""
    return 1 - float(sample.rank.mean()) / sample.dimension


def _of_step(output: str, side: str) -> Measure:
    """The measure of a change of the output after a step."""
    (title, what, noun, scale), (where, step, other, better, reading) = _OUTPUTS[output], _SIDES[side]
    heading = f"{side.title()}-manifold {noun}"
    if side == "curved":  # whose end is no x + εu
        title, what = (text.replace("p(x + εu)", "p") for text in (title, what))
        heading = f"{noun[0].upper()}{noun[1:]} along the manifold"
    return Measure(
        f"{title} {where}",
        scale,
        better,
        changes,
        heading=heading,
        what=f"{what} {step}.",
        chance=f"equals the {other}-manifold {'divergence' if output == 'kl' else 'change'}",
        reading=reading,
        shown=2.0 if output == "change" else 0.0,
    )


MEASURES = {
    "accuracy": Measure(
        "share of images classified correctly",
        FRACTION,
        "higher",
        accuracy,
        level=guessing,
        heading="Accuracy",
        what="Share of the test images that get their true class.",
        chance="1 / number of classes",
        reading="the classifier still does its job",
    ),
    **{f"{output}_{side}": _of_step(output, side) for output in _OUTPUTS for side in _SIDES},
    "accuracy_noise": Measure(
        "accuracy under isotropic Gaussian noise",
        Scale("fraction", 0, 1, "fraction, 0 to 1; σ in [0, 1] pixel units"),
        "higher",
        noise_response,
        level=guessing,
        heading="Accuracy under noise",
        what="Share of the images that get their true class under isotropic Gaussian noise of size σ, not clipped.",
        chance="1 / number of classes, for a constant answer",
        reading=_QUIET,
    ),
    "change_noise": Measure(
        "softmax change (l1) under isotropic Gaussian noise",
        Scale("probability", 0, 2, "L1 distance, 0 to 2; σ in [0, 1] pixel units"),
        "lower",
        noise_response,
        heading="Change under noise",
        what="Change of the softmax under isotropic Gaussian noise of size σ, not clipped.",
        reading=_QUIET,
    ),
    "rho": Measure(
        "ρ₂, change of the logits under normal over isotropic noise",
        Scale("ratio", 0, INF, "ratio; σ in [0, 1] pixel units"),
        "lower",
        noise_response,
        level=_random_rho,
        aggregate="ratio",
        parts=("rho_off", "rho_all"),
        ingredients=("rho_off", "rho_all"),
        heading="Relative off-manifold change ρ",
        what="Squared change of {scalar} under the off-tangent part of Gaussian noise, over that under all of it.",
        chance="1 − k/d",
        reading="0 is perfect off-manifold robustness",
        shown=0.05,
    ),
    **{
        f"outside_{side}": Measure(
            f"pixels that an {side}-manifold step puts outside [0, 1]",
            Scale("fraction", 0, 1, "fraction, 0 to 1; the same for every classifier"),
            "neither",
            fixed=True,
            heading=f"Pixels outside after an {side}-manifold step",
            what=f"Share of the pixels that an unclipped step of length ε {where} the tangent space puts outside "
            "[0, 1].",
            reading="how far the step leaves the range of images",
        )
        for side, where in (("on", "inside"), ("off", "outside"))
    },
    "residual_on": Measure(
        "distance from the manifold after a straight on-manifold step",
        _DISTANCE,
        "neither",
        fixed=True,
        heading="Distance from the manifold after a straight step",
        what="Distance of x + εu from the estimator's own reconstruction, u in the tangent space.",
        reading="how far a straight step leaves the manifold",
    ),
    "residual_curved": Measure(
        "distance from the manifold after a step that follows it",
        _DISTANCE,
        "neither",
        fixed=True,
        heading="Distance from the manifold after a curved step",
        what="Distance of the end of a path of length ε along the manifold from the estimator's own reconstruction.",
        reading="how far a curved step leaves the manifold",
    ),
}
