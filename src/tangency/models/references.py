"""Classifiers by reference: of our own, of other packages, of files that others wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from tangency.errors import DataError, ModelError, unknown_name
from tangency.models.class_map import OPTION, ClassMap, data_outputs, restricted, without_option
from tangency.models.classifier import Classifier
from tangency.models.foreign.deciding import Decided, decided
from tangency.models.foreign.feeding import Feeding, requested_feeding, settled
from tangency.models.foreign.loaders import LOADERS
from tangency.models.foreign.opening import Opened, Request
from tangency.models.foreign.rebuilt import adapted
from tangency.models.foreign.shards import content_hash
from tangency.models.foreign.trusted import TRUSTED, may_run, open_own_class, open_robustbench, runs_own_class
from tangency.models.outputs import detected_outputs, probes
from tangency.models.weights import read_classifier
from tangency.references import Reference, parse
from tangency.types import Card, Dataset

KINDS = (*LOADERS.own, "robustbench", *TRUSTED)  # of our own
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".tar")


def load_model(
    reference: str,
    data: Dataset | None = None,
    device: torch.device | str = "cpu",
    trust_code: bool = False,
    class_map: ClassMap | None = None,
) -> Classifier:
    """A classifier by reference, in eval mode; how it was read is in its card under "reading".

    Args:
        reference: "FILE.safetensors" of `save_classifier`; "state_dict:FILE?arch=…", "torchvision:NAME?weights=FILE",
            "timm:NAME?weights=FILE", "timm:DIR", "hf:DIR", "robustness:FILE?arch=…&dataset=cifar",
            "robustbench:NAME?weights=FILE", "onnx:FILE", and, running code, "py:MODULE:FUNCTION",
            "state_dict:FILE?arch=py:MODULE:CLASS", "export:FILE", "torchscript:FILE"; "package/name:…" of another
            package. Options of all: shape=CxHxW, range=low,high, mean=…, std=… (numbers, none, imagenet, cifar10, …),
            classes=a,b,c, resize=HxW, layout=transposed (mirrored, flipped, rotated90, …: images are turned before the
            network), class-map=…, outputs=logits, softmax or sigmoid (what the network returns, where that is not
            clear).
        data: on which it will be used; gives shape and class names where nothing else does, and decides the
            normalisation.
        device: of the result; weights that lay on a GPU load on a CPU.
        trust_code: whether kinds that run code may do so.
        class_map: which of its outputs stand for the classes of the data, where these are a part of its classes and
            their names do not match: indices or names, one per class, a mapping from the data's names, "imagenet",
            "order", or a file; same as `?class-map=…` behind the reference. Other outputs are left out of the softmax.

    Raises:
        ModelError: the file cannot be read or does not fit, or an option is missing that nothing else implies.

    Example:
        >>> from tangency.models import build, save_classifier
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(build("convnet", (1, 8, 8), 3), folder + "/net.safetensors")
        ...     load_model(folder + "/net.safetensors").classes
        3
    """
    bare, own_map = without_option(reference)
    class_map = class_map if own_map is None else own_map
    if bare.endswith(".safetensors") and not is_kind(parse(bare).kind):
        return restricted(read_classifier(bare, device, trust_code), data, class_map, reference)
    if class_map is not None and data is None:
        raise ModelError(
            f"{reference}: class-map is for data with other classes than the network's; name the data, too."
        )
    parsed = _parsed(reference)
    if class_map is not None:  # names are then not guessed from their number
        parsed = replace(parsed, options={**parsed.options, OPTION: str(class_map)})
    try:
        request = Request(parsed, requested_feeding(parsed), data)
        opened = _opened(request, trust_code)
        return _assembled(request, opened, class_map).to(device).eval()
    except DataError as error:
        raise ModelError(str(error)) from error


def is_kind(name: str) -> bool:
    """Whether a name is a kind of reference to a classifier."""
    return name in KINDS or name in LOADERS


def _parsed(text: str) -> Reference:
    """The reference; a bare name of a checkpoint with options is one of kind state_dict."""
    parsed = parse(text)
    if is_kind(parsed.kind):
        return parsed
    name, _, query = text.partition("?")
    if ":" not in name and Path(name).suffix in _CHECKPOINTS:
        return replace(parse(f"state_dict:{name}?{query}" if query else f"state_dict:{name}"), text=text)
    outside = (kind for kind in LOADERS if kind not in LOADERS.own)
    known = [*(f"{kind}:…" for kind in (*KINDS, *outside)), "run:RUN/trials/TRIAL", "FILE.safetensors"]
    raise ModelError(f"model: {unknown_name('model', text, known)}")


def _opened(request: Request, trust_code: bool) -> Opened:
    kind = request.reference.kind
    if not request.reference.location:
        raise ModelError(f"{request.reference.text}: nothing stands behind '{kind}:', expected a name or a file.")
    if kind == "robustbench":
        return open_robustbench(request, trust_code)
    if runs_own_class(request.reference):
        may_run(request.reference, trust_code)
        return open_own_class(request)
    if kind in TRUSTED:
        may_run(request.reference, trust_code)
        return TRUSTED[kind](request)
    opened = LOADERS[kind](request)
    if kind not in LOADERS.own and not isinstance(cast(object, opened), Opened):
        raise ModelError(
            f"{request.reference.text}: made an object of type {type(opened).__name__}, expected an Opened."
        )
    return opened


def _assembled(request: Request, opened: Opened, class_map: ClassMap | None) -> Classifier:
    """The card decided, and the module with its adaptations."""
    known = settled(request.requested.or_else(opened.feeding), request.reference, opened.outputs, request.data)
    order = None
    if request.data is not None and isinstance(known.classes, tuple):
        wanted = request.data.test.classes
        order, note = data_outputs(known.classes, wanted, class_map, request.reference.text)
        known = replace(known, classes=wanted, notes=(*known.notes, note)) if note else known
    extra: dict[str, object] = {"resize": list(known.resize)} if known.resize else {}
    extra |= {"order": order} if order else {}
    extra |= {"logits": opened.outputs} if order and len(order) < opened.outputs else {}
    extra |= {"orientation": known.orientation} if known.orientation else {}
    try:
        likely = _outputs(_bare(known, opened, extra), opened, request)[0]
    except ModelError:  # raised again below, once range and normalisation are decided
        likely = {}
    wrapped = {**extra, "outputs": "logits", **likely}
    decision = decided(known, opened, request, lambda module: adapted(module, wrapped))
    opened, known = decision.opened, decision.known
    bare = _bare(known, opened, extra)
    own, notes = _outputs(bare, opened, request)
    decision = replace(decision, known=replace(known, notes=(*known.notes, *notes)))
    card = replace(bare.card, options={**bare.card.options, **own}, provenance=_provenance(request, decision))
    return Classifier(adapted(opened.module, {**extra, **own}), card)


def _bare(known: Feeding, opened: Opened, extra: Mapping[str, object]) -> Classifier:
    """The network with changes of its images only, fed as is known so far."""
    card = Card(
        architecture=opened.architecture,
        shape=known.shape or (0, 0, 0),
        classes=known.classes if isinstance(known.classes, tuple) else (),
        options={**opened.options, **extra},
        input_range=known.input_range or (0.0, 1.0),
        mean=known.mean or (),
        std=known.std or (),
    )
    turned = {name: value for name, value in extra.items() if name in ("resize", "orientation")}
    return Classifier(adapted(opened.module, turned), card)


def _outputs(classifier: Classifier, opened: Opened, request: Request) -> tuple[dict[str, object], list[str]]:
    """The option `outputs` of its card, and a sentence, where the network does not plainly return logits."""
    requested = request.reference.options.get("outputs")
    by_name = opened.architecture not in ("custom", "onnx")  # networks of known architectures return logits
    if opened.settled or (by_name and requested is None):
        return {}, []
    x = probes(request.data.train if request.data is not None else None, classifier.card.shape)
    module, scale, shift = classifier.module.eval(), classifier.scale, classifier.shift
    way = "?outputs=logits or ?outputs=sigmoid after its reference"
    kind, notes = detected_outputs(
        lambda images: module(images * scale + shift), x, requested, request.reference.text, way
    )
    return {"outputs": kind} if notes else {}, notes


def _provenance(request: Request, decision: Decided) -> dict[str, object]:
    reading, opened, kind = [*decision.known.notes, *decision.warnings], decision.opened, request.reference.kind
    provenance: dict[str, object] = {"source": request.reference.text, "reading": reading}
    if decision.warnings:
        provenance["warnings"] = list(decision.warnings)
    if opened.file is not None:
        provenance |= {"file": opened.file.name, "sha256": content_hash(opened.file, *opened.beside)}
    if origin := LOADERS.origin(kind) if kind in LOADERS else "":
        provenance["loader"] = origin
    if request.data is not None:
        provenance["data"] = request.data.name
    return provenance
