"""Classifiers by reference: of our own, of other packages, of files that others wrote."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.data.references import Reference, parse
from tangency.errors import DataError, ModelError, unknown_name
from tangency.models.classifier import Classifier
from tangency.models.feeding import Feeding, asked_feeding, plain, settled
from tangency.models.foreign import Adapted, adapted
from tangency.models.loaders import LOADERS, Opened, Request
from tangency.models.normalise import clearly_better, conventions, correct_under
from tangency.models.outputs import found_outputs, probes
from tangency.models.trusted import TRUSTED, may_run, open_robustbench
from tangency.models.weights import load_classifier
from tangency.seeding import permutation
from tangency.types import Card, Dataset

KINDS = (*LOADERS, "robustbench", *TRUSTED)
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".tar")
_TRIED_IMAGES = 1000


def load_model(
    reference: str, data: Dataset | None = None, device: torch.device | str = "cpu", trust_code: bool = False
) -> Classifier:
    """A classifier by reference, in eval mode; what was found out about it stands in its card under "reading".

    Args:
        reference: "FILE.safetensors" of `save_classifier`; "state_dict:FILE?arch=…", "torchvision:NAME?weights=FILE",
            "timm:NAME?weights=FILE", "hf:DIR", "robustness:FILE?arch=…&dataset=cifar", "robustbench:NAME?weights=FILE",
            "onnx:FILE", and, running code, "py:MODULE:FUNCTION", "export:FILE", "torchscript:FILE". Options of all:
            shape=CxHxW, range=low,high, mean=…, std=… (numbers, none, imagenet, cifar10, …), classes=a,b,c, resize=HxW,
            outputs=logits, softmax or sigmoid (what the network returns, where that cannot be told).
        data: what it is for; says shape and class names where nothing else does, and which normalisation is meant.
        device: where it is put; weights that lay on a GPU load on a CPU.
        trust_code: whether kinds that run code may.

    Raises:
        ModelError: the file cannot be read, does not fit, or something must be said that nothing says.

    Example:
        >>> from tangency.models import build, save_classifier
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(build("convnet", (1, 8, 8), 3), folder + "/net.safetensors")
        ...     load_model(folder + "/net.safetensors").classes
        3
    """
    if reference.endswith(".safetensors") and parse(reference).kind not in KINDS:
        return load_classifier(reference, device, trust_code)
    parsed = _parsed(reference)
    try:
        request = Request(parsed, asked_feeding(parsed), data)
        opened = _opened(request, trust_code)
        return _assembled(request, opened).to(device).eval()
    except DataError as error:
        raise ModelError(str(error)) from error


def _parsed(text: str) -> Reference:
    """The reference; a bare name of a checkpoint with options is one of kind state_dict."""
    parsed = parse(text)
    if parsed.kind in KINDS:
        return parsed
    name, _, query = text.partition("?")
    if ":" not in name and Path(name).suffix in _CHECKPOINTS:
        return replace(parse(f"state_dict:{name}?{query}" if query else f"state_dict:{name}"), text=text)
    known = [*(f"{kind}:…" for kind in KINDS), "run:RUN/trials/TRIAL", "FILE.safetensors"]
    raise ModelError(f"model: {unknown_name('model', text, known)}")


def _opened(request: Request, trust_code: bool) -> Opened:
    kind = request.reference.kind
    if not request.reference.location:
        raise ModelError(f"{request.reference.text}: nothing stands behind '{kind}:', expected a name or a file.")
    if kind == "robustbench":
        return open_robustbench(request, trust_code)
    if kind in TRUSTED:
        may_run(request.reference, trust_code)
        return TRUSTED[kind](request)
    return LOADERS[kind](request)


def _assembled(request: Request, opened: Opened) -> Classifier:
    """The card decided, and the module behind a change of size and of the order of classes where they differ."""
    known = settled(request.asked.or_else(opened.feeding), request.reference, opened.outputs, request.data)
    order = _order(known, request.data)
    if order is not None and request.data is not None:
        known = replace(
            known,
            classes=request.data.test.classes,
            notes=(*known.notes, "its classes stand in another order than the data's; logits are brought to theirs"),
        )
    extra: dict[str, Any] = {"resize": list(known.resize)} if known.resize else {}
    extra |= {"order": order} if order else {}
    plain = Adapted(opened.module, extra.get("resize"), extra.get("order"), "logits")
    known = _normalised(known, plain.eval(), request)
    card = Card(
        architecture=opened.architecture,
        shape=known.shape or (0, 0, 0),
        classes=known.classes if isinstance(known.classes, tuple) else (),
        options={**opened.options, **extra},
        input_range=known.input_range or (0.0, 1.0),
        mean=known.mean or (),
        std=known.std or (),
    )
    own, said = _outputs(Classifier(Adapted(opened.module, extra.get("resize")), card), opened, request)
    known = replace(known, notes=(*known.notes, *said))
    card = dataclasses.replace(card, options={**card.options, **own}, provenance=_provenance(request, opened, known))
    return Classifier(adapted(opened.module, {**extra, **own}), card)


def _outputs(classifier: Classifier, opened: Opened, request: Request) -> tuple[dict[str, object], list[str]]:
    """What the network returns, as an option of its card and in a sentence, where it is not plainly logits."""
    asked = request.reference.options.get("outputs")
    by_name = opened.architecture not in ("custom", "onnx")  # all of whose networks return logits
    if opened.settled or (by_name and asked is None):
        return {}, []
    x = probes(request.data.train if request.data is not None else None, classifier.card.shape)
    scale, shift, text = classifier.scale, classifier.shift, request.reference.text
    kind, said = found_outputs(
        lambda images: classifier.module.eval()(images * scale + shift),
        x,
        asked,
        text,
        "?outputs=logits or ?outputs=sigmoid behind its reference",
    )
    return {"outputs": kind} if said else {}, said


def _order(known: Feeding, data: Dataset | None) -> list[int] | None:
    """Logits in the data's order, where both name the same classes in different orders."""
    if data is None or not isinstance(known.classes, tuple):
        return None
    own, wanted = list(map(plain, known.classes)), list(map(plain, data.test.classes))
    if own == wanted or sorted(own) != sorted(wanted) or len(set(own)) < len(own):
        return None
    return [own.index(name) for name in wanted]


def _normalised(known: Feeding, module: nn.Module, request: Request) -> Feeding:
    """Range, mean and std decided: known, or the one under which training images are classified best."""
    if known.mean is not None:
        if known.input_range is not None:
            return known
        bytes_meant = max((*known.mean, *(known.std or ()), 0.0)) > 1.5
        limits = (0.0, 255.0) if bytes_meant else (0.0, 1.0)
        said = f"range [{limits[0]:g}, {limits[1]:g}], as its mean and std suggest" if known.mean else "range [0, 1]"
        return replace(known, input_range=limits, notes=(*known.notes, said))
    if known.input_range is not None:
        return replace(known, mean=(), std=(), notes=(*known.notes, "no mean and std, as none are named"))
    ask = (
        f"{request.reference.text}: nothing says how its images are normalised. Give ?range=0,1&mean=none for plain "
        "images in [0, 1], range=-1,1 or range=0,255 for others, or mean=…&std=… (numbers, or mean=imagenet, "
        "mean=cifar10, …)"
    )
    if request.data is None:
        raise ModelError(f"{ask}; with --data it is found from the training images.")
    return _found_normalisation(known, module, request.data, ask)


def _found_normalisation(known: Feeding, module: nn.Module, data: Dataset, ask: str) -> Feeding:
    """The usual convention that classifies training images clearly better than each other one."""
    chosen = permutation(len(data.train), 0, "normalisation")[:_TRIED_IMAGES]
    tried = conventions(data.train)
    right = correct_under(module, tried, data.train.images(chosen), data.train.labels[chosen])
    shares = right.double().mean(1)
    best = int(shares.argmax())
    rivals = [i for i in range(len(tried)) if i != best and not clearly_better(right[best], right[i])]
    table = ", ".join(f"{c.name} {share:.1%}" for c, share in zip(tried, shares.tolist(), strict=True))
    chance = float(data.train.class_counts.max()) / len(data.train)
    if rivals or float(shares[best]) < 1.5 * chance:
        raise ModelError(f"{ask}; {len(chosen)} training images do not decide it: accuracy with {table}.")
    said = f"normalisation found from {len(chosen)} training images: {tried[best].name} (accuracy with {table})"
    found = tried[best]
    return replace(known, input_range=found.input_range, mean=found.mean, std=found.std, notes=(*known.notes, said))


def _provenance(request: Request, opened: Opened, known: Feeding) -> dict[str, object]:
    found: dict[str, object] = {"source": request.reference.text, "reading": list(known.notes)}
    if opened.file is not None:
        with open(opened.file, "rb") as handle:
            found |= {"file": opened.file.name, "sha256": hashlib.file_digest(handle, "sha256").hexdigest()}
    if request.data is not None:
        found["data"] = request.data.name
    return found
