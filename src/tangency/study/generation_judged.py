"""Pictures to one row for each image, and to numbers of a whole set, by judges that took no part."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError
from tangency.generate import (
    diversity,
    frechet_distance,
    judged,
    last_features,
    nearest_distance,
    neighbour_distance,
    precision_recall,
    psnr,
)
from tangency.mixtures import Mixture
from tangency.perceptual.kid import FEWEST, alexnet_features, kid
from tangency.perceptual.lpips import LPIPS
from tangency.perceptual.structural import ssim
from tangency.seeding import permutation
from tangency.study.generation_restored import noise_cosine
from tangency.types import Dataset

FRECHET = ("frechet_judge", "frechet_alexnet")  # of the judge's features, and of LPIPS' where there is no judge
_ALEX_CHANNELS = (1, 3)
_AT_ONCE = 1000
_NEIGHBOURS = 3  # of precision and recall
_REAL = 5000  # training images at most that sets are compared with


@dataclass(frozen=True)
class About:
    """What a number means: its unit, which way is better (or neither), and in words."""

    unit: str
    better: str
    words: str


ABOUT: dict[str, About] = {
    "psnr": About("dB", "higher", "peak signal-to-noise ratio against the truth"),
    "psnr_gain": About("dB", "higher", "PSNR less that of the input, of the same image; 0 for doing nothing"),
    "ssim": About("", "higher", "structural similarity to the truth, 1 for equal"),
    "lpips": About("", "lower", "perceptual distance (LPIPS-Alex) to the truth, 0 for equal"),
    "direction_cosine": About("", "higher", "cosine of what was changed with what should have been; 0 for chance"),
    "judge_accuracy": About("", "higher", "share that a held-out classifier puts into the class that was meant"),
    "judge_confidence": About("", "higher", "its probability of that class"),
    "own_confidence": About("", "neither", "the same of the classifier whose gradients were followed: no judge"),
    "mixture_accuracy": About("", "higher", "share that the Bayes rule of the mixture puts into that class"),
    "log_density": About("nats", "higher", "log density under the mixture of all classes"),
    "nearest_distance": About("l2", "neither", "distance to the nearest training image; 0 is a copy"),
    "diversity": About("l2", "neither", "mean distance to the other pictures of the class; read it against real ones"),
    "among_real": About("", "higher", "precision: share that lies among the real images in feature space"),
    "distance": About("l2", "lower", "distance from the image that was started from"),
    "evaluations": About("passes", "lower", "passes of a network for an image"),
    "assumed_sigma": About("", "neither", "noise level that was assumed"),
    "activation": About("", "higher", "mean activation of the unit"),
}


class Judges:
    """All that pictures are looked at with.

    Args:
        data: its training images are what distances and sets are taken to.
        own: the classifier whose gradients were followed; None where there was none.
        judge: a classifier that took no part; None for none.
        mixture: None for none.
        device: where.
    """

    def __init__(
        self, data: Dataset, own: nn.Module | None, judge: nn.Module | None, mixture: Mixture | None, device: str
    ) -> None:
        self.data, self.own, self.judge, self.mixture, self.device = data, own, judge, mixture, device
        self.unavailable: dict[str, str] = {}
        shape = data.test.shape
        self.lpips = LPIPS().to(device) if shape[0] in _ALEX_CHANNELS else None
        if self.lpips is None:
            self.unavailable["lpips"] = f"it takes 1 or 3 channels, the images have {shape[0]}"
        if judge is None:
            self.unavailable["judge"] = "none was given, and the classifier is no judge of itself; use --judge"

    @property
    def features(self) -> str:
        """Name of the network that sets are compared in."""
        if self.judge is not None:
            return "last hidden layer of the judge"
        return "alexnet-lpips" if self.lpips is not None else ""

    @property
    def frechet(self) -> str:
        """Key of the Fréchet distance, named by its features: FID is that of Inception's alone."""
        return FRECHET[0] if self.judge is not None else FRECHET[1]

    def embedded(self, pictures: Tensor) -> Tensor:
        """Features (N, D)."""
        if self.judge is not None:
            return last_features(self.judge, pictures)
        if self.lpips is None:
            raise NumericsError("features: no judge and no LPIPS, expected one of them.")
        return alexnet_features(pictures, self.lpips)

    def fidelity(self, pictures: Tensor, start: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Against the truth, (N,) each."""
        found = {"psnr": psnr(pictures, truth)}
        found["psnr_gain"] = found["psnr"] - psnr(start, truth)
        found["ssim"] = ssim(pictures, truth, value_range=1.0)
        if self.lpips is not None:
            found["lpips"] = self.lpips(2 * pictures.clamp(0, 1) - 1, 2 * truth.clamp(0, 1) - 1)
        found["direction_cosine"] = noise_cosine(pictures, start, truth)
        return found

    def likeness(self, pictures: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Of the class that was meant, and of the data, (N,) each; pictures of no class have no class columns."""
        found = {"nearest_distance": nearest_distance(pictures, self.data.train)}
        if self.mixture is not None:
            joint = self.mixture.log_class_joint(pictures, 0.0)
            found["log_density"] = joint.logsumexp(1)
        if len(y) and int(y.min()) >= 0:
            found["diversity"] = diversity(pictures, y)
            if self.own is not None:
                found["own_confidence"] = judged(self.own, pictures, y)["confidence"]
            if self.mixture is not None:
                found["mixture_accuracy"] = (joint.argmax(1) == y).double()
            if self.judge is not None:
                found |= {f"judge_{name}": values for name, values in judged(self.judge, pictures, y).items()}
        return found

    def sets(self, pictures: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
        """Numbers of each source's pictures as a set against training images, and the column "among_real" of each.

        Test images are a source of their own, so that what real images get is known.
        """
        if not self.features:
            self.unavailable["sets"] = "no network whose features sets could be compared in"
            return {}, {}
        real, reach = self._real
        numbers: dict[str, dict[str, Any]] = {}
        among: dict[str, Tensor] = {}
        for source, found in pictures.items():
            made = self.embedded(found)
            numbers[source] = {"features": self.features, "pictures": len(made), "real": len(real)}
            numbers[source] |= self._kid(made, real) | self._frechet(made, real)
            if len(made) > _NEIGHBOURS and reach is not None:
                among[source], recalled = precision_recall(made, real, _NEIGHBOURS, reach)
                numbers[source]["recall"] = float(recalled.mean())
        return numbers, among

    @cached_property
    def _real(self) -> tuple[Tensor, Tensor | None]:
        """Features of training images, and how far each one's neighbours are."""
        chosen = permutation(len(self.data.train), 0, "sets of generation")[:_REAL]
        parts = [self.embedded(self.data.train.images(ids).to(self.device)) for ids in chosen.split(_AT_ONCE)]
        real = torch.cat(parts)
        return real, neighbour_distance(real, _NEIGHBOURS) if len(real) > _NEIGHBOURS else None

    def of(self, own: nn.Module | None, mixture: Mixture | None) -> Judges:
        """The same judges of another classifier's pictures; what they know of real images is not worked out again."""
        if self.features:
            _ = self._real
        other = copy.copy(self)
        other.own, other.mixture, other.unavailable = own, mixture, dict(self.unavailable)
        return other

    def _kid(self, made: Tensor, real: Tensor) -> dict[str, Any]:
        if min(len(made), len(real)) < FEWEST:
            self.unavailable["kid"] = f"{len(made)} pictures and {len(real)} real ones, it takes {FEWEST} a side"
            return {}
        try:
            found = kid(made, real, self.features)
        except NumericsError as error:  # features that do not vary
            self.unavailable["kid"] = str(error)
            return {}
        return {"kid": found.value, "kid_standard_error": found.standard_error}

    def _frechet(self, made: Tensor, real: Tensor) -> dict[str, Any]:
        try:
            return {self.frechet: frechet_distance(made, real)}
        except NumericsError as error:
            self.unavailable[self.frechet] = str(error)
            return {}


def chance(measure: str, classes: int) -> float | None:
    """What a measure gives by chance, where that means something."""
    level = {"judge_accuracy": 1 / classes, "mixture_accuracy": 1 / classes, "direction_cosine": 0.0, "psnr_gain": 0.0}
    return level.get(measure)
