"""Input gradients of a named scalar, exact and without side effects."""

from tangency.autodiff.contexts import double_backward, undisturbed
from tangency.autodiff.gradients import input_gradient, input_gradients
from tangency.autodiff.jacobian import jacobians, pushforward
from tangency.autodiff.scalars import SCALARS, check_logits, log_odds, scalar

__all__ = [
    "SCALARS",
    "check_logits",
    "double_backward",
    "input_gradient",
    "input_gradients",
    "jacobians",
    "log_odds",
    "pushforward",
    "scalar",
    "undisturbed",
]
