"""The smoothed classifier g(x) = argmax_c P(f(x + σn) = c), n ~ N(0, I) (Cohen et al., arXiv 1902.02918)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.errors import NumericsError
from tangency.seeding import Draw
from tangency.smoothing.certificate import Certificate, certificate, check_certificate, check_prediction, prediction
from tangency.smoothing.gradient import Scalar, WeightedSum, weighted
from tangency.types import Direction, check_labels

_IDS = 2**31  # a draw's counter holds the image in its upper and the draw in its lower half


@dataclass(frozen=True)
class Smoothed:
    """A classifier under isotropic Gaussian noise.

    An image's r-th noise is a function of the seed, its id, the purpose and r alone: no result depends on the batch,
    on the other images or on how many images are held at once. Selection, estimation, prediction and gradient have
    independent noise. Noisy images are not clipped, as the certificate needs.

    Args:
        classifier: maps (N, C, H, W) to (N, classes) logits; run in eval mode, left as it was found.
        sigma: of the noise, > 0, in [0, 1] pixel units.
        seed: of the noise.
        batch_size: noisy images at once; it changes memory, not results.

    Example:
        >>> smoothed = Smoothed(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), sigma=0.25)
        >>> x, ids = torch.rand(2, 1, 2, 2), torch.arange(2)
        >>> smoothed.predict(x, ids, n=100).shape, smoothed.certify(x, ids, n=100).radius.shape
        (torch.Size([2]), torch.Size([2]))
    """

    classifier: nn.Module
    sigma: float
    seed: int = 0
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf"):
            raise NumericsError(f"sigma: got {self.sigma}, expected a finite number above 0, in [0, 1] pixel units.")
        if self.batch_size < 1:
            raise NumericsError(f"batch_size: got {self.batch_size}, expected at least 1.")

    def votes(self, x: Tensor, ids: Tensor, n: int, purpose: str = "votes") -> Tensor:
        """How many of n noisy copies get each class, (N, classes) int64; logits that are not finite vote for none.

        Args:
            x: (N, C, H, W). ids: (N,) identity of each image, in 0 … 2³¹ − 1.
            n: noisy copies of each image, ≥ 1.
            purpose: of the noise; different purposes are independent.
        """
        counts: Tensor | None = None
        with undisturbed(self.classifier), torch.no_grad():
            for image, noisy in self._noisy(x, ids, n, purpose):
                logits = check_logits(self.classifier(noisy), len(noisy))
                if counts is None:
                    counts = torch.zeros(len(x), logits.shape[1], dtype=torch.int64, device=x.device)
                finite = logits.isfinite().all(1)
                place = (image * logits.shape[1] + logits.argmax(1))[finite]
                counts.view(-1).index_add_(0, place, torch.ones_like(place))
        if counts is None:
            raise NumericsError("smoothing: got no images, expected at least 1.")
        return counts

    def predict(self, x: Tensor, ids: Tensor, n: int = 1000, alpha: float = 0.001) -> Tensor:
        """The smoothed class, or −1 (`ABSTAIN`), (N,) int64; wrong about g(x) with probability ≤ alpha.

        Args:
            x: (N, C, H, W). ids: (N,) identity of each image.
            n: noisy copies. alpha: level of the two-sided binomial test between the two classes with most votes.

        Raises:
            NumericsError: n so small that it would always abstain.
        """
        check_prediction(n, alpha)
        return prediction(self.votes(x, ids, n, "predict"), alpha)

    def certify(self, x: Tensor, ids: Tensor, n0: int = 100, n: int = 1000, alpha: float = 0.001) -> Certificate:
        """Class and l2 radius within which g does not change, or abstention, each right with probability ≥ 1 − alpha.

        Args:
            x: (N, C, H, W). ids: (N,) identity of each image.
            n0: noisy copies that select the class. n: further ones that estimate its probability; the largest
                possible radius is sigma Φ⁻¹(alpha^(1/n)). alpha: in (0, 1).

        Raises:
            NumericsError: n so small that it would always abstain.
        """
        check_certificate(n0, n, alpha)
        return certificate(self.votes(x, ids, n0, "select"), self.votes(x, ids, n, "estimate"), self.sigma, n, alpha)

    def gradient(self, x: Tensor, y: Tensor, ids: Tensor, n: int = 64, of: Scalar = "logp_y") -> Direction:
        """Gradient of the smoothed classifier by Monte Carlo: the exact gradient of the mean over n noisy copies.

        For "logp_y", of log p̄_y with p̄ = (1/n) Σ_r softmax f(x + σn_r): ∇p_y is p_y (1 − p_y) times the gradient of
        the log-odds, and those weights are kept as logs, so that a saturated softmax does not make it zero. For
        "logit_y", of (1/n) Σ_r f_y(x + σn_r); in expectation E[∇f_y] = E[f_y n]/σ (Stein).

        Args:
            x: (N, C, H, W). y: (N,) int64. ids: (N,) identity of each image.
            n: noisy copies.
            of: "logp_y" or "logit_y".

        Returns:
            Direction: (N, C, H, W) up to a positive factor an image, and (N,) log of the gradient's l2 norm.
        """
        total = WeightedSum.empty(x)
        with undisturbed(self.classifier), torch.inference_mode(False), torch.enable_grad():
            for image, noisy in self._noisy(x, ids, n, "gradient"):
                inputs = noisy.detach().clone().requires_grad_(True)
                logits = check_logits(self.classifier(inputs.clone()), len(inputs))
                check_labels(y, len(x), logits.shape[1])
                value, log_weight, log_share = weighted(of, logits, y[image].long())
                total.add(image, value, inputs, log_weight, log_share)
        return total.direction(n, of, x.dtype)

    def _noisy(self, x: Tensor, ids: Tensor, n: int, purpose: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (which image (M,), noisy copies (M, C, H, W)); the copies of an image follow one another."""
        if n < 1:
            raise NumericsError(f"smoothing: got n = {n}, expected at least 1 noisy copy an image.")
        if ids.shape != (len(x),) or (len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < _IDS)):
            raise NumericsError(
                f"ids: got shape {tuple(ids.shape)} for {len(x)} images, expected one integer in [0, 2³¹) for each."
            )
        for start in range(0, len(x) * n, self.batch_size):
            number = torch.arange(start, min(start + self.batch_size, len(x) * n), device=x.device)
            image, draw = number // n, number % n
            counter = (ids.to(x.device).long()[image] << 32) | draw
            noise = Draw(self.seed, counter, f"smoothing {purpose}").normal(x.shape[1:], x.dtype)
            yield image, x[image] + self.sigma * noise


def smooth(model: nn.Module, sigma: float, *, seed: int = 0, batch_size: int = 256) -> Smoothed:
    """The smoothed classifier g(x) = argmax_c P(f(x + σn) = c), n ~ N(0, I), of any classifier f.

    Args:
        model: f, maps (N, C, H, W) to (N, classes) logits; run in eval mode, left as it was found.
        sigma: σ > 0, in [0, 1] pixel units.
        seed: of the noise; an image's noise follows from the seed and the image's id alone.
        batch_size: noisy images at once; it changes memory, not results.

    Returns:
        `Smoothed`: `predict`, `certify`, `votes`, and `gradient`, that of the mean over noisy copies.

    Raises:
        NumericsError: a σ that is not above 0 and finite, or no images at once.

    Source: Cohen, Rosenfeld & Kolter, arXiv 1902.02918, equation (1).

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> x, y = torch.rand(2, 1, 2, 2), torch.tensor([0, 2])
        >>> smooth(model, 0.25).gradient(x, y, torch.arange(2), n=16).direction.shape
        torch.Size([2, 1, 2, 2])
    """
    return Smoothed(model, sigma, seed, batch_size)


def certify(
    model: nn.Module,
    images: Tensor,
    sigma: float,
    *,
    n0: int = 100,
    n: int = 1000,
    alpha: float = 0.001,
    ids: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Certificate:
    """The class of the smoothed classifier and the l2 radius R = σ Φ⁻¹(p) within which it cannot change.

    p is a lower bound of that class's probability under noise, of n noisy copies; where p ≤ ½ it abstains. Each image's
    statement is wrong with probability ≤ alpha.

    Args:
        model: maps (N, C, H, W) to (N, classes) logits; run in eval mode, left as it was found.
        images: (N, C, H, W), in [0, 1]; noisy copies are not clipped, as the proof needs.
        sigma: of the noise, > 0, in [0, 1] pixel units.
        n0: noisy copies that select the class, ≥ 1.
        n: further ones that bound its probability; the largest possible radius is σ Φ⁻¹(alpha^(1/n)).
        alpha: in (0, 1).
        ids: (N,) identity of each image, in 0 … 2³¹ − 1, from which its noise follows; 0 … N − 1 by default.
        seed: of the noise.
        batch_size: noisy images at once; it changes memory, not results.

    Returns:
        `Certificate`: classes (N,), −1 where it abstains; radius (N,) in pixel units, 0 there; lower (N,), p in [0, 1].

    Raises:
        NumericsError: numbers out of their range, or n so small that it would always abstain.

    Source: Cohen, Rosenfeld & Kolter, arXiv 1902.02918, section 3.2 (CERTIFY).

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> proved = certify(model, torch.rand(2, 1, 2, 2), 0.25, n=200)
        >>> proved.classes.shape, bool((proved.radius >= 0).all())
        (torch.Size([2]), True)
    """
    ids = torch.arange(len(images)) if ids is None else ids
    return smooth(model, sigma, seed=seed, batch_size=batch_size).certify(images, ids, n0, n, alpha)
