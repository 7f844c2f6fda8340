"""Linear centred kernel alignment of two sets of vectors, in Gram form, and its estimate against a fixed gallery."""

from __future__ import annotations

from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import flat, unit


def linear_cka(a: Tensor, b: Tensor, unbiased: bool = False) -> float:
    """CKA = HSIC(K, L)/√(HSIC(K, K) HSIC(L, L)) with K = A Aᵀ, L = B Bᵀ; linear in n×n Grams, never d×d.

    Args:
        a, b: (n, …) and (n, …), row i of both belonging together; any scale.
        unbiased: HSIC by the unbiased estimator, without the diagonals, which needs n ≥ 4: for d ≫ n the biased one
            is near 1 whatever the vectors are.

    Returns:
        In [0, 1] (biased: ‖AᵀB‖²/(‖AᵀA‖‖BᵀB‖) of centred columns); the unbiased one is about 0 for independent sets,
        and may be below. NaN where a set does not vary.

    Raises:
        NumericsError: for too few vectors or sets of different size.

    Example:
        >>> import torch
        >>> a = torch.randn(20, 5)
        >>> round(linear_cka(a, 3 * a.flip(1)), 6)
        1.0

    Source: Kornblith et al., ICML 2019; unbiased: Song et al., JMLR 2012, equation 5.
    """
    if len(a) != len(b) or len(a) < (4 if unbiased else 2):
        raise NumericsError(
            f"CKA: got {len(a)} and {len(b)} vectors, expected as many of both, at least {4 if unbiased else 2}."
        )
    grams = [flat(x).double() @ flat(x).double().mT for x in (a, b)]
    hsic = _unbiased if unbiased else _biased
    cross, own_a, own_b = hsic(*grams), hsic(grams[0], grams[0]), hsic(grams[1], grams[1])
    return float(cross / (own_a * own_b).clamp(min=0).sqrt())


def _biased(k: Tensor, m: Tensor) -> Tensor:
    """Σ of the products of doubly centred Grams (n − 1)² HSIC."""
    return (_centred(k) * _centred(m)).sum()


def _centred(gram: Tensor) -> Tensor:
    return gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()


def _unbiased(k: Tensor, m: Tensor) -> Tensor:
    n = len(k)
    k, m = (gram - gram.diag().diag() for gram in (k, m))
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)
    return ((k * m).sum() + sums) / (n * (n - 3))


def kernel_rows(vectors: Tensor, gallery: Tensor, others: Tensor) -> Tensor:
    """⟨u_i − ū_i, u_m − ū_i⟩ of unit vectors, ū_i the mean of row i's others in the gallery; (N, M) float64.

    A row's products with another signal's row, averaged over its others, are its part of HSIC against the gallery. Were
    its own vector in the mean, those of unrelated signals would be positive, the more so the smaller the gallery.

    Args:
        vectors, gallery: (N, …) and (M, …).
        others: (N, M) 0 or 1, which of the gallery are other images than the row's.
    """
    own, held = flat(unit(vectors.double())), flat(unit(gallery.double())).nan_to_num()
    products, share = own @ held.mT, others / others.sum(1, keepdim=True)
    to_mean = share @ (held @ held.mT)
    return products - (share * products).sum(1, keepdim=True) - to_mean + (share * to_mean).sum(1, keepdim=True)
