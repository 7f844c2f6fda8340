"""The input of a foreign network, from its reference, its files or the data; an error where none of these gives it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tangency.errors import ModelError, unknown_name
from tangency.models.class_names import own_order, plain
from tangency.models.orientation import ORIENTATIONS, Shape, composed, turned_sides
from tangency.references import Reference
from tangency.types import Dataset

OPTIONS = ("shape", "range", "mean", "std", "classes", "resize", "layout", "class-map", "outputs")
PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    # Of many training scripts for CIFAR-10, among them MadryLab/robustness; the std is a mean of the batches' own.
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
}


@dataclass(frozen=True)
class Feeding:
    """What is known of a network's input and classes; None for what is not known.

    Args:
        shape: (C, H, W) of the images that the classifier takes.
        native: (H, W) for which the network was made.
        input_range: its values of black and white.
        mean, std: per channel, in units of the range; () for no normalisation.
        classes: names, or their number.
        resize: (H, W) to which images are resized before the network.
        orientation: of `ORIENTATIONS`, how images are turned before that.
        notes: the source of each, in sentences.
    """

    shape: Shape | None = None
    native: tuple[int, int] | None = None
    input_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | int | None = None
    resize: tuple[int, int] | None = None
    orientation: str | None = None
    notes: tuple[str, ...] = field(default=())

    def or_else(self, other: Feeding) -> Feeding:
        """Itself, with unknown values taken from `other`; mean and std come from the same source."""
        both = self if self.mean is not None else replace(self, mean=other.mean, std=other.std)
        named = ("shape", "native", "input_range", "classes", "resize", "orientation")
        filled = {name: getattr(other, name) for name in named if getattr(both, name) is None}
        return replace(both, **filled, notes=both.notes + other.notes)


def requested_feeding(reference: Reference) -> Feeding:
    """The feeding that the options of a reference name.

    Example:
        >>> from tangency.references import parse
        >>> requested_feeding(parse("onnx:a.onnx?range=0,255&shape=1x28x28&classes=10")).input_range
        (0.0, 255.0)
    """
    options, text = reference.options, reference.text
    shape = _sizes(text, "shape", options.get("shape"), 3)
    mean, std = _normalisation(text, options.get("mean"), options.get("std"), shape)
    limits = _numbers(text, "range", options["range"]) if "range" in options else None
    if limits is not None and (len(limits) != 2 or not limits[0] < limits[1]):
        raise ModelError(f"{text}: range={options['range']}, expected low,high such as range=0,255.")
    resize = options.get("resize", "no")
    sides = None if resize == "no" else _sizes(text, "resize", resize if "x" in resize else f"{resize}x{resize}", 2)
    return Feeding(
        shape=None if shape is None else (shape[0], shape[1], shape[2]),
        input_range=None if limits is None else (limits[0], limits[1]),
        mean=mean,
        std=std,
        classes=_classes(text, options.get("classes")),
        resize=None if sides is None else (sides[0], sides[1]),
        orientation=_orientation(reference),
    )


def graph_layout(reference: Reference) -> str | None:
    """The part of the option `layout` that names the order of the axes of an ONNX graph; the rest turns images."""
    named = reference.options.get("layout")
    return ",".join(part for part in named.split(",") if part not in ORIENTATIONS) or None if named else None


def _orientation(reference: Reference) -> str | None:
    """The part of the option `layout` that turns images; several turns are done one after the other."""
    orientation = None
    for part in reference.options["layout"].split(",") if "layout" in reference.options else ():
        if part in ORIENTATIONS:
            orientation = composed(orientation, part)
        elif reference.kind != "onnx":
            raise ModelError(f"{reference.text}: {unknown_name('layout', part, ORIENTATIONS)}")
    return orientation


def _sizes(text: str, option: str, value: str | None, count: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != count or not all(part.isdecimal() and 0 < int(part) < 10**5 for part in parts):
        example = "3x32x32" if count == 3 else "224 or 224x224"
        raise ModelError(f"{text}: {option}={value}, expected positive whole numbers such as {option}={example}.")
    return tuple(map(int, parts))


def _numbers(text: str, option: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise ModelError(f"{text}: {option}={value}, expected numbers with commas between.")
    return numbers


def _normalisation(
    text: str, mean: str | None, std: str | None, shape: Sequence[int] | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if mean is None and std is None:
        return None, None
    if mean == "none" and std in (None, "none"):
        return (), ()
    if mean in PRESETS and std is None:
        return PRESETS[mean]
    if mean is None or std is None:
        given, other = ("mean", "std") if std is None else ("std", "mean")
        raise ModelError(
            f"{text}: {given} without {other}; give both, as in mean=.49,.48,.45&std=.25,.24,.26, or one of "
            f"{', '.join(f'mean={name}' for name in ('none', *PRESETS))}."
        )
    means, stds = _numbers(text, "mean", mean), _numbers(text, "std", std)
    channels = shape[0] if shape is not None else max(len(means), len(stds))
    return means * channels if len(means) == 1 else means, stds * channels if len(stds) == 1 else stds


def _classes(text: str, value: str | None) -> tuple[str, ...] | int | None:
    if value is None:
        return None
    if value.isdecimal():
        return int(value)
    if value.endswith(".txt"):
        path = Path(value).expanduser()
        if not path.is_file():
            raise ModelError(f"{text}: '{path}' is no file, expected the names of the classes, one a line.")
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(value.split(","))


def settled(known: Feeding, reference: Reference, outputs: int, data: Dataset | None) -> Feeding:
    """The feeding with shape, size and classes, which come from the data where nothing else says them.

    Args:
        known: of the reference and the files.
        reference: of the model, for errors.
        outputs: number of logits.
        data: on which it will be measured.

    Raises:
        ModelError: they are not known; the options that give them are named.
    """
    notes = list(known.notes)
    shape = known.shape or (data.test.shape if data is not None else None)
    if shape is None and known.native is not None:
        shape = (3, *turned_sides(known.native, known.orientation))
    if shape is None:
        raise no_shape(reference)
    resize, sides = known.resize, turned_sides(shape[1:], known.orientation)
    if resize is None and known.native not in (None, sides) and reference.options.get("resize") != "no":
        side = "x".join(map(str, known.native))
        raise ModelError(
            f"{reference.text}: made for images of {side} pixels, these have {sides[0]}x{sides[1]}. Add resize={side} "
            "to have them brought to that size (bilinear, part of the classifier, so gradients are those of the small "
            "images), or resize=no to feed them as they are."
        )
    if known.orientation is not None:
        notes.append(f"images are {known.orientation} before the network (?layout={known.orientation})")
    if resize is not None and resize != sides:
        notes.append(f"images of {sides[0]}x{sides[1]} are brought to {resize[0]}x{resize[1]} by bilinear resampling")
    classes, class_notes = _names(known.classes, outputs, reference, data)
    return replace(known, shape=shape, resize=resize, classes=classes, notes=(*notes, *class_notes))


def no_shape(reference: Reference) -> ModelError:
    """The error that the shape of the images is not known."""
    return ModelError(f"{reference.text}: nothing says what images it takes; give ?shape=3x32x32, or --data.")


def _names(
    known: tuple[str, ...] | int | None, outputs: int, reference: Reference, data: Dataset | None
) -> tuple[tuple[str, ...], list[str]]:
    count = known if isinstance(known, int) else outputs if known is None else len(known)
    if count != outputs:
        raise ModelError(f"{reference.text}: {count} classes were named, the network has {outputs} outputs.")
    if isinstance(known, tuple):
        if data is not None and tuple(map(plain, known)) == tuple(map(plain, data.test.classes)):
            return data.test.classes, []
        return known, []
    unsure = "class-map" in reference.options or (data is not None and own_order(data.test.classes, outputs))
    if data is not None and len(data.test.classes) == outputs and not unsure:
        return data.test.classes, ["class names are those of the data, in their order: nothing in the file names them"]
    return tuple(map(str, range(outputs))), ["classes are numbered: nothing in the file names them"]
