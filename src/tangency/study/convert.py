"""Foreign models to safetensors with a card: score networks and classifiers alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tangency.data.references import parse
from tangency.errors import ModelError
from tangency.models import ARCHITECTURES, load_model, save_classifier
from tangency.models.foreign import is_foreign
from tangency.study.fit_network import convert_score
from tangency.tensors import read_tensors
from tangency.worlds import load_dataset

_SCORES = ("edm", "diffusers")


def is_score(source: str) -> bool:
    """Whether a reference names a score network in place of a classifier; a file of our own says so itself."""
    if source.endswith(".safetensors") and parse(source).kind == source:
        return "architecture" not in read_tensors(source)[1]
    return parse(source).kind in _SCORES or source.endswith(".pkl")


def convert_model(
    source: str, target: Path, *, half: bool = False, data: str | None = None, trust_code: bool = False
) -> dict[str, Any]:
    """Write a foreign score network or classifier as safetensors with its card, which is returned.

    Args:
        source: as `load_model` takes it; or edm:FILE.pkl, FILE.pkl or diffusers:DIR for scores.
        target: a .safetensors file.
        half: scores only: whether it is stored in half precision.
        data: reference of a data set that says shape, classes and normalisation where nothing else does.
        trust_code: whether kinds of models that run code may.

    Raises:
        ModelError: it cannot be read, or cannot be rebuilt without running code.
    """
    if is_score(source):
        return convert_score(source, target, half)
    if target.suffix != ".safetensors" or target.is_dir():
        raise ModelError(f"'{target}': expected the name of a file that ends in .safetensors.")
    if half:
        raise ModelError(f"'{source}': --half is for scores; a classifier keeps its precision.")
    classifier = load_model(source, load_dataset(data) if data else None, trust_code=trust_code)
    card = classifier.card
    if card.architecture not in ARCHITECTURES and not is_foreign(card.architecture):
        raise ModelError(
            f"'{source}': its network exists as code only, so no file could rebuild it without running that. Export it "
            "to ONNX (onnx:FILE converts), or give its weights as state_dict:FILE?arch=…."
        )
    save_classifier(classifier, target)
    return dataclasses.asdict(card)
