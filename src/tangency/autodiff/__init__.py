"""Input gradients of a named scalar, exact and without side effects."""

from tangency.autodiff.attributions import ATTRIBUTIONS, AttributionOptions, attribution_maps, split_attribution
from tangency.autodiff.contexts import double_backward, undisturbed
from tangency.autodiff.gradients import differentiable, input_gradient, input_gradients
from tangency.autodiff.jacobian import jacobians, pushforward
from tangency.autodiff.scalars import CALIBRATED, SCALARS, SHIFT_INVARIANT_SCALARS, check_logits, log_odds, scalar
from tangency.autodiff.temperature import Temperature, TemperatureScaled, fit_temperature

__all__ = [
    "ATTRIBUTIONS",
    "CALIBRATED",
    "SCALARS",
    "SHIFT_INVARIANT_SCALARS",
    "AttributionOptions",
    "Temperature",
    "TemperatureScaled",
    "attribution_maps",
    "check_logits",
    "differentiable",
    "double_backward",
    "fit_temperature",
    "input_gradient",
    "input_gradients",
    "jacobians",
    "log_odds",
    "pushforward",
    "scalar",
    "split_attribution",
    "undisturbed",
]
