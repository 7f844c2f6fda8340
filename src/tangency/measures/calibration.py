"""Temperatures for `calibrated_logp_y`, fitted on images that are neither trained on nor measured."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.autodiff import CALIBRATED, Temperature, check_logits, fit_temperature, undisturbed
from tangency.data.partners import measured_order
from tangency.errors import NumericsError, SpecError
from tangency.measures.config import MeasureConfig
from tangency.measures.given import GivenImages
from tangency.types import LabelledImages

_MOST = 2000  # images: their error count leaves T a few per cent
_AT_ONCE = 25  # images, always: T is the same for every batch size


@dataclass(frozen=True)
class Calibration:
    """The temperature of a network of a study, or why it has none.

    Args:
        temperature: None where it is not identified; the network has no calibrated scalar then.
        refused: the reason, in sentences.
    """

    temperature: Temperature | None
    refused: str | None = None

    @classmethod
    def of(cls, model: nn.Module, validation: LabelledImages, like: Tensor) -> Calibration:
        """That of a classifier; arguments are those of `model_temperature`."""
        try:
            return cls(model_temperature(model, validation, like))
        except NumericsError as error:
            return cls(None, str(error))


def model_temperature(model: nn.Module, validation: LabelledImages, like: Tensor) -> Temperature:
    """The temperature of a classifier on validation images.

    Args:
        model: maps (N, C, H, W) to (N, classes) logits.
        validation: images that it was not trained on, and that are not measured.
        like: a tensor of the dtype and on the device that the classifier takes images in.

    Raises:
        NumericsError: the temperature is not identified.
    """
    parts = []
    with undisturbed(model), torch.no_grad():
        for at in torch.split(torch.arange(len(validation)), _AT_ONCE):
            x = validation.images(at).to(like)
            parts.append(check_logits(model(x), len(x), len(validation.classes)).double().cpu())
    return fit_temperature(torch.cat(parts), validation.labels)


def validation_images(test: LabelledImages) -> LabelledImages:
    """The test images that temperatures are fitted to: the last half of the measured order, 2,000 at most.

    They are the same for every limit, so that a larger limit goes on from a smaller one.
    """
    return test.subset(measured_order(len(test))[len(test) - _kept(len(test)) :])


def check_unmeasured(measured: int, test: LabelledImages, option: str) -> None:
    """Raise where the first `measured` of the test images reach into those that temperatures are fitted to."""
    most = len(test) - _kept(len(test))
    if min(measured, len(test)) > most:
        raise SpecError(
            f"{option}: got {measured} of {len(test)} test images with the scalar {CALIBRATED}, expected at most "
            f"{most}: its temperature is fitted to the other {len(test) - most}, which are not measured. Measure "
            "fewer, or leave the scalar out."
        )


def given_temperature(model: nn.Module, config: MeasureConfig, given: GivenImages) -> Temperature | None:
    """The temperature on the validation images that `measure` is given; None where no scalar needs one.

    Raises:
        SpecError: a scalar needs validation images, and there are none, or the reverse.
        NumericsError: the temperature is not identified, or every validation image is measured or trained on.
    """
    if config.calibrated != (given.validation is not None):
        raise SpecError(
            f"validation: got None with the scalar {CALIBRATED}, expected LabelledImages that the classifier was not "
            "trained on, to which its temperature is fitted; or use margin, which needs none."
            if config.calibrated
            else f"validation: got images that nothing is fitted to, expected them with the scalar {CALIBRATED} in "
            "config (MeasureConfig().with_choice(scalars=...)), or None."
        )
    if given.validation is None:
        return None
    return model_temperature(model, _unseen(given.validation, given), given.images)


def _unseen(validation: LabelledImages, given: GivenImages) -> LabelledImages:
    """The validation images that are neither measured nor among the training images."""
    train = given.train_data
    seen = (train.images(at) for at in torch.split(torch.arange(len(train)), _AT_ONCE))
    others = {key for images in itertools.chain(seen, torch.split(given.images, _AT_ONCE)) for key in _digests(images)}
    own = [
        key for at in torch.split(torch.arange(len(validation)), _AT_ONCE) for key in _digests(validation.images(at))
    ]
    kept = torch.tensor([key not in others for key in own], dtype=torch.bool)
    if not kept.any():
        raise NumericsError(
            f"validation: got {len(validation)} images, all of them measured or among train_data; expected others, "
            "which the classifier was not trained on."
        )
    return validation.subset(kept.nonzero().flatten())


def _kept(images: int) -> int:
    return min(images // 2, _MOST)


def _digests(images: Tensor) -> list[bytes]:
    """A digest of each image as float32."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.float().cpu().numpy()]
