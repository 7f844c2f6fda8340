"""Data types that the rooms exchange: frozen dataclasses, with shapes and units in the docstrings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from tangency.errors import DataError, NumericsError
from tangency.notebook import card, strip

# A noise level in [0, 1] pixel units, or one for each image, (N,).
Sigma = float | Tensor
# Called with what is being done and the share of it that is done, in [0, 1].
OnProgress = Callable[[str, float], None]
_CHANNELS = (1, 2, 3, 4)
_SHOWN, _NAMED = 12, 10  # images and classes that a notebook shows


@dataclass(frozen=True)
class LabelledImages:
    """Images with labels, held as bytes where the source is bytes.

    Args:
        pixels: (N, C, H, W), uint8 in [0, 255] or float32 in [0, 1].
        labels: (N,) int64 in [0, len(classes)).
        classes: names, index = label.
        name: the reference it was loaded from.
        digest: SHA-256 of pixels, labels and classes, so that results can name their data.
        signal: (N, H, W) bool, the pixels that hold the class; None where that is not known.
        unit_range: whether pixels are confined to [0, 1]; samples of a world are not, as clipping would change their
            law.
        drawn: from indices (n,) to images (n, C, H, W), for images that are drawn again whenever they are used;
            `pixels` is then (0, C, H, W).
        notes: decisions made in reading them, in sentences.

    Raises:
        DataError: pixels that are not (N, C, H, W), or look like (N, H, W, C).

    Example:
        >>> data = LabelledImages(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]), ("cat", "dog"))
        >>> data, data.images(slice(0, 3)).shape
        (LabelledImages('tensors': 4 images of 1×2×2, 2 classes), torch.Size([3, 1, 2, 2]))
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "tensors"
    digest: str = ""
    signal: Tensor | None = None
    unit_range: bool = True
    drawn: Callable[[Tensor], Tensor] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        got = tuple(self.pixels.shape)
        if len(got) != 4:
            hint = "pixels[:, None] adds the axis of channels." if len(got) == 3 else "Reshape them."
            raise DataError(f"{self.name}: pixels of shape {got}, expected (N, C, H, W). {hint}")
        if self.unit_range and got[1] not in _CHANNELS and got[3] in (1, 3):
            raise DataError(
                f"{self.name}: pixels of shape {got} look like (N, H, W, C), expected (N, C, H, W); "
                "pixels.permute(0, 3, 1, 2) brings the channels forward."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"LabelledImages('{self.name}': {len(self)} images of {shape}, {len(self.classes)} classes)"

    def _repr_html_(self) -> str:
        """A few of the images, the first of each class before others, and what is known of all."""
        chosen = self._first_of_each(_SHOWN)
        pictures = strip(self.images(chosen).float().cpu().numpy(), [self.classes[int(y)] for y in self.labels[chosen]])
        names = ", ".join(self.classes[:_NAMED]) + (", …" if len(self.classes) > _NAMED else "")
        counts = self.class_counts
        facts = {
            "images": f"{len(self)} of {'×'.join(map(str, self.shape))}, {self._range}",
            "classes": f"{len(self.classes)}: {names}",
            "of each class": f"{int(counts.min())} to {int(counts.max())}" if len(counts) else "",
            "signal": "" if self.signal is None else "the pixels that hold the class are known",
            "digest": self.digest[:16],
            "notes": " ".join(self.notes),
        }
        return card(f"Labelled images: {self.name}", facts, pictures)

    @property
    def _range(self) -> str:
        """How pixels are held, and their range."""
        if self.drawn is not None:
            return "drawn again whenever they are used"
        if not self.pixels.numel():
            return str(self.pixels.dtype).removeprefix("torch.")
        low, high = (float(end) for end in self.pixels.aminmax())
        return f"{str(self.pixels.dtype).removeprefix('torch.')} from {low:.3g} to {high:.3g}"

    def _first_of_each(self, count: int) -> Tensor:
        """Indices of so many images: the first of each class, then the second of each."""
        labels = self.labels.cpu()
        order = labels.argsort(stable=True)
        places = torch.arange(len(order)) - torch.searchsorted(labels[order].contiguous(), labels[order])
        return order[places.argsort(stable=True)][:count]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def images(self, index: Tensor | slice | None = None) -> Tensor:
        """The chosen images as float32 in [0, 1], shape (n, C, H, W)."""
        if self.drawn is not None:
            return self.drawn(torch.arange(len(self))[slice(None) if index is None else index])
        chosen = self.pixels if index is None else self.pixels[index]
        return chosen.to(torch.float32) / 255 if chosen.dtype == torch.uint8 else chosen

    def subset(self, index: Tensor | slice) -> LabelledImages:
        """The chosen images, with the name and classes of the whole and a digest of its own."""
        chosen = torch.arange(len(self))[index]
        digest = hashlib.sha256(f"{self.digest} {chosen.tolist()}".encode()).hexdigest()
        signal = None if self.signal is None else self.signal[index]
        pixels = self.pixels[index] if self.drawn is None else self.drawn(chosen)
        return dataclasses.replace(
            self, pixels=pixels, labels=self.labels[index], digest=digest, signal=signal, drawn=None
        )

    @cached_property
    def class_counts(self) -> Tensor:
        """(classes,) int64, how many images each class has."""
        return torch.bincount(self.labels, minlength=len(self.classes))


@dataclass(frozen=True)
class Dataset:
    """A training and a test split of the same classes and image shape; notes are decisions made in reading them.

    A study may keep training images for what its objectives are given, `guide`; they are not among `train` then.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    licence: str = ""
    notes: tuple[str, ...] = ()
    guide: LabelledImages | None = None

    def _repr_html_(self) -> str:
        """The splits below each other, after licence and notes."""
        facts = {"licence": self.licence, "notes": " ".join(self.notes)}
        parts = {"training": self.train, "guide": self.guide, "test": self.test}
        shown = (card(name, {}) + part._repr_html_() for name, part in parts.items() if part is not None)
        return card(f"Data set: {self.name}", facts) + "".join(shown)


@dataclass(frozen=True)
class Direction:
    """A gradient as direction and log magnitude, so that a magnitude of 1e-30 loses nothing.

    Args:
        direction: (N, C, H, W), parallel to the gradient, of any positive length; zero where it has none.
        log_norm: (N,) natural logarithm of the true l2 norm of the gradient, per unit of pixel range [0, 1].
    """

    direction: Tensor
    log_norm: Tensor


@dataclass(frozen=True)
class Card:
    """What travels with weights: how to feed the network, and where it comes from.

    Args:
        architecture: registered name of the architecture ("convnet", "resnet18"), or "custom".
        options: keyword arguments that rebuild the module.
        shape: (C, H, W) of its input.
        input_range: range of the images that the module expects after the classifier's own scaling.
        mean, std: per-channel normalisation applied to images already in `input_range`.
        classes: names, index = logit.
        provenance: data digest, objective, strength, seed, versions, hashes; anything JSON can hold.
    """

    architecture: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)
    input_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)


def check_images(x: Tensor, what: str = "images", unit_range: bool = True) -> None:
    """Raise unless x is a floating (N, C, H, W) tensor, finite and (with `unit_range`) in [0, 1]."""
    if x.dim() != 4:
        raise NumericsError(f"{what}: got shape {tuple(x.shape)}, expected (N, C, H, W); x[None] adds a batch axis.")
    if not x.is_floating_point():
        raise NumericsError(f"{what}: got {x.dtype}, expected floating point in [0, 1]; divide bytes by 255.")
    if not bool(torch.isfinite(x).all()):
        bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten()[:5].tolist()
        raise NumericsError(f"{what}: NaN or infinite pixels in images {bad}; remove or repair them.")
    if unit_range and x.numel() and (float(x.min()) < -1e-6 or float(x.max()) > 1 + 1e-6):
        raise NumericsError(
            f"{what}: values in [{float(x.min()):.3g}, {float(x.max()):.3g}], expected [0, 1]. "
            f"{_likely_range(float(x.min()), float(x.max()))}"
        )


def _likely_range(low: float, high: float) -> str:
    """What images of these values probably are, and the way out."""
    if low >= 0 and 16 < high <= 255:  # a normalised image does not reach so far
        return "They look like bytes: divide them by 255."
    if -1 <= low < 0 and high <= 1:
        return (
            "They look like images in [-1, 1]: (x + 1) / 2 brings them to [0, 1]; the range that the "
            "network is fed is an option of its reference (?range=-1,1)."
        )
    return "Undo the normalisation and give mean and std to the classifier instead."


def check_labels(labels: Tensor, n: int, classes: int, what: str = "labels") -> None:
    """Raise unless labels is (n,) integers in [0, classes)."""
    if labels.shape != (n,):
        raise DataError(f"{what}: got shape {tuple(labels.shape)} for {n} images, expected ({n},).")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise DataError(f"{what}: got {labels.dtype}, expected integers 0 to {classes - 1}.")
    if n and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise DataError(
            f"{what}: values from {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1} "
            f"({classes} classes). Check the label column, or give the class names."
        )
