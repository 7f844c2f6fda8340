"""W7: a signal that holds the class and a distractor that does not, in the two halves of an image in random order."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tangency.errors import DataError, NumericsError
from tangency.numerics import check_rank
from tangency.seeding import Draw
from tangency.types import LabelledImages
from tangency.worlds.embedding import Embedding, check_size, patterns
from tangency.worlds.gaussians import GaussianCore, equal_mixture
from tangency.worlds.options import ClosedFormWorld, Positive, Shape
from tangency.worlds.world import World


def letter(height: int, width: int) -> Tensor:
    """The letter A, (height, width) float32 in [0, 1]: three strokes, their edges smoothed over a pixel."""
    rows = torch.arange(height, dtype=torch.float32)[:, None] + 0.5
    columns = torch.arange(width, dtype=torch.float32)[None] + 0.5
    corners = {"top": (0.12, 0.5), "left": (0.88, 0.15), "right": (0.88, 0.85), "in": (0.62, 0.28), "out": (0.62, 0.72)}
    point = {name: (y * height, x * width) for name, (y, x) in corners.items()}
    stroke = 0.055 * (height + width) / 2
    picture = torch.zeros(height, width, dtype=torch.float32)
    for start, end in (("top", "left"), ("top", "right"), ("in", "out")):
        (y0, x0), (y1, x1) = point[start], point[end]
        dy, dx = y1 - y0, x1 - x0
        along = (((rows - y0) * dy + (columns - x0) * dx) / (dy**2 + dx**2)).clamp(0, 1)
        away = ((rows - y0 - along * dy).square() + (columns - x0 - along * dx).square()).sqrt()
        picture = torch.maximum(picture, (stroke + 0.5 - away).clamp(0, 1))
    return picture


def with_distractor(data: LabelledImages, seed: int = 0) -> LabelledImages:
    """Each image above or below the letter A, halves drawn at random: (N, C, H, W) to (N, C, 2H, W), with exact masks.

    The letter is constant, so nothing on its half says anything about the class.

    Args:
        data: any images.
        seed: of the halves; the half of an image depends on its index.

    Returns:
        Images with `signal` (N, 2H, W), true on the half of the image.

    Source: MNIST with the letter A in Srinivas, Bordt & Lakkaraju, arXiv 2305.19101, section on signal and distractor.
    Deviation: the letter is our own rendering.
    """
    if data.signal is not None:
        raise DataError(f"{data.name}: already has a signal and a distractor, expected plain images.")
    _, height, width = data.shape
    drawn = letter(height, width)
    mark = (drawn * 255).round().to(torch.uint8) if data.pixels.dtype == torch.uint8 else drawn.to(data.pixels.dtype)
    below = Draw(seed, torch.arange(len(data)), "distractor").integers(2).bool()
    marks = mark.expand_as(data.pixels)
    chosen = below[:, None, None, None]
    top, bottom = torch.where(chosen, marks, data.pixels), torch.where(chosen, data.pixels, marks)
    signal = torch.zeros(len(data), 2 * height, width, dtype=torch.bool)
    signal[~below, :height] = True
    signal[below, height:] = True
    digest = hashlib.sha256(f"{data.digest} letter A, halves by seed {seed}".encode()).hexdigest()
    return dataclasses.replace(
        data, pixels=torch.cat([top, bottom], 2), name=f"distractor:{data.name}", digest=digest, signal=signal
    )


@dataclass(frozen=True)
class DistractorWorld(ClosedFormWorld):
    """W7: signal s and distractor t in random halves, t independent of the class given the place; all in closed form.

    s|y is Gaussian on a subspace of smooth patterns, t is the letter A with a Gaussian change along two patterns, both
    with pixel noise; so images are a mixture over (class, place). The Bayes gradient vanishes on the distractor exactly
    where the place b is determined; else it leaks in proportion to p(b | x)(1 − p(b | x)).

    Args:
        shape: (C, 2H, W).
        rank: dimension of the signal's subspace.
        mark: contrast of the letter; a faint one leaves the place open.
        noise: ψ > 0, variance of the pixel noise.
        contrast: root mean square of a signal pixel about ½.
    """

    shape: Shape = (1, 28, 14)
    rank: int = 6
    separation: Positive = 1.0
    mark: Positive = 0.3
    noise: Positive = 0.0025

    name = "distractor"

    def build(self, root: Path | None) -> World:
        channels, height, width = self.shape
        if height % 2:
            raise NumericsError(f"distractor: got height {height}, expected an even one, for two halves.")
        half, rank, classes = (channels, height // 2, width), self.rank, self.classes
        size = math.prod(half)
        check_rank(rank, size)
        check_size(half, rank + 2)
        check_size(self.shape, rank + 2, 4 * classes * size // (rank + 2))  # loadings: 2·classes × 2·size
        frame = patterns("smooth", half, rank + 2, self.seed)
        scale = self.contrast * math.sqrt(size / (rank * (1 + self.separation**2)))
        signals, others = scale * frame[:, :rank], 0.5 * scale * frame[:, rank:]
        centres = 0.5 + scale * self.separation * self.normals("means", classes, rank) @ frame[:, :rank].mT
        mark = 0.5 + self.mark * letter(height // 2, width).double().expand(half).flatten()
        nothing, means, loadings = torch.zeros_like(mark), [], []
        for place in (0, 1):
            columns = [_halves(place, half, signal, nothing) for signal in signals.mT]
            columns += [_halves(place, half, nothing, other) for other in others.mT]
            means += [_halves(place, half, centre, mark) for centre in centres]
            loadings += [torch.stack(columns, 1)] * classes
        own = torch.arange(classes).repeat(2)
        mixture = equal_mixture(self.shape, torch.stack(means), torch.stack(loadings), float(self.noise), own)
        core = GaussianCore(mixture, placement=torch.arange(2).repeat_interleave(classes))
        return World(self.name, core, Embedding(self.shape, offset=0.0), self.class_names)


def _halves(place: int, half: Shape, signal: Tensor, rest: Tensor) -> Tensor:
    """(2·size,) image with the signal in the upper half at place 0, in the lower at place 1."""
    pair = [signal.reshape(half), rest.reshape(half)] if place == 0 else [rest.reshape(half), signal.reshape(half)]
    return torch.cat(pair, 1).flatten().double()


def signal_mask(world: World, component: Tensor) -> Tensor | None:
    """(N, H, W) bool, the half that holds the class, for components from `sample`; None where the world has none."""
    placement = world.core.placement if isinstance(world.core, GaussianCore) else None
    if placement is None:
        return None
    _, height, width = world.shape
    upper = torch.arange(height, device=component.device)[:, None].expand(height, width) < height // 2
    return torch.where(placement[component][:, None, None] == 0, upper, ~upper)


def place_posterior(world: World, x: Tensor, sigma: float) -> Tensor:
    """p_σ(b | x), the probability that the upper half holds the class, (N,) float64."""
    core = world.core
    if not isinstance(core, GaussianCore) or core.placement is None:
        raise NumericsError(f"{world.name}: has no halves, expected the world 'distractor'.")
    responsibilities = core.mixture.responsibilities(x, sigma)
    return responsibilities[:, core.placement == 0].sum(1)
