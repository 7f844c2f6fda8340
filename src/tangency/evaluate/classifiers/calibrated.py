"""Temperatures of the classifiers of a request, for their calibrated log p."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tangency.autodiff import Temperature
from tangency.errors import ModelError, NumericsError
from tangency.evaluate.classifiers.saved import SavedClassifier
from tangency.measures import (
    Calibration,
    MeasureConfig,
    Subject,
    check_unmeasured,
    model_temperature,
    validation_images,
)
from tangency.types import LabelledImages


@dataclass(frozen=True)
class Temperatures:
    """The temperatures of the classifiers that are measured; those beside them get theirs where they are identified.

    Args:
        validation: test images that are not measured; None where no scalar needs a temperature.
        known: reference of a measured classifier to its temperature.
    """

    validation: LabelledImages | None = None
    known: Mapping[str, Temperature] = field(default_factory=dict)

    @classmethod
    def of(
        cls, models: Sequence[SavedClassifier], config: MeasureConfig, test: LabelledImages, limit: int
    ) -> Temperatures:
        """Those of the classifiers of a request that measures `limit` of the test images.

        Raises:
            SpecError: the limit leaves no validation images.
            ModelError: the temperature of a classifier is not identified.
        """
        if not config.calibrated:
            return cls()
        check_unmeasured(limit, test, "limit")
        validation, known = validation_images(test), {}
        for one in models:
            try:
                known[one.reference] = model_temperature(one.classifier, validation, _like(one.classifier))
            except NumericsError as error:
                raise ModelError(f"model '{one.reference}': {error}") from None
        return cls(validation, known)

    def subject(self, net: nn.Module, maps: Mapping[str, Tensor] | None = None, reference: str = "") -> Subject:
        """A classifier with attribution maps and its temperature; one without has no calibrated scalar."""
        own = self.known.get(reference)
        if own is None and self.validation is not None:
            own = Calibration.of(net, self.validation, _like(net)).temperature
        return Subject(net, maps or {}, own)


def _like(net: nn.Module) -> Tensor:
    """A tensor where the classifier is; images are float32."""
    device = next((each.device for each in net.parameters()), torch.device("cpu"))
    return torch.zeros((), device=device)
