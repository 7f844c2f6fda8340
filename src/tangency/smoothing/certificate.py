"""What vote counts prove about a smoothed classifier (Cohen, Rosenfeld & Kolter, arXiv 1902.02918, section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError

ABSTAIN = -1


@dataclass(frozen=True)
class Certificate:
    """What is proved for each image; all statements about an image hold at once with probability ≥ 1 − alpha.

    Args:
        classes: (N,) int64, the class of the smoothed classifier, or `ABSTAIN`.
        radius: (N,) float64, l2 radius in [0, 1] pixel units within which that class cannot change; 0 where it
            abstains.
        lower: (N,) float64, the lower bound of that class's probability under noise.
    """

    classes: Tensor
    radius: Tensor
    lower: Tensor


def lower_bound(successes: Tensor, trials: int, alpha: float) -> Tensor:
    """Clopper & Pearson's one-sided lower bound of a probability: it exceeds the true one with probability ≤ alpha.

    Args:
        successes: (…) integers in 0 … trials.
        trials: n ≥ 1.
        alpha: in (0, 1).

    Returns:
        (…) float64: the alpha quantile of Beta(k, n − k + 1), 0 for k = 0.

    Example:
        >>> lower_bound(torch.tensor([0, 100]), 100, 0.05)
        tensor([0.0000, 0.9705], dtype=torch.float64)
    """
    from scipy.special import betaincinv

    _check_alpha(alpha)
    counts = successes.cpu().numpy()
    if counts.size and (counts.min() < 0 or counts.max() > trials):
        raise NumericsError(f"successes: got {counts.min()} … {counts.max()}, expected 0 … {trials}.")
    bound = betaincinv(counts.clip(1), trials - counts + 1.0, alpha)
    return torch.as_tensor(bound, device=successes.device).masked_fill(successes == 0, 0.0)


def certificate(selection: Tensor, counts: Tensor, sigma: float, draws: int, alpha: float = 0.001) -> Certificate:
    """CERTIFY: the class with most votes in one sample, and what another sample proves of it.

    p = the Clopper–Pearson bound of that class's votes among the `draws`; radius sigma Φ⁻¹(p) where p > ½, or else it
    abstains. A vote of logits that are not finite is in `draws` but in no count, which only lowers the bound.

    Args:
        selection: (N, classes) votes of the first sample; of equal ones the first class is taken.
        counts: (N, classes) votes of a second, independent sample.
        sigma: of the noise, > 0, in [0, 1] pixel units.
        draws: size of the second sample.
        alpha: probability of an image's statement being wrong, in (0, 1).

    Returns:
        Certificate.

    Raises:
        NumericsError: so few draws that even a unanimous vote would prove nothing.

    Example:
        >>> votes = torch.tensor([[990, 10], [510, 490]])
        >>> proved = certificate(votes, votes, 0.5, 1000, 0.05)
        >>> proved.classes.tolist(), [round(r, 3) for r in proved.radius.tolist()]
        ([0, -1], [1.061, 0.0])
    """
    _check_enough(draws, certificate_draws(alpha), alpha, "certify")
    _check_votes(selection, counts)
    top = selection.argmax(1)
    lower = lower_bound(counts.gather(1, top[:, None])[:, 0], draws, alpha)
    proved = lower > 0.5
    radius = (sigma * torch.special.ndtri(lower)).where(proved, 0.0)
    return Certificate(top.where(proved, ABSTAIN), radius, lower)


def prediction(counts: Tensor, alpha: float = 0.001) -> Tensor:
    """PREDICT: the class with most votes, or `ABSTAIN`, (N, classes) votes to (N,) int64.

    It abstains unless a two-sided binomial test rejects at level alpha that the two classes with most votes are equally
    likely; so a class differs from that of the smoothed classifier with probability ≤ alpha.

    Example:
        >>> prediction(torch.tensor([[60, 40, 0], [80, 15, 5]]), 0.05).tolist()
        [-1, 0]
    """
    from scipy.stats import binom

    _check_alpha(alpha)
    _check_votes(counts, counts)
    votes, classes = counts.topk(2, dim=1)
    first, both = votes[:, 0].cpu().numpy(), votes.sum(1).cpu().numpy()
    p_value = torch.as_tensor(2 * binom.sf(first - 1, both, 0.5), device=counts.device)
    return classes[:, 0].where(p_value <= alpha, ABSTAIN)


def certificate_draws(alpha: float) -> int:
    """The fewest draws with which a unanimous vote proves anything: the smallest n with alpha^(1/n) > ½."""
    _check_alpha(alpha)
    return math.floor(-math.log2(alpha)) + 1


def prediction_draws(alpha: float) -> int:
    """The fewest draws with which a unanimous vote does not lead to abstention: the smallest n with 2 · ½ⁿ ≤ alpha."""
    _check_alpha(alpha)
    return math.ceil(1 - math.log2(alpha))


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise NumericsError(f"alpha: got {alpha}, expected a probability in (0, 1), for example 0.001.")


def _check_enough(draws: int, needed: int, alpha: float, what: str) -> None:
    if draws < needed:
        raise NumericsError(
            f"{what}: got n = {draws} with alpha = {alpha:g}, with which the smoothed classifier always abstains, "
            f"expected n of at least {needed}, or a larger alpha."
        )


def _check_votes(selection: Tensor, counts: Tensor) -> None:
    if counts.dim() != 2 or selection.shape != counts.shape or counts.shape[1] < 2:
        raise NumericsError(
            f"votes: got shapes {tuple(selection.shape)} and {tuple(counts.shape)}, expected (N, classes) of at least "
            "2 classes, both alike."
        )


def check_prediction(draws: int, alpha: float) -> None:
    """Raise where so few draws would always abstain."""
    _check_enough(draws, prediction_draws(alpha), alpha, "predict")


def check_certificate(selection: int, draws: int, alpha: float) -> None:
    """Raise where so few draws would always abstain, or select nothing."""
    if selection < 1:
        raise NumericsError(f"certify: got n0 = {selection}, expected at least 1 draw to select the class with.")
    _check_enough(draws, certificate_draws(alpha), alpha, "certify")
