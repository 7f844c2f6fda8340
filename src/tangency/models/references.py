"""Classifiers by reference: of our own, of other packages, of files that others wrote."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tangency.data.references import Reference, parse
from tangency.errors import DataError, ModelError, unknown_name
from tangency.models.class_map import OPTION, ClassMap, data_outputs, restricted, without_option
from tangency.models.classifier import Classifier
from tangency.models.feeding import Feeding, asked_feeding, settled
from tangency.models.foreign import adapted
from tangency.models.loaders import LOADERS, Opened, Request
from tangency.models.normalise import clearly_better, conventions, correct_under
from tangency.models.trusted import TRUSTED, may_run, open_robustbench
from tangency.models.weights import load_classifier
from tangency.seeding import permutation
from tangency.types import Card, Dataset

KINDS = (*LOADERS, "robustbench", *TRUSTED)
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".tar")
_TRIED_IMAGES = 1000


def load_model(
    reference: str,
    data: Dataset | None = None,
    device: torch.device | str = "cpu",
    trust_code: bool = False,
    class_map: ClassMap | None = None,
) -> Classifier:
    """A classifier by reference, in eval mode; what was found out about it stands in its card under "reading".

    Args:
        reference: "FILE.safetensors" of `save_classifier`; "state_dict:FILE?arch=…", "torchvision:NAME?weights=FILE",
            "timm:NAME?weights=FILE", "hf:DIR", "robustness:FILE?arch=…&dataset=cifar", "robustbench:NAME?weights=FILE",
            "onnx:FILE", and, running code, "py:MODULE:FUNCTION", "export:FILE", "torchscript:FILE". Options of all:
            shape=CxHxW, range=low,high, mean=…, std=… (numbers, none, imagenet, cifar10, …), classes=a,b,c, resize=HxW,
            layout=transposed (mirrored, flipped, rotated90, …: images are turned before the network), class-map=….
        data: what it is for; says shape and class names where nothing else does, and which normalisation is meant.
        device: where it is put; weights that lay on a GPU load on a CPU.
        trust_code: whether kinds that run code may.
        class_map: which of its outputs stand for the classes of the data, where these are a part of its classes and
            names do not tell: indices or names, one a class, a mapping from the data's names, "imagenet", "order", or a
            file; `?class-map=…` behind the reference says the same. The others are left out of the softmax.

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
    bare, asked = without_option(reference)
    class_map = class_map if asked is None else asked
    if bare.endswith(".safetensors") and parse(bare).kind not in KINDS:
        return restricted(load_classifier(bare, device, trust_code), data, class_map, reference)
    if class_map is not None and data is None:
        raise ModelError(
            f"{reference}: class-map is for data with other classes than the network's; name the data, too."
        )
    parsed = _parsed(reference)
    if class_map is not None:  # names are then not guessed from their number
        parsed = replace(parsed, options={**parsed.options, OPTION: str(class_map)})
    try:
        request = Request(parsed, asked_feeding(parsed), data)
        opened = _opened(request, trust_code)
        return _assembled(request, opened, class_map).to(device).eval()
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


def _assembled(request: Request, opened: Opened, class_map: ClassMap | None) -> Classifier:
    """The card decided, and the module behind a change of size and of the order of classes where they differ."""
    known = settled(request.asked.or_else(opened.feeding), request.reference, opened.outputs, request.data)
    order = None
    if request.data is not None and isinstance(known.classes, tuple):
        wanted = request.data.test.classes
        order, said = data_outputs(known.classes, wanted, class_map, request.reference.text)
        known = replace(known, classes=wanted, notes=(*known.notes, said)) if said else known
    extra: dict[str, Any] = {"resize": list(known.resize)} if known.resize else {}
    extra |= {"order": order} if order else {}
    extra |= {"logits": opened.outputs} if order and len(order) < opened.outputs else {}
    extra |= {"orientation": known.orientation} if known.orientation else {}
    module = adapted(opened.module, extra)
    known = _normalised(known, module.eval(), request)
    card = Card(
        architecture=opened.architecture,
        shape=known.shape or (0, 0, 0),
        classes=known.classes if isinstance(known.classes, tuple) else (),
        options={**opened.options, **extra},
        input_range=known.input_range or (0.0, 1.0),
        mean=known.mean or (),
        std=known.std or (),
        provenance=_provenance(request, opened, known),
    )
    return Classifier(module, card)


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
