"""Which scalar of the logits is differentiated, and what each one says.

Cross-entropy identifies logits only up to a shift c(x) common to all classes. `logit_y`, `logit_pred`, `sum_logits`
and `lse` change with that shift, so a network can carry any such gradient without changing one prediction
(Srinivas & Fleuret, "Rethinking the role of gradient-based attribution methods", ICLR 2021); `logp_y`, `margin` and
`loss` do not. The scale of the logits moves the direction of ∇ log p(y|x), too, and not that of the margin's gradient:
`calibrated_logp_y` is `logp_y` at the scale that validation images identify.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.errors import NumericsError, unknown_name


def _picked(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1)


def _others(logits: Tensor, y: Tensor) -> Tensor:
    """Logits with class y at −∞."""
    return logits.masked_fill(F.one_hot(y, logits.shape[1]).bool(), -torch.inf)


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """log p_y / (1 − p_y) = f_y − logsumexp_{j≠y} f_j, (N, C) × (N,) to (N,); never underflows."""
    return _picked(logits, y) - _others(logits, y).logsumexp(1)


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    return _picked(logits, y) - _others(logits, y).amax(1)


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="none")


# `logp_y` and `loss` are ± log p(y|x): their gradients are (1 − p_y) times that of the log-odds, which is what is
# differentiated, since the direct form cancels where p_y is near 1 (input_gradients puts the factor back as a log).
_SCALARS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "logp_y": log_odds,
    "loss": lambda logits, y: -log_odds(logits, y),
    "logit_y": _picked,
    "logit_pred": lambda logits, y: logits.amax(1),
    "sum_logits": lambda logits, y: logits.sum(1),
    "lse": lambda logits, y: logits.logsumexp(1),
    "margin": _margin,
}
SCALARS: tuple[str, ...] = tuple(_SCALARS)
LOG_ODDS_SCALARS = frozenset({"logp_y", "loss"})
CALIBRATED = "calibrated_logp_y"  # `logp_y` of the classifier behind `TemperatureScaled`, which none of the others need
SHIFT_INVARIANT_SCALARS = frozenset({"logp_y", "loss", "margin", CALIBRATED})


def check_logits(output: object, n: int, classes: int = 2) -> Tensor:
    """The output of a classifier for n images, if it is a (n, at least `classes`) tensor; else a `NumericsError`."""
    if isinstance(output, Tensor) and output.dim() == 2 and len(output) == n and output.shape[1] >= classes:
        return output
    got = f"an output of shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
    raise NumericsError(
        f"classifier: got {got} for {n} images, expected a tensor of logits (N, classes) with at least {classes} "
        f"classes; {_way_out(output, classes)}"
    )


def _way_out(output: object, classes: int) -> str:
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    if len(shape) > 2 and all(side == 1 for side in shape[2:]):
        return "append .flatten(1) in its forward."
    if classes == 2 and isinstance(output, Tensor) and (len(shape) == 1 or shape[1:] == (1,)):
        return "a network of two classes with one logit z has the logits torch.stack([0 * z, z], 1)."
    if isinstance(output, tuple | list):
        return "wrap the model so that its forward returns just that, as in out[0] of a tuple."
    return "wrap the model so that its forward returns just that."


def scalar(name: str, logits: Tensor, y: Tensor) -> Tensor:
    """The scalar that is differentiated for `name`, (N, C) × (N,) to (N,).

    For `logp_y` and `loss` it is ± the log-odds, whose gradient is parallel to theirs.
    """
    if name == CALIBRATED:
        raise NumericsError(
            f"{name}: got it without a temperature, expected logp_y of TemperatureScaled(classifier, T); "
            "tangency.autodiff.fit_temperature fits T to validation images."
        )
    if name not in _SCALARS:
        raise NumericsError(unknown_name("scalar", name, SCALARS))
    return _SCALARS[name](check_logits(logits, len(y)), y)


def log_factor(name: str, logits: Tensor, y: Tensor) -> Tensor:
    """Natural log of (gradient of the named quantity) / (gradient of `scalar`), (N,): log(1 − p_y), or 0."""
    if name in LOG_ODDS_SCALARS:
        return F.logsigmoid(-log_odds(logits, y))
    return torch.zeros_like(logits[:, 0])
