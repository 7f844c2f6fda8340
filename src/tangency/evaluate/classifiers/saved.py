"""Classifiers by reference, and whether they fit the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tangency.data.registry import KINDS as KINDS_OF_DATA
from tangency.devices import resolve_device
from tangency.errors import ModelError, listed
from tangency.evaluate.classifiers.origin import Origin, saved_model
from tangency.models import Averaged, Classifier, load_model, probes
from tangency.models.class_map import ClassMap, noted, restricted, same_names, unmapped, with_option, without_option
from tangency.models.class_names import plain
from tangency.models.independence import DRAWS, averaged_note, check_independent
from tangency.models.references import is_kind
from tangency.references import OPENERS, as_reference, parse
from tangency.types import Card, Dataset
from tangency.worlds import load_dataset


@dataclass(frozen=True)
class SavedClassifier:
    """A classifier with its reference, and the setting of the study that trained it, where there is one."""

    reference: str
    classifier: Classifier
    origin: Origin | None = None


def find_mapped(
    reference: str, device: str, data: Dataset | None, trust_code: bool = False, class_map: str | None = None
) -> SavedClassifier:
    """As `find_classifier`, with a class map for a model that has none of its own and needs one.

    Our own files that have the data's classes stay unchanged: a map was applied when they were written, or none was
    needed. Others get it as the option `class-map`.
    """
    bare, own = without_option(reference)
    if class_map is None or own is not None:
        return find_classifier(reference, device, data, trust_code)
    kind, colon, _ = bare.partition(":")
    ours = (bool(colon) and kind in OPENERS) or (bare.endswith(".safetensors") and not is_kind(parse(bare).kind))
    if ours and data is not None:
        saved = find_classifier(reference, device, trust_code=trust_code)
        if same_names(saved.classifier.card.classes, data.test.classes):
            return replace(saved, classifier=unmapped(saved.classifier, data, class_map, f"model '{reference}'"))
    return find_classifier(with_option(reference, class_map), device, data, trust_code)


def load_classifier(
    reference: str | Path,
    data: Dataset | str | Path | None = None,
    *,
    device: str = "cpu",
    trust_code: bool = False,
    class_map: ClassMap | None = None,
) -> Classifier:
    """A classifier by reference, of every kind, in eval mode: f with logits f(x) ∈ R^classes for images x in [0, 1].

    How it was read (range and normalisation of its images, order of its classes) stands in
    `classifier.card.provenance["reading"]`, in sentences.

    Args:
        reference: "FILE.safetensors" of `save_classifier`; "run:RUN/trials/TRIAL" of a study (id or hash);
            "state_dict:FILE?arch=…", "torchvision:NAME?weights=FILE", "timm:NAME?weights=FILE", "timm:DIR", "hf:DIR",
            "robustness:FILE?arch=…&dataset=cifar", "robustbench:NAME?weights=FILE", "onnx:FILE", and, running code,
            "py:MODULE:FUNCTION", "state_dict:FILE?arch=py:MODULE:CLASS", "export:FILE", "torchscript:FILE". Their
            options (shape=, range=, mean=, std=, classes=, resize=, layout=, outputs=) are those of
            `tangency.models.load_model`.
        data: on which it will be used, or its reference as for `load_data`; gives shape and class names where nothing
            else does, and decides the normalisation.
        device: of the result: "auto", "cpu", "cuda" or "cuda:N".
        trust_code: whether kinds that run code may do so.
        class_map: which of its outputs stand for the classes of `data`, where these are a part of its classes and their
            names do not match: indices or names, one per class, a mapping from the data's names, "imagenet", "order",
            or a file; `?class-map=…` behind the reference says the same, and wins where both are given.

    Returns:
        A `Classifier`, a module from (N, C, H, W) to (N, classes) logits.

    Raises:
        ModelError: an unknown kind, a file that cannot be read or does not fit, a missing option that nothing else
            implies, or a trial that does not exist or is not trained.
        RunError: "run:" of a folder that is no run of a study.
        SpecError: a device that does not exist.

    Example:
        >>> import tempfile
        >>> from tangency.models import build, save_classifier
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_classifier(build("convnet", (1, 8, 8), 3), folder + "/net.safetensors")
        ...     model = load_classifier(folder + "/net.safetensors")
        >>> model.classes, tuple(model.card.shape), model.training
        (3, (1, 8, 8), False)
    """
    loaded = load_dataset(data) if isinstance(data, str | Path) else data
    return find_classifier(str(reference), resolve_device(device), loaded, trust_code, class_map).classifier


def find_classifier(
    reference: str,
    device: str,
    data: Dataset | None = None,
    trust_code: bool = False,
    class_map: ClassMap | None = None,
) -> SavedClassifier:
    """The classifier behind a reference of `load_classifier`, with its origin."""
    bare, own = without_option(reference)
    class_map = class_map if own is None else own
    saved = saved_model(bare, reference)
    if saved is None:
        return SavedClassifier(reference, load_model(reference, data, device, trust_code, class_map))
    classifier, origin = saved.classifier(device)
    return SavedClassifier(reference, restricted(classifier, data, class_map, reference), origin)


def independent(saved: SavedClassifier, data: Dataset, way: str = "", allow_random: bool = False) -> SavedClassifier:
    """The same, after a test that its logits of an image depend on that image alone; a random one is averaged.

    Networks of a study are ours, with running statistics and without chance in eval mode, and are not tested. The test
    uses always the same training images and noise.

    Args:
        saved: of `find_classifier`.
        data: whose training images are used.
        way: how a caller allows random networks, for errors; empty where they cannot be allowed.
        allow_random: whether a random network is averaged.

    Raises:
        ModelError: it depends on the batch, or on chance where `allow_random` is false.
    """
    classifier = saved.classifier
    if saved.origin is not None:
        return saved
    images = probes(data.train, classifier.card.shape, classifier.scale.device).flip(0)  # noise last
    name = f"model '{saved.reference}'"
    if not check_independent(classifier, images, name, way, allow_random):
        return saved
    card = classifier.card
    card = replace(noted(card, averaged_note()), options={**card.options, "passes": DRAWS})
    mean = Classifier(Averaged(classifier.module), card).to(classifier.scale.device).eval()
    check_independent(mean, images, name, way)
    return replace(saved, classifier=mean)


def check_fits(card: Card, data: Dataset, what: str, reference: str = "") -> None:
    """Raise where a label of the data would mean another class to the classifier; `reference` is that of the data."""
    if card.shape != data.test.shape:
        colours = card.shape[0] != data.test.shape[0]
        raise ModelError(
            f"{what}: takes images of shape {card.shape}, '{data.name}' has {data.test.shape}; "
            + ("grey images do not fit a network for colour, nor colour one for grey: " if colours else "")
            + "choose data of the classifier's size, or a classifier trained on these."
        )
    if len(data.test.classes) < 2:
        kind = parse(as_reference(reference)).kind if reference else ""
        naming = (
            ", or, where these are a part of the network's classes, name them all with ?classes=a,b,c behind the "
            "reference of the data"
        ) * (kind in KINDS_OF_DATA and "classes" in KINDS_OF_DATA[kind].options)
        raise ModelError(
            f"{what}: '{data.name}' has one class, '{data.test.classes[0]}', expected at least 2: log p(y|x), "
            f"margins and accuracy are about one class against others. Add images of another class{naming}."
        )
    if card.classes != data.test.classes:
        if len(data.test.classes) == len(card.classes) + 1 and not int(data.train.class_counts[0]):
            raise ModelError(
                f"{what}: has {len(card.classes)} classes, the labels of '{data.name}' go from 1 to "
                f"{len(card.classes)} and none is 0: likely labels that are off by one. Take 1 off them: classes are "
                "counted from 0."
            )
        own = {plain(name) for name in card.classes}
        foreign = [name for name in data.test.classes if plain(name) not in own]
        lacking = f", of which {len(foreign)} are none of its ({listed(foreign)})" if foreign else ""
        raise ModelError(
            f"{what}: its {len(card.classes)} classes are {listed(card.classes)}, the {len(data.test.classes)} of "
            f"'{data.name}' are {listed(data.test.classes)}{lacking}; expected the same in the same order. Where only "
            "the names differ, name them with ?classes=a,b,c behind the reference of the model, or of parquet: or npz: "
            "data; where the data have some of its classes, say which outputs they are with --class-map (?class-map=…)."
        )
