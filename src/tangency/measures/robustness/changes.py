"""How far a classifier's output moves under random steps on and off the manifold, and under isotropic noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.measures.config import MeasureConfig
from tangency.measures.frames import Frame
from tangency.measures.references import References
from tangency.measures.registry import number
from tangency.seeding import Draw

Columns = dict[str, Tensor]


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


def changes(model: nn.Module, logits: Tensor, references: References, frame: Frame, config: MeasureConfig) -> Columns:
    """Softmax l1, logit l2 and KL between x and x + εu, one forward pass for all three, mean over directions.

    Args:
        model: in eval mode. logits: its output at x.
        references: with the images x (N, C, H, W). frame: with the directions u, which are lifted to the size of x and
            have length one there.
    """
    columns, change = {}, Change(logits)
    x, working = references.x, references.working
    measures = {"change": change.softmax, "logit_change": change.logit, "kl": change.kl}

    def put(side: str, epsilon: float, ends: list[Tensor]) -> None:
        for name, of in measures.items():
            key = f"{name}_{side}.eps={number(epsilon)}{frame.suffix}"
            columns[key] = torch.stack([of(moved) for moved in ends]).mean(0)

    for side, directions in (("on", frame.on), ("off", frame.off)):
        lifted = [working.direction(u) for u in directions] if config.epsilons else []
        for epsilon in config.epsilons:
            put(side, epsilon, [model(x + epsilon * u) for u in lifted])
    if frame.curved is not None:
        for epsilon, paths in zip(config.epsilons, frame.curved, strict=True):
            put("curved", epsilon, [model(working.moved(x, end)) for end in paths])
    return columns


def noise_response(model: nn.Module, logits: Tensor, references: References, config: MeasureConfig) -> Columns:
    """Numerator and denominator of ρ₂(σ) = E‖f(x + (I−P)u) − f(x)‖² / E‖f(x + u) − f(x)‖², u ~ N(0, σ²I).

    The passes at x + u also give accuracy and softmax change under isotropic noise. With a working size that noise is
    still that of the images' own, while ρ₂ is of noise in the directions that the working size keeps (see
    `WorkingSize.noise`) and of its normal part: of a linear function it is then 1 − F² of the resized gradient.
    """
    columns: Columns = {}
    x, change, working = references.x, Change(logits), references.working

    def response(moved: Tensor) -> Tensor:
        return change.logit(moved).square() / config.directions

    for sigma in config.rho_sigmas:
        key = f"sigma={number(sigma)}"
        found: Columns = {}
        for r in range(config.directions):
            draw = Draw(config.seed, references.ids, f"rho {r}")
            noise = sigma * draw.normal(x.shape[1:], x.dtype)
            noisy = model(x + noise)
            correct = (noisy.argmax(1) == references.truth).double().where(noisy.isfinite().all(1), torch.nan)
            parts = {
                f"accuracy_noise.{key}": correct / config.directions,
                f"change_noise.{key}": change.softmax(noisy) / config.directions,
            }
            if working.whole:
                everything = response(noisy)
            else:
                noise = sigma * draw.normal(working.shape, x.dtype)
                everything = response(model(x + working.noise(noise)))
            for frame in references.frames:
                parts[f"rho_off.logits.{key}{frame.suffix}"] = response(
                    model(x + working.noise(frame.space.reject(noise)))
                )
                parts[f"rho_all.logits.{key}{frame.suffix}"] = everything
            found = {place: found[place] + value if r else value for place, value in parts.items()}
        columns |= found
    return columns
