"""From pictures to a row of numbers for each, and to numbers of a whole set."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError
from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.generation.numbers import SetNumbers
from tangency.evaluate.generation.qualities import FRECHET, KID
from tangency.generation.judges import (
    diversity,
    frechet_distance,
    judged,
    last_features,
    nearest_distance,
    neighbour_distance,
    noise_cosine,
    precision_recall,
    psnr,
)
from tangency.generation.tasks.inputs import START, TRUTH, Outcome
from tangency.generation.tasks.task import GenerationTask
from tangency.mixtures import Mixture
from tangency.perceptual.kid import FEWEST, alexnet_features, kid
from tangency.perceptual.lpips import LPIPS
from tangency.perceptual.structural import ssim
from tangency.seeding import permutation
from tangency.statistics import Estimate, PairedBootstrap
from tangency.types import Dataset

_ALEX_CHANNELS = (1, 3)
_AT_ONCE = 1000
_NEIGHBOURS = 3  # of precision and recall
_EXAMINED = 2000  # test images at most, a fixed random subset
REPLICATES = 2000
_REAL = 5000  # training images at most that sets are compared with


class PictureMeasures:
    """Everything that pictures are measured with.

    Args:
        data: its training images are what distances and sets are taken to.
        own: the classifier whose gradients were followed; None where there was none.
        judge: a held-out classifier; None for none.
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

    def embedded(self, pictures: Tensor) -> Tensor:
        """Features (N, D)."""
        if self.judge is not None:
            return last_features(self.judge, pictures)
        if self.lpips is None:
            raise NumericsError("features: no judge and no LPIPS, expected one of them.")
        return alexnet_features(pictures, self.lpips)

    def fidelity(self, pictures: Tensor, start: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Against the truth, (N,) each."""
        columns = {"psnr": psnr(pictures, truth)}
        columns["psnr_gain"] = columns["psnr"] - psnr(start, truth)
        columns["ssim"] = ssim(pictures, truth, value_range=1.0)
        if self.lpips is not None:
            columns["lpips"] = self.lpips(2 * pictures.clamp(0, 1) - 1, 2 * truth.clamp(0, 1) - 1)
        columns["direction_cosine"] = noise_cosine(pictures, start, truth)
        return columns

    def likeness(self, pictures: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Likeness to the intended class and to the data, (N,) each; pictures of no class have no class columns."""
        columns = {"nearest_distance": nearest_distance(pictures, self.data.train)}
        if self.mixture is not None:
            joint = self.mixture.log_class_joint(pictures, 0.0)
            columns["log_density"] = joint.logsumexp(1)
        if len(y) and int(y.min()) >= 0:
            columns["diversity"] = diversity(pictures, y)
            if self.own is not None:
                columns["own_confidence"] = judged(self.own, pictures, y)["confidence"]
            if self.mixture is not None:
                columns["mixture_accuracy"] = (joint.argmax(1) == y).double()
            if self.judge is not None:
                columns |= {f"judge_{name}": values for name, values in judged(self.judge, pictures, y).items()}
        return columns

    def sets(self, pictures: Mapping[str, Tensor]) -> tuple[dict[str, SetNumbers], dict[str, Tensor]]:
        """Numbers of each source's pictures as a set against training images, and the column "among_real" of each.

        Test images are a source of their own, so that the numbers of real images are known.
        """
        if not self.features:
            self.unavailable["sets"] = "no network whose features sets could be compared in"
            return {}, {}
        real, reach = self._real
        numbers: dict[str, SetNumbers] = {}
        among: dict[str, Tensor] = {}
        for source, images in pictures.items():
            made = self.embedded(images)
            distances = self._kid(made, real) | self._frechet(made, real)
            if len(made) > _NEIGHBOURS and reach is not None:
                among[source], recalled = precision_recall(made, real, _NEIGHBOURS, reach)
                distances["recall"] = float(recalled.mean())
            numbers[source] = SetNumbers(self.features, len(made), len(real), distances)
        return numbers, among

    @cached_property
    def _real(self) -> tuple[Tensor, Tensor | None]:
        """Features of training images, and how far each one's neighbours are."""
        chosen = permutation(len(self.data.train), 0, "sets of generation")[:_REAL]
        parts = [self.embedded(self.data.train.images(ids).to(self.device)) for ids in torch.split(chosen, _AT_ONCE)]
        real = torch.cat(parts)
        return real, neighbour_distance(real, _NEIGHBOURS) if len(real) > _NEIGHBOURS else None

    def of(self, own: nn.Module | None, mixture: Mixture | None) -> PictureMeasures:
        """The same for pictures of another classifier; features of real images are computed only once."""
        if self.features:
            _ = self._real
        other = copy.copy(self)
        other.own, other.mixture, other.unavailable = own, mixture, dict(self.unavailable)
        return other

    def _kid(self, made: Tensor, real: Tensor) -> dict[str, float]:
        if min(len(made), len(real)) < FEWEST:
            self.unavailable[KID] = f"{len(made)} pictures and {len(real)} real ones, it takes {FEWEST} a side"
            return {}
        try:
            distance = kid(made, real, self.features)
        except NumericsError as error:  # features that do not vary
            self.unavailable[KID] = str(error)
            return {}
        return {KID: distance.value, "kid_standard_error": distance.standard_error}

    def _frechet(self, made: Tensor, real: Tensor) -> dict[str, float]:
        """Named by its features: FID is the distance in those of Inception alone."""
        name = FRECHET[0] if self.judge is not None else FRECHET[1]
        try:
            return {name: frechet_distance(made, real)}
        except NumericsError as error:
            self.unavailable[name] = str(error)
            return {}


def measure_outcome(
    measures: PictureMeasures, outcome: Outcome, task: GenerationTask, sources: Sequence[str]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, SetNumbers]]:
    """Columns of each of these sources, and numbers of each as a set."""
    pictures = {source: outcome.pictures[source] for source in sources}
    columns = {source: outcome.columns[source] | measures.likeness(pictures[source], outcome.y) for source in sources}
    if task.truth:
        for source in set(sources) - {TRUTH}:
            columns[source] |= measures.fidelity(pictures[source], outcome.pictures[START], outcome.pictures[TRUTH])
    if task.truth or not task.judged:
        return columns, {}
    sets, among = measures.sets(pictures)
    for source, values in among.items():
        columns[source]["among_real"] = values
    return columns, sets


@dataclass(frozen=True)
class JudgeQuality:
    """How good a judge is itself.

    Args:
        accuracy: on test images, with that of guessing.
        warning: "" where the judge is above chance.
    """

    accuracy: MeasureEntry
    warning: str


def judge_quality(judge: nn.Module, data: Dataset, device: str) -> JudgeQuality:
    """Accuracy of a judge on test images, 2,000 at most, with a 95 % interval over images; chance is 1/classes."""
    ids = permutation(len(data.test), 0, "examination of the judge")[:_EXAMINED].sort().values
    parts = [
        judged(judge, data.test.images(part).to(device), data.test.labels[part].to(device))["accuracy"]
        for part in torch.split(ids, _AT_ONCE)
    ]
    right, chance = torch.cat(parts).cpu().numpy(), 1 / len(data.test.classes)
    accuracy = Estimate.of(PairedBootstrap(len(right), REPLICATES).mean(right), len(right))
    warning = (
        "" if accuracy.low > chance else "The judge is not above chance, so that what it says of pictures is noise."
    )
    return JudgeQuality(MeasureEntry.of(accuracy, chance=chance), warning)
