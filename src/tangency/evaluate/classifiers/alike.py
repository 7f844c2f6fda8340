"""Whether a classifier and its baseline are of one architecture, so that their difference can be one of training."""

from __future__ import annotations

from tangency.models import Classifier


def architecture_warnings(model: Classifier, baseline: Classifier) -> list[str]:
    """A sentence where the two differ in architecture: by name, options, or the shapes of their parameters."""
    if _architecture(model) == _architecture(baseline):
        return []
    return [
        f"The baseline has another architecture ({_name(baseline)}) than the model ({_name(model)}): what differs "
        "between them need not come from training."
    ]


def _architecture(model: Classifier) -> tuple[str, dict[str, object], list[tuple[int, ...]]]:
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    return model.card.architecture, model.card.options, shapes


def _name(model: Classifier) -> str:
    options = "".join(f", {name} {value}" for name, value in model.card.options.items())
    return f"{model.card.architecture}{options}, {sum(p.numel() for p in model.parameters()):,} parameters"
