"""What one asks for by name on the command line, as a configuration."""

from __future__ import annotations

import dataclasses

from tangency.measures.config import MeasureConfig, unique
from tangency.measures.keys import ALIGNMENT_CONTROLS
from tangency.measures.quantities import check_quantity

# The score that a scalar is an estimate of, so that it is compared with it where nothing else is said.
_NATURAL = {
    "logp_y": "bayes_gradient",
    "margin": "bayes_gradient",
    "loss": "bayes_gradient",
    "logit_y": "score_y",
    "logit_pred": "score_y",
    "sum_logits": "score",
    "lse": "score",
}


def asked_config(
    config: MeasureConfig,
    *,
    scalars: tuple[str, ...] = (),
    attributions: tuple[str, ...] = (),
    metrics: tuple[str, ...] = (),
    normalisations: tuple[str, ...] = (),
) -> MeasureConfig:
    """A configuration with quantities and metrics of one's own, and every control of every metric.

    Args:
        config: what is measured else.
        scalars: in place of the configuration's, each against its natural score: ∇ log p(x) for sum_logits and lse,
            ∇ log p(x|y) for logits, and the Bayes gradient for the others (for `loss` the cosine is then negative).
        attributions: methods, "smoothgrad" for that of logp_y, or quantities as "smoothgrad(logit_y)"; added.
        metrics: in place of the configuration's.
        normalisations: in place of the configuration's.

    Example:
        >>> asked_config(MeasureConfig(), scalars=("margin",), attributions=("smoothgrad",)).alignments
        (('margin', 'bayes_gradient'), ('smoothgrad(logp_y)', 'bayes_gradient'))
    """
    added = tuple(name if "(" in name else f"{name}(logp_y)" for name in attributions)
    for name in (*scalars, *added):
        check_quantity(name)
    tangent = scalars or config.tangent_scalars
    pairs = tuple((name, natural_target(name)) for name in scalars) or config.alignments
    return dataclasses.replace(
        config,
        tangent_scalars=unique([*tangent, *added]),
        alignments=tuple(dict.fromkeys([*pairs, *((name, natural_target(name)) for name in added)])),
        metrics=metrics or config.metrics,
        normalisations=normalisations or config.normalisations,
        network_controls=ALIGNMENT_CONTROLS,
    )


def natural_target(quantity: str) -> str:
    """The score that a scalar's gradient, or an attribution map of it, is compared with."""
    return _NATURAL[quantity.rpartition("(")[2].rstrip(")")]
