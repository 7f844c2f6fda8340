"""The nearest image that a classifier puts into another class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.errors import NumericsError
from tangency.generation.halfspaces import nearest_in_halfspaces
from tangency.generation.options import Bounds
from tangency.numerics import norms, per_example
from tangency.types import check_images, check_labels

_PATIENCE = 3  # linearisations before more than the margin is aimed at
_SLACK = 0.25  # of what is missing, aimed at beyond the margin at first


@dataclass(frozen=True)
class Counterfactual:
    """The nearest image of the target class, for each image.

    Args:
        images: (N, C, H, W); where none was reached, the last finite iterate.
        distances: (N,) l2 distance from the image itself, pixels in [0, 1]; NaN where none was reached.
        margins: (N,) logit of the target less the largest other one, at `images`.
        reached: (N,) bool, whether the classifier answers with the target there.
        stalled: (N,) bool, whether a gradient was exactly zero: the image is returned unchanged.
        diverged: (N,) bool, whether logits or gradients were not finite.
        evaluations: (N,) int64, passes through the classifier, forward and backward counted as one.
        path: (steps + 1, N, C, H, W), every iterate from the image itself on.
    """

    images: Tensor
    distances: Tensor
    margins: Tensor
    reached: Tensor
    stalled: Tensor
    diverged: Tensor
    evaluations: Tensor
    path: Tensor


def counterfactual(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    margin: float = 0.0,
    steps: int = 20,
    rivals: int = 9,
    bounds: Bounds = (0.0, 1.0),
    tolerance: float = 1e-5,
) -> Counterfactual:
    """argmin ‖x′ − x‖ so that f_target(x′) ≥ f_c(x′) + margin for all classes c.

    Each step projects x itself on the decision region of the classifier as it is linearised at the last iterate, a
    quadratic program with a half-space for each rival class, solved exactly; where curvature leaves an image short,
    more than the margin is aimed at. The nearest iterate inside the true region is kept. For a linear classifier the
    first step is the orthogonal projection on its decision boundary; for others it is a local minimum, with no
    guarantee of the least distance.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        x: (N, C, H, W) within bounds.
        target: (N,) classes to go to.
        margin: logits by which the target must lead, ≥ 0; 0 is the boundary itself.
        steps: linearisations, ≥ 1.
        rivals: how many of the largest other logits are linearised.
        bounds: of pixels; None for none.
        tolerance: logits that count as no shortfall of the margin.

    Source: DeepFool, Moosavi-Dezfooli et al., arXiv 1511.04599; with projection of the original image, as FAB, Croce
        and Hein, arXiv 1907.02044.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
        >>> x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
        >>> nearest = counterfactual(net, x, 1 - net(x).argmax(1), bounds=None)
        >>> bool(nearest.reached.all()), bool(nearest.margins.abs().max() < 1e-4)
        (True, True)
    """
    check_images(x, unit_range=bounds is not None)
    if steps < 1 or rivals < 1 or not margin >= 0:
        raise NumericsError(
            f"counterfactual: got steps {steps}, rivals {rivals}, margin {margin}; expected at least 1, 1 and 0."
        )
    x = x.detach()
    search = _Search(model, x, target, margin, rivals, bounds, tolerance)
    with undisturbed(model):
        for _ in range(steps):
            search.step()
        return search.result()


class _Search:
    """The iterates, and the best image so far."""

    def __init__(
        self, model: nn.Module, x: Tensor, target: Tensor, margin: float, rivals: int, bounds: Bounds, tolerance: float
    ) -> None:
        self.model, self.x, self.target = model, x, target
        self.margin, self.rivals, self.bounds, self.tolerance = margin, rivals, bounds, tolerance
        off = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self.stalled, self.diverged, self.evaluations = off, off, torch.zeros_like(off, dtype=torch.int64)
        self.best, self.distance = x, torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        self.best_margin = torch.full_like(self.distance, torch.nan)
        self.slack = torch.zeros_like(self.distance)
        self.path = [x]

    def step(self) -> None:
        """Linearise at the last iterate, project the image itself on the half-spaces."""
        now = self.path[-1]
        gaps, gradients, lead = self._linearised(now)
        finite = gaps.isfinite().all(1) & gradients.isfinite().flatten(1).all(1)
        # A tie that no gradient breaks is no answer with the target, whatever the margin.
        tied = ((gradients == 0).all(2) & (gaps + self.margin <= 0)).any(1)
        self._keep(now, lead, finite & ~tied)
        gaps = gaps - self._aim(lead)[:, None]
        flat_now, flat_x = now.flatten(1).double(), self.x.flatten(1).double()
        rows = torch.where(per_example(finite, gradients), gradients, 0.0).double()
        wanted = torch.einsum("nrd,nd->nr", rows, flat_now - flat_x) - torch.where(finite[:, None], gaps, 0.0).double()
        dead = (((rows == 0).all(2) & (gaps < 0)).any(1) | tied) & finite
        limits = None if self.bounds is None else (self.bounds[0] - flat_x, self.bounds[1] - flat_x)
        ahead = self.x + nearest_in_halfspaces(rows, wanted, limits).reshape(self.x.shape).to(self.x.dtype)
        self.stalled, self.diverged = self.stalled | dead, self.diverged | ~finite
        going = per_example(finite & ~dead & ahead.isfinite().flatten(1).all(1), now)
        self.path.append(torch.where(going, ahead, now))

    def _aim(self, lead: Tensor) -> Tensor:
        """Logits beyond the margin to aim at, (N,): none at first, more where curvature keeps leaving an image short.

        Halved once an image is inside, so that it returns to the boundary.
        """
        short = lead < self.margin - self.tolerance
        more = torch.maximum(2 * self.slack, _SLACK * (self.margin - lead).abs())
        patient = len(self.path) > _PATIENCE
        self.slack = torch.where(short & patient, more, self.slack / 2)
        return self.slack

    def _linearised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f_t − f_r − margin (N, R) of the rivals, its gradients (N, R, d), and the true lead f_t − max f (N,)."""
        with torch.inference_mode(False), torch.enable_grad():
            inputs = x.detach().clone().requires_grad_(True)
            logits = check_logits(self.model(inputs.clone()), len(x))
            check_labels(self.target, len(x), logits.shape[1], "target classes")
            own = logits.gather(1, self.target[:, None])
            others = logits.scatter(1, self.target[:, None], -torch.inf)
            largest = others.topk(min(self.rivals, logits.shape[1] - 1), dim=1).values
            gaps = own - largest - self.margin
            gradients = [
                torch.autograd.grad(gap.sum(), inputs, retain_graph=True, materialize_grads=True)[0].flatten(1)
                for gap in gaps.unbind(1)
            ]
        self.evaluations = self.evaluations + len(gradients)
        return gaps.detach(), torch.stack(gradients, 1), (own - largest[:, :1]).squeeze(1).detach()

    def _keep(self, now: Tensor, lead: Tensor, finite: Tensor) -> None:
        distance = norms(now - self.x)
        better = finite & (lead >= self.margin - self.tolerance) & (distance < self.distance)
        self.best = torch.where(per_example(better, now), now, self.best)
        self.distance, self.best_margin = (
            torch.where(better, distance, self.distance),
            torch.where(better, lead, self.best_margin),
        )

    def result(self) -> Counterfactual:
        """The nearest iterate that was accepted; the last one where none was."""
        last = self.path[-1]
        with torch.no_grad():
            logits = self.model(last.clone())
        self.evaluations = self.evaluations + 1
        own = logits.gather(1, self.target[:, None]).squeeze(1)
        lead = own - logits.scatter(1, self.target[:, None], -torch.inf).amax(1)
        self._keep(last, lead, lead.isfinite() & ~self.stalled)
        reached = self.distance < torch.inf
        kept = per_example(reached, last)
        unchanged = per_example(self.stalled & ~reached, last)
        return Counterfactual(
            torch.where(kept, self.best, torch.where(unchanged, self.x, last)),
            torch.where(reached, self.distance, torch.nan),
            torch.where(reached, self.best_margin, lead),
            reached,
            self.stalled & ~reached,
            self.diverged & ~reached,
            self.evaluations,
            torch.stack(self.path),
        )
