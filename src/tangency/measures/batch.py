"""A classifier on a batch of prepared images: what the functions of measures are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from tangency.autodiff import Temperature, check_logits
from tangency.measures.comparison.source import Comparison
from tangency.measures.config import MeasureConfig, unique
from tangency.measures.keys import MARGIN
from tangency.measures.quantities import quantity_directions
from tangency.measures.similarity.spectral import phase_randomised
from tangency.seeding import Draw


@dataclass(frozen=True)
class Batch:
    """A classifier on a batch of images; what several measures need is computed once.

    Args:
        model: classifier; in eval mode with frozen parameters, and without gradients unless they are enabled.
        comparison: of the images: tangent spaces, targets, controls, see `Comparison`.
        config: what is measured.
        maps: name to attribution maps of the images, (N, C, H, W).
        temperature: of the classifier, for the calibrated log p; None where that has none.
    """

    model: nn.Module
    comparison: Comparison
    config: MeasureConfig
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    temperature: Temperature | None = None

    @property
    def x(self) -> Tensor:
        """Images (N, C, H, W)."""
        return self.comparison.x

    @property
    def truth(self) -> Tensor:
        """True labels (N,)."""
        return self.comparison.truth

    @cached_property
    def logits(self) -> Tensor:
        """Of the images, (N, classes)."""
        # a clone, since a model may overwrite its input in place
        return check_logits(self.model(self.x.clone()), len(self.x), max(2, int(self.comparison.y.max()) + 1))

    @cached_property
    def _gradients(self) -> dict[str, Tensor]:
        """Of every quantity and, from the same pass, of the margin."""
        r, config = self.comparison, self.config
        quantities = unique([*config.quantities, MARGIN])
        options, maps = config.attributions, self.maps
        return quantity_directions(self.model, r.x, r.y, r.ids, quantities, options, maps, self.temperature)

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Quantity to its gradient or map, (N, C, H, W), at the size of the images."""
        return {name: self._gradients[name] for name in self.config.quantities}

    @property
    def margin_gradient(self) -> Tensor:
        """∇ₓ(f_y − max_{j≠y} f_j), (N, C, H, W), at the size of the images: not a parallel of it."""
        return self._gradients[MARGIN]

    @cached_property
    def directions(self) -> dict[str, Tensor]:
        """The gradients at the working size, at which scores and tangent spaces are."""
        return {name: self.comparison.working.gradient(gradient) for name, gradient in self.gradients.items()}

    @cached_property
    def phased(self) -> dict[str, Tensor]:
        """The directions with their phases drawn anew."""
        return {name: self.with_phases_anew(direction) for name, direction in self.directions.items()}

    def with_phases_anew(self, direction: Tensor) -> Tensor:
        """A gradient (N, C, H, W) at the working size with the phases of noise that every classifier shares."""
        return phase_randomised(direction, Draw(self.config.seed, self.comparison.ids, "phase"))
