"""AutoAttack (Croce & Hein, arXiv 2003.01690) with the pyautoattack package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tangency.attacks.pgd import Attack
from tangency.attacks.restarts import Strongest, judged
from tangency.autodiff import check_logits, undisturbed
from tangency.errors import NumericsError, RunError, quoted, unknown_name
from tangency.numerics import norms
from tangency.seeding import derive_seed
from tangency.types import check_images

_NORMS = {"l2": "L2", "linf": "Linf"}
_FEWEST = 4  # classes that the targeted losses need


def autoattack(
    model: nn.Module, x: Tensor, y: Tensor, epsilon: float, norm: str = "linf", *, seed: int = 0, batch_size: int = 1
) -> Strongest:
    """The standard AutoAttack ensemble: APGD-CE, targeted APGD and FAB, and the black-box Square attack.

    Below 4 classes the targeted losses are not defined: APGD-CE, untargeted FAB and Square are run.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits; run in eval mode, left as it was found.
        x: (N, C, H, W) in [0, 1]. y: (N,) int64.
        epsilon: budget of every image, > 0, in [0, 1] pixel units.
        norm: "l2" or "linf".
        seed: of its random numbers. torch's global generators, which the package seeds, are left as they were.
        batch_size: images at once. The package draws its random numbers for a whole batch, so an image has a result of
            its own only alone: with more at once it is faster, and an image's result depends on its neighbours.

    Returns:
        Strongest, judged on the returned images; nothing stalls, since Square needs no gradient.

    Raises:
        RunError: the package is not installed, or its images leave the ball.
        NumericsError: an unknown norm, a budget or images out of range.

    Example:
        >>> autoattack(nn.Identity(), torch.rand(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64), 0.0)
        Traceback (most recent call last):
        tangency.errors.NumericsError: epsilon: got 0.0, expected a finite number above 0, in units of [0, 1] pixels.
    """
    if norm not in _NORMS:
        raise NumericsError(unknown_name("norm", norm, _NORMS))
    if not 0 < epsilon < float("inf"):
        raise NumericsError(f"epsilon: got {epsilon}, expected a finite number above 0, in units of [0, 1] pixels.")
    if batch_size < 1:
        raise NumericsError(f"batch_size: got {batch_size}, expected at least 1.")
    check_images(x)
    if norm == "l2" and min(x.shape[2:]) < 5:  # Square's windows are a fifth of the side
        raise NumericsError(f"autoattack: got images of {tuple(x.shape[1:])}, expected sides of at least 5 pixels.")
    package = autoattack_package()
    parts = []
    generators = [x.device] if x.is_cuda else []  # that the package seeds, beside the CPU's
    with undisturbed(model), torch.inference_mode(False), torch.random.fork_rng(generators):
        for part in torch.split(torch.arange(len(x), device=x.device), batch_size):
            parts.append(_attacked(package, model, x[part], y[part], epsilon, norm, seed))
    images = torch.cat(parts)
    _check_inside(x, images, epsilon, norm)
    return judged(model, Attack(images, torch.zeros_like(y, dtype=torch.bool)), y, batch_size=128)


def autoattack_package() -> Any:
    """The package; raises where it is missing, so that this can be told before anything is computed."""
    try:
        import pyautoattack
    except ImportError as error:
        raise RunError(
            f"autoattack: the package pyautoattack cannot be imported ({quoted(error)}); "
            "pip install 'tangency[autoattack]', or attack with pgd_l2, pgd_linf and restarts."
        ) from error
    return pyautoattack


def _attacked(package: Any, model: nn.Module, x: Tensor, y: Tensor, epsilon: float, norm: str, seed: int) -> Tensor:
    def logits(images: Tensor) -> Tensor:
        return check_logits(model(images.clone()), len(images))

    with torch.no_grad():
        classes = logits(x).shape[1]
    options: dict[str, Any] = {"version": "standard"}
    if classes < _FEWEST:
        options = {"version": "custom", "attacks": ["apgd-ce", "fab", "square"]}
    attack = package.AutoAttack(
        logits, eps=epsilon, norm=_NORMS[norm], seed=derive_seed(seed, "autoattack") % 2**31, device=x.device, **options
    )
    for part in (attack.apgd_targeted, attack.fab):  # by default 9, which fails where there are fewer
        part.n_target_classes = min(9, classes - 1)
    images: Tensor = attack.run_standard_evaluation(x.detach(), y.long(), batch_size=len(x))[0]
    return images.detach()


def _check_inside(x: Tensor, images: Tensor, epsilon: float, norm: str) -> None:
    delta = images - x
    length = norms(delta) if norm == "l2" else delta.flatten(1).abs().amax(1)
    low, high = float(images.min()), float(images.max())
    if not (bool((length <= epsilon * 1.001 + 1e-6).all()) and low >= -1e-6 and high <= 1 + 1e-6):
        raise RunError(
            f"autoattack: the package returned images up to {float(length.max()):.4g} away in [{low:.4g}, {high:.4g}], "
            f"expected at most {epsilon:g} and [0, 1]; another version of pyautoattack may do."
        )
