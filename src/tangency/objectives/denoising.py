"""A classifier that is a denoiser at once: the log-sum-exp of its logits is the log-density of noisy images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.autodiff import double_backward
from tangency.numerics import flat, per_example
from tangency.objectives.cost import SECOND_ORDER, declare, positive
from tangency.objectives.coupling import with_penalty
from tangency.objectives.losses import cross_entropy
from tangency.seeding import Draw


@declare(lambda options, classes: SECOND_ORDER, positive("sigma"))
def joint_denoising(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, sigma: float = 0.5
) -> Tensor:
    """−log p(y_i | z_i) + strength · ‖n_i + σ_i ∇_z log Σ_c exp f_c(z_i)‖₂²/d at z_i = x_i + σ_i n_i, n_i ~ N(0, I).

    σ_i is uniform in (0, sigma), drawn for each image and step, and not an input of the network. Reading exp f_c(z) as
    the joint density of noisy image and class, ∇ log Σ_c exp f_c is its score, the second term denoising score matching
    weighted by σ² (the error of z + σ² ∇ log Σ_c exp f_c as a denoiser, over σ² d), and a network that ignores the
    image has 1 there. Cross-entropy knows logits up to a shift c(z) common to all classes; this term fixes it. Both
    terms are at noisy images, so a weak penalty is `noise_augmentation` of random σ; at strength 0 both are off, and it
    is `standard`.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits; with smooth activations.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: random numbers of the noise, by image id.
        strength: weight of the score matching, ≥ 0.
        sigma: largest noise level, > 0, in [0, 1] pixel units; noisy images are not clipped.

    Returns:
        (N,) losses.

    Example:
        >>> model, ids = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.arange(5)
        >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
        >>> joint_denoising(model, x, y, Draw(0, ids), 1.0).shape
        torch.Size([5])

    Source: Thiry & Guth, "Classification-denoising networks", arXiv 2410.03505; Vincent, "A connection between score
        matching and denoising autoencoders", Neural Computation 23 (2011).
    Deviation: any architecture, where theirs is made for it; σ is per image and up to `sigma`.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    level = per_example(sigma * draw.of("level").uniform((), x.dtype), x)
    noise = draw.of("noise").normal(x.shape[1:], x.dtype)
    noisy = (x.detach() + level * noise).requires_grad_(True)

    def mismatch(logits: Tensor) -> Tensor:
        (score,) = torch.autograd.grad(logits.logsumexp(1).sum(), noisy, create_graph=True)
        return flat(noise + level * score).square().mean(1)

    with double_backward(), torch.enable_grad():
        logits, penalty = with_penalty(model, noisy, mismatch)
    return cross_entropy(logits, y) + strength * penalty
