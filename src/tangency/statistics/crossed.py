"""Intervals that hold for a recipe: networks crossed with the images that all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.intervals import WithInterval
from tangency.statistics.resamples import Array

Ends = Callable[[float], tuple[float, float]]  # from a quantile's level to the ends of an interval, in standard errors


@dataclass(frozen=True)
class CrossedEstimate(WithInterval):
    """A number of a recipe with its interval; NaN where it is not defined.

    Args:
        mean: mean over networks.
        low, high: ends of the interval, both NaN below two images.
        networks: S.
        unit: "networks": the interval holds for the recipe; "images": S = 1, it holds for this one network and says
            nothing about others of its recipe.
        each: the estimate of each network.
        images: N that have a value of all networks.
    """

    mean: float
    low: float
    high: float
    networks: int
    unit: Literal["networks", "images"]
    each: tuple[float, ...]
    images: int = 0


def crossed(estimates: Array, influence: Array, level: float = 0.95) -> CrossedEstimate:
    """Interval of a recipe's mean: mean ∓ √(t²_{S−1} MS_net/(S·N) + h∓² max(0, s²_image/N − MSE/(S·N))).

    Both networks and images are samples: an estimate is θ + network + image + network × image, and the image part,
    which all networks share, does not shrink with S. MS_net/(S·N) is the variance of the estimates over S, s²_image the
    variance over images of the influence averaged over networks, MSE the mean square of network × image. h∓ are the
    ends of an interval of a mean of N skewed values in standard errors, t_{N−1} where they are symmetric
    (`_image_ends`). The square root adds the two parts as Howe does, end by end. S = 1 gives mean ∓ h∓·s_image/√N, unit
    "images". A network that no seed moves, repeated for S seeds, has MS_net = MSE = 0: its image part remains.

    Args:
        estimates: (S,), of each network, from the same N images.
        influence: (S, N), derivative of each network's estimate by the weight of an image, times N: of a mean, value −
            mean. An image that is not finite for some network is left out for all; each row is centred.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: shapes do not fit, no network, or a level outside (0, 1).

    Example:
        >>> values = np.array([[1.0, 2.0, 3.0, 2.0], [2.0, 3.0, 4.0, 3.0]])
        >>> of_two = crossed(values.mean(1), values - values.mean(1, keepdims=True))
        >>> of_two.mean, of_two.unit, round(of_two.high - of_two.mean, 3)
        (2.5, 'networks', 6.485)

    Source: Howe, "Approximate confidence limits on the mean of X + Y where X and Y are two tabled independent random
    variables", JASA 69 (1974), end by end as in Zou and Donner, "Construction of confidence limits about effect
    measures", Statistics in Medicine 27 (2008); the two-way random model: Searle, Casella and McCulloch, "Variance
    Components" (1992). Coverage of .95 lies between .950 and .977 for S ≥ 3, and up to .987 for S = 2, where both parts
    are about equal: Satterthwaite's degrees of freedom on the sum would give .922 to .950 at S = 3. With 200 images of
    skewness 6 whose effects dominate it is .939 to .956; with z for h∓ it would be .922 to .943.
    """
    if estimates.ndim != 1 or influence.ndim != 2 or len(influence) != len(estimates) or not len(estimates):
        raise NumericsError(
            f"crossed: got estimates {estimates.shape} and influence {influence.shape}, expected (S,) and (S, N)."
        )
    influence = influence[:, np.isfinite(influence).all(0)]
    images = influence.shape[1]
    if images < 2:
        return _added(estimates, math.nan, images, level)
    ends = partial(_image_ends, influence.mean(0) - influence.mean())
    return _added(estimates, image_variances(influence)[1], images, level, ends)


def crossed_sets(estimates: Array, errors: Array, images: int, level: float = 0.95) -> CrossedEstimate:
    """Interval of a recipe's mean where images give one value for a whole set: √(t²_{S−1} s²/S + z² mean e²).

    How much of the images' errors the networks share cannot be known from one value for each, so all of it counts as
    shared, which is never too little: where they share nothing, the second part is already in s²/S.

    Args:
        estimates: (S,), of each network, such as a KID.
        errors: (S,), ≥ 0, standard error of each by its images.
        images: of one network.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: shapes do not fit, no network, or a level outside (0, 1).

    Example:
        >>> of_one = crossed_sets(np.array([0.5]), np.array([0.1]), 1000)
        >>> round(of_one.high, 3), of_one.unit
        (0.696, 'images')

    Source: as `crossed`. Coverage of .95 is at least that, and up to 1 where the networks share nothing.
    """
    if estimates.ndim != 1 or errors.shape != estimates.shape or not len(estimates):
        raise NumericsError(
            f"crossed sets: got estimates {estimates.shape} and errors {errors.shape}, expected (S,) of both."
        )
    return _added(estimates, float((errors**2).mean()), images, level)


def image_variances(influence: Array) -> tuple[float, float]:
    """Variance by images of the networks' mean, s²_image/N, and the part of it that is common to them, ≥ 0.

    The common part is max(0, s²_image/N − MSE/(S·N)); of one network both are equal.

    Args:
        influence: (S, N ≥ 2), finite, as of `crossed`.
    """
    networks, images = influence.shape
    influence = influence - influence.mean(1, keepdims=True)
    shared = influence.mean(0)
    whole = float((shared**2).sum()) / (images - 1) / images
    if networks == 1:
        return whole, whole
    interaction = float(((influence - shared) ** 2).sum()) / ((networks - 1) * (images - 1))
    return whole, max(0.0, whole - interaction / (networks * images))


def _symmetric_ends(upper: float) -> tuple[float, float]:
    from scipy.special import ndtri

    return float(ndtri(upper)), float(ndtri(upper))


def _added(
    estimates: Array, image_part: float, images: int, level: float, ends: Ends = _symmetric_ends
) -> CrossedEstimate:
    """Howe's root of the network part and the image part, end by end; NaN ends where the latter is NaN."""
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise NumericsError(f"crossed: got the level {level}, expected a coverage between 0 and 1, such as 0.95.")
    networks, mean, upper = len(estimates), float(estimates.mean()), (1 + level) / 2
    network_part = 0.0
    if networks > 1:
        network_part = float(stdtrit(networks - 1, upper)) ** 2 * float(estimates.var(ddof=1)) / networks
    below, above = (math.sqrt(network_part + end**2 * image_part) for end in ends(upper))
    unit: Literal["networks", "images"] = "networks" if networks > 1 else "images"
    return CrossedEstimate(mean, mean - below, mean + above, networks, unit, tuple(estimates.tolist()), images)


def _image_ends(shared: Array, upper: float) -> tuple[float, float]:
    """Ends of an interval of a mean of values (N,), below and above it in standard errors, corrected for skewness.

    Of T = √N(x̄ − μ)/s and a = skewness/(6√N), g(T) = T + a + 2aT² + 4a²T³/3 is nearly Student's t: the ends are
    g⁻¹(t_{N−1}) and −g⁻¹(−t_{N−1}), with g⁻¹(t) = (u − 1)/(2a) = 3(t − a)/(1 + u + u²), u³ = 1 + 6a(t − a). Where g is
    nearly flat, u³ < .1, g⁻¹ leaps: |a| is held below that. Of few ones among zeros the ends are then nearly the exact
    ones of a proportion.

    Source: Hall, "On the removal of skewness by transformation", JRSS B 54 (1992); the limit of |a| is ours.
    """
    from scipy.special import stdtrit

    images, spread = len(shared), math.sqrt(float((shared**2).mean()))
    t = float(stdtrit(images - 1, upper))
    a = float(((shared / spread) ** 3).mean()) / 6 / math.sqrt(images) if spread > 0 else 0.0
    most = (math.sqrt(t * t + 0.6) - t) / 2  # 6a(t + a) = .9
    a = min(max(a, -most), most)

    def inverse(t: float) -> float:
        u = float(np.cbrt(1 + 6 * a * (t - a)))
        return 3 * (t - a) / (1 + u + u * u)

    return inverse(t), -inverse(-t)


def crossed_mean(values: Array, level: float = 0.95) -> CrossedEstimate:
    """Mean over networks and images, x̄ = Σ x_si/(S·N), with the interval of `crossed`.

    Args:
        values: (S, N), one row for each network, the same images; or (N,), one network. An image that is not finite for
            some network is left out for all.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: another shape, or a level outside (0, 1).

    Example:
        >>> crossed_mean(np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])).mean
        1.5
    """
    (x,) = _on_shared_images(values)
    return crossed(*_mean_and_influence(x), level)


def crossed_difference(a: Array, b: Array, level: float = 0.95) -> CrossedEstimate:
    """Mean over networks and images of a_si − b_si, paired by seed and image, with the interval of `crossed`.

    Args:
        a, b: (S, N), row s of both of the same seed; or (N,), a fixed network, such as the exact Bayes rule, that
            stands for all seeds of the other. An image that is not finite somewhere is left out everywhere.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: shapes that do not pair, or a level outside (0, 1).

    Example:
        >>> crossed_difference(np.array([[3.0, 4.0], [4.0, 5.0]]), np.array([1.0, 2.0])).each
        (2.0, 3.0)
    """
    x, y = _on_shared_images(a, b)
    return crossed(*_mean_and_influence(x - y), level)


def crossed_log_ratio(a: Array, b: Array, floor: float, level: float = 0.95) -> CrossedEstimate:
    """Mean over networks of log max(ā_s, floor) − log max(b̄_s, floor), with the interval of `crossed`.

    The influence of an image is (a_si − ā_s)/max(ā_s, floor) − (b_si − b̄_s)/max(b̄_s, floor), the delta method. A mean
    below the floor keeps its spread over the floor, so no interval gets narrower by being floored.

    Args:
        a, b: as of `crossed_difference`; both means are positive or floored.
        floor: > 0, in the unit of a and b.
        level: coverage, in (0, 1).

    Raises:
        NumericsError: a floor that is not positive, shapes that do not pair, or a level outside (0, 1).

    Example:
        >>> twice_and_more = crossed_log_ratio(np.array([[2.0, 6.0], [3.0, 9.0]]), np.array([1.0, 3.0]), floor=0.01)
        >>> [round(math.exp(log), 9) for log in twice_and_more.each]
        [2.0, 3.0]

    Source: delta method, van der Vaart, "Asymptotic Statistics" (1998), ch. 3.
    """
    if not 0 < floor < math.inf:
        raise NumericsError(f"crossed log ratio: got the floor {floor}, expected a positive number.")
    (above, above_influence), (below, below_influence) = map(_mean_and_influence, _on_shared_images(a, b))
    above, below = np.maximum(above, floor), np.maximum(below, floor)
    influence = above_influence / above[:, None] - below_influence / below[:, None]
    return crossed(np.log(above) - np.log(below), influence, level)


def _mean_and_influence(values: Array) -> tuple[Array, Array]:
    """Means (S,) and values − means (S, N); NaN means without images."""
    if not values.shape[1]:
        return np.full(len(values), np.nan), values
    means: Array = values.mean(1)
    return means, values - means[:, None]


def _on_shared_images(*values: Array) -> list[Array]:
    """Each as (S, n), a fixed network repeated, over the images that are finite in all of them."""
    shapes = [v.shape for v in values]
    tables = {shape for shape in shapes if len(shape) == 2}
    if any(len(s) not in (1, 2) for s in shapes) or len(tables) > 1 or len({s[-1] for s in shapes}) > 1:
        raise NumericsError(
            f"crossed: got values of shape {' and '.join(map(str, shapes))}, expected (S, N), the same seeds and "
            "images in each, or (N,) for a fixed network that stands for all seeds; keep the seeds that all have."
        )
    networks = max((shape[0] for shape in tables), default=1)
    rows = [np.broadcast_to(np.asarray(v, float), (networks, v.shape[-1])) for v in values]
    usable = np.isfinite(np.stack(rows)).all((0, 1))
    return [row[:, usable] for row in rows]
