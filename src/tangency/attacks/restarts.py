"""The strongest of several attacks on each image, judged on the images that are handed back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.attacks.pgd import Attack, Threat, attack
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
        fooled: (N,) bool, whether the class with the largest logit there is not y.
        stalled: (N,) bool, images that no run could attack: in each one the gradient was zero or not finite at some
            step. What is said of them says nothing of their robustness.
    """

    images: Tensor
    logits: Tensor
    loss: Tensor
    fooled: Tensor
    stalled: Tensor


def pgd_restarts(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, restarts: int = 1, draw: Draw) -> Strongest:
    """`pgd` from several starts: for each image the run that fools, or else that with the largest loss.

    Loss and success are taken from the logits of the returned images, not from what an attack says of itself. A run
    more never makes an image less fooled or lowers the loss of one that is not fooled, since the earlier runs stay the
    same.

    Args:
        model: maps (N, C, H, W) images to (N, classes) logits; run in eval mode, left as it was found.
        x: (N, C, H, W), inside the bounds of the threat.
        y: (N,) int64, the labels to move away from.
        threat: budget, norm and steps of a run; only the first run starts at x where it has no random start.
        restarts: runs, ≥ 1; each one has random starts of its own.
        draw: random numbers of the starts, by image id.

    Returns:
        Strongest.

    Raises:
        NumericsError: fewer than one run, and what `pgd` refuses.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> y, draw = torch.zeros(2, dtype=torch.int64), Draw(0, torch.arange(2))
        >>> pgd_restarts(model, torch.rand(2, 1, 2, 2), y, Threat(0.1), restarts=2, draw=draw).fooled.shape
        torch.Size([2])
    """
    if restarts < 1:
        raise NumericsError(f"restarts: got {restarts}, expected at least 1 run.")

    best = judged(model, attack(model, x, y, threat, draw), y)
    for run in range(1, restarts):
        again = attack(model, x, y, dataclasses.replace(threat, random_start=True), draw.of("restart", run))
        best = _better(best, judged(model, again, y))
    return best if restarts == 1 else judged(model, Attack(best.images, best.stalled), y)


def judged(model: nn.Module, attacked: Attack, y: Tensor, batch_size: int | None = None) -> Strongest:
    """Logits, loss and success on the images of an attack."""
    images, step = attacked.images, batch_size or max(1, len(attacked.images))
    with undisturbed(model), torch.no_grad():
        logits = torch.cat([check_logits(model(part.clone()), len(part)) for part in torch.split(images, step)])
    return Strongest(images, logits, -log_odds(logits, y), logits.argmax(1) != y, attacked.stalled)


def _better(a: Strongest, b: Strongest) -> Strongest:
    """Image by image the run that fools, or else the larger loss; `a` where they are equal."""
    larger = torch.where(a.fooled == b.fooled, b.loss > a.loss, b.fooled)
    return Strongest(
        torch.where(per_example(larger, a.images), b.images, a.images),
        torch.where(larger[:, None], b.logits, a.logits),
        torch.where(larger, b.loss, a.loss),
        torch.where(larger, b.fooled, a.fooled),
        a.stalled & b.stalled,
    )
