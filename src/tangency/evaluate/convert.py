"""Foreign models to safetensors with a card: score networks and classifiers alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.errors import ModelError
from tangency.evaluate.fitting.network import convert_score
from tangency.models import ARCHITECTURES, Classifier, load_model, save_classifier
from tangency.models.foreign.code import from_code, is_code
from tangency.models.foreign.programs import TorchProgram, packed
from tangency.models.foreign.rebuilt import Adapted, is_foreign
from tangency.models.weights import fill
from tangency.references import Reference, parse
from tangency.tensors import read_tensors
from tangency.worlds import load_dataset

_SCORES = ("edm", "diffusers", "k-diffusion")
_TOLERANCE = 1e-5


def is_score(source: str) -> bool:
    """Whether a reference names a score network in place of a classifier; a file of our own says so itself."""
    if source.endswith(".safetensors") and parse(source).kind == source:
        return "architecture" not in read_tensors(source)[1]
    return parse(source).kind in _SCORES or source.endswith(".pkl")


def convert_model(
    source: str | Path, target: str | Path, *, half: bool = False, data: str | None = None, trust_code: bool = False
) -> dict[str, Any]:
    """Write a foreign score network or classifier as safetensors with its card, which is returned.

    Of a network that exists as code only, the file holds the weights, and the graph of a program or the reference and
    the hash of a Python function; it is loaded with `trust_code` only.

    Args:
        source: as `load_model` takes it; or edm:FILE.pkl, FILE.pkl, diffusers:DIR or
            k-diffusion:FILE.safetensors for scores.
        target: a .safetensors file.
        half: scores only: whether it is stored in half precision.
        data: reference of a data set that says shape, classes and normalisation where nothing else does.
        trust_code: whether kinds of models that run code may.

    Raises:
        ModelError: it cannot be read, or cannot be rebuilt.
    """
    source, target = str(source), Path(target)
    if is_score(source):
        return convert_score(source, target, half)
    if target.suffix != ".safetensors" or target.is_dir():
        raise ModelError(f"'{target}': expected the name of a file that ends in .safetensors.")
    if target.exists() and any(Path(part).exists() and target.samefile(part) for part in _files(source)):
        raise ModelError(f"'{target}': is the file that is converted, expected another name.")
    if half:
        raise ModelError(f"'{source}': --half is for scores; a classifier keeps its precision.")
    classifier = load_model(source, load_dataset(data) if data else None, trust_code=trust_code)
    known = classifier.card.architecture
    if known not in ARCHITECTURES and not is_foreign(known) and not is_code(known):
        classifier = _with_code(classifier, parse(source))
    save_classifier(classifier, target)
    return dataclasses.asdict(classifier.card)


def _files(source: str) -> tuple[str, str]:
    """What a reference may name as a file: all but its options, with and without its kind."""
    body = source.partition("?")[0]
    return body, body.partition(":")[2] or body


def _with_code(classifier: Classifier, source: Reference) -> Classifier:
    """The classifier with a card that says what code rebuilds it, tried out: rebuilt, it must give the same logits."""
    module = classifier.module.net if isinstance(classifier.module, Adapted) else classifier.module
    architecture = f"py:{source.location}" if source.kind == "py" else source.options.get("arch", source.kind)
    if not is_code(architecture):
        raise ModelError(
            f"'{source.text}': its network exists as code of another package only, so no file of ours could rebuild "
            f"it. Give its weights as {source.kind}:NAME?weights=FILE or state_dict:FILE?arch=…, or export it to ONNX."
        )
    if isinstance(module, TorchProgram):
        module.program = packed(source.kind, source.path(None))
    ours = Classifier(classifier.module, dataclasses.replace(classifier.card, architecture=architecture))
    state = {name: value for name, value in ours.module.state_dict().items() if isinstance(value, Tensor)}
    rebuilt = from_code(ours.card, state, source.text)
    fill(rebuilt.module, state, source.text)
    apart = _difference(ours.eval(), rebuilt.eval(), source.text)
    if not apart <= _TOLERANCE:
        raise ModelError(
            f"'{source.text}': rebuilt from its code and weights it gives other logits (by {apart:.2g} of the "
            "largest), so it keeps something that is not in its state_dict. Register that as a parameter or a buffer."
        )
    return ours


def _difference(a: Classifier, b: Classifier, text: str) -> float:
    """Largest difference of logits of random images, relative to the largest logit or 1."""
    x = torch.rand(3, *a.card.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = a(x), b(x)
    if not wanted.isfinite().all():
        raise ModelError(f"'{text}': its logits of random images in [0, 1] are NaN or infinite; nothing was written.")
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1))
