"""The strongest of several attacks on each image, judged on the images that are handed back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.attacks.pgd import Projection, pgd
from tangency.autodiff import check_logits, log_odds, undisturbed
from tangency.errors import NumericsError
from tangency.numerics import per_example
from tangency.seeding import Draw


@dataclass(frozen=True)
class Strongest:
    """The best of several attacks on each image.

    Args:
        images: (N, C, H, W), detached.
        logits: (N, classes) of those very images.
        loss: (N,) −log-odds(y) there, which rises with the cross-entropy.
        fooled: (N,) bool, whether the class with the largest logit there is another than y.
        stalled: (N,) bool, images that no run could attack: in each one the gradient was zero or not finite at some
            step. What is said of them says nothing of their robustness.
    """

    images: Tensor
    logits: Tensor
    loss: Tensor
    fooled: Tensor
    stalled: Tensor


def pgd_restarts(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epsilon: float | Tensor,
    norm: str = "l2",
    steps: int = 10,
    step_size: float | Tensor | None = None,
    *,
    restarts: int = 1,
    draw: Draw,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    random_start: bool = True,
    project: Projection | None = None,
) -> Strongest:
    """`pgd` from several starts: for each image the run that fools, or else that with the largest loss.

    Loss and success are taken from the logits of the returned images, not from what an attack says of itself. A run
    more never makes an image less fooled or lowers the loss of one that is not fooled, since the earlier runs stay the
    same.

    Args:
        model: maps (N, C, H, W) images to (N, classes) logits; run in eval mode, left as it was found.
        x: (N, C, H, W), inside `bounds`. y: (N,) int64, the labels to move away from.
        epsilon: budget of each image, a number or (N,), ≥ 0, in [0, 1] pixel units.
        norm: "l2" or "linf".
        steps: gradient steps of a run, ≥ 0. step_size: of a step; 2.5 · epsilon / steps by default.
        restarts: runs, ≥ 1; each one has random starts of its own.
        draw: random numbers of the starts, by image id.
        bounds: range of the result; None for none.
        random_start: whether the first run starts at random too, and not at x; the later ones always do.
        project: a linear projection of perturbations, as for `pgd`.

    Returns:
        Strongest.

    Raises:
        NumericsError: fewer than one run, and what `pgd` refuses.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> y, draw = torch.zeros(2, dtype=torch.int64), Draw(0, torch.arange(2))
        >>> pgd_restarts(model, torch.rand(2, 1, 2, 2), y, 0.1, restarts=2, draw=draw).fooled.shape
        torch.Size([2])
    """
    if restarts < 1:
        raise NumericsError(f"restarts: got {restarts}, expected at least 1 run.")

    def attacked(run: int) -> Strongest:
        found = pgd(
            model,
            x,
            y,
            epsilon,
            norm,
            steps,
            step_size,
            draw=draw.of("restart", run) if run else draw,
            bounds=bounds,
            random_start=random_start or run > 0,
            project=project,
        )
        return _judged(model, found.images, y, found.stalled)

    best = attacked(0)
    for run in range(1, restarts):
        best = _better(best, attacked(run))
    return best if restarts == 1 else _judged(model, best.images, y, best.stalled)


def _judged(model: nn.Module, images: Tensor, y: Tensor, stalled: Tensor) -> Strongest:
    with undisturbed(model), torch.no_grad():
        logits = check_logits(model(images.clone()), len(images))
    return Strongest(images, logits, -log_odds(logits, y), logits.argmax(1) != y, stalled)


def _better(a: Strongest, b: Strongest) -> Strongest:
    """Image by image the run that fools, or else the larger loss; `a` where they are equal."""
    larger = torch.where(a.fooled == b.fooled, b.loss > a.loss, b.fooled)
    images = torch.where(per_example(larger, a.images), b.images, a.images)
    return Strongest(
        images,
        torch.where(larger[:, None], b.logits, a.logits),
        torch.where(larger, b.loss, a.loss),
        torch.where(larger, b.fooled, a.fooled),
        a.stalled & b.stalled,
    )
