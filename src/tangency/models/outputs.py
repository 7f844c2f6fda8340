"""What a network returns, and logits of it: a softmax or sigmoid that it ends in is taken off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tangency.errors import ModelError, unknown_name
from tangency.seeding import permutation
from tangency.types import LabelledImages

OUTPUTS = ("logits", "softmax", "sigmoid")
PROBED = 64  # images
_LOOK = 8  # images, after which most networks are known
_KINDS = {"softmax": "softmax", "sigmoid": "sigmoid", "expit": "sigmoid"}
# What leaves values as they are; applied to logits in the same way.
_MOVES = ("flatten", "view", "reshape", "squeeze", "contiguous", "float", "to", "type", "clone")
_WRITING = {f"__{name}__" for name in ("setitem", "iadd", "isub", "imul", "idiv", "itruediv", "ipow", "imod")}

Function = Callable[[Tensor], Any]


@dataclass(frozen=True)
class _Made:
    """A result, what it was made from, and how; with the versions of both, which an operation in place raises."""

    out: Tensor
    before: Tensor
    kind: str
    versions: tuple[int, int]

    @classmethod
    def now(cls, out: Tensor, before: Tensor, kind: str) -> _Made | None:
        """As they are; None for tensors that count no changes."""
        if out.is_inference() or before.is_inference():
            return None
        return cls(out, before, kind, (out._version, before._version))

    @property
    def unchanged(self) -> bool:
        """Whether neither was written into since, as by mul_ or an assignment to a part."""
        return (self.out._version, self.before._version) == self.versions


class _Endings(TorchFunctionMode):
    """Remembers of each softmax over classes and each sigmoid of (N, classes) numbers what it was applied to."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, _Made] = {}  # by the id of the result, which is kept, so that no other one gets it

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        own = getattr(func, "__name__", "").partition(".")[0]
        name = own.strip("_")
        source = args[0] if args else kwargs.get("input", kwargs.get("self"))
        if name == "cat" and isinstance(out, Tensor):
            self._joined(out, args, kwargs)
        if _writes(own) or "out" in kwargs or kwargs.get("inplace"):
            self.seen.clear()  # within vmap no version tells what was written into
        if not isinstance(out, Tensor) or not isinstance(source, Tensor) or out is source:
            return out
        if name in _KINDS and _of_classes(out) and (name != "softmax" or _axis(args, kwargs, out.dim()) == 1):
            self._keep(out, source, _KINDS[name])
        elif name in _MOVES or (name == "getitem" and isinstance(args[1], slice)):
            known = self._known(source)
            if known is not None:
                self._keep(out, func(known.before, *args[1:], **kwargs) if args else known.before, known.kind)
        return out

    def _keep(self, out: Tensor, before: Tensor, kind: str) -> None:
        made = _Made.now(out, before, kind)
        if made is not None:
            self.seen[id(out)] = made

    def _known(self, found: object) -> _Made | None:
        known = self.seen.get(id(found))
        return known if known is not None and known.unchanged else None

    def _joined(self, out: Tensor, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Parts of a batch that went through alone, one behind the other."""
        parts = [self._known(part) for part in (args[0] if args else kwargs.get("tensors", ()))]
        known = [part for part in parts if part is not None]
        rows = not kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if rows and known and len(known) == len(parts) and len({part.kind for part in known}) == 1:
            self._keep(out, torch.cat([part.before for part in known]), known[0].kind)

    def ending(self, found: Tensor) -> tuple[str, Tensor] | None:
        """The kind of operation that made `found`, and what it was applied to; None for any other."""
        known = self._known(found)
        return None if known is None else (known.kind, known.before)


def _writes(name: str) -> bool:
    """Whether an operation writes into its argument: mul_, an assignment to a part, *=."""
    return name in _WRITING if name.startswith("__") else name.endswith("_")


def _of_classes(out: Tensor) -> bool:
    """Whether these may be (N, classes); attention's weights, which are large, are not kept."""
    return out.dim() >= 2 and out.shape[2:].numel() == 1


def _axis(args: Any, kwargs: Mapping[str, Any], dims: int) -> int | None:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return 1 if axis is None and dims in (2, 4) else axis % dims if isinstance(axis, int) else None


def picked(found: Any) -> Any:
    """The tensor of logits in what a network returns: itself, its attribute or entry "logits"; anything else as is."""
    if isinstance(found, Tensor):
        return found
    named = found.get("logits") if isinstance(found, Mapping) else getattr(found, "logits", None)
    return named if isinstance(named, Tensor) else found


def logits_of(net: Function, x: Tensor, outputs: str | None) -> Any:
    r"""Logits of a network that returns logits, or softmax or sigmoid of them.

    Where the last operation is that softmax or sigmoid, it is what that was applied to, exactly. Else it is
    log p (softmax), which is the logits up to a shift of each row, or log p − log(1 − p) (sigmoid); a row in which
    one probability underflows (is below the smallest normal number, or is 1 of a sigmoid) is NaN, and so are its
    gradients. Softmax of the logits z of a sigmoid is P(y | one class is on, no other) for independent classes:
    \(\sigma(z_y)\prod_{j\ne y}(1-\sigma(z_j)) \propto e^{z_y}\).

    Args:
        net: maps (N, C, H, W) to (N, classes), or to something that holds it as "logits".
        x: (N, C, H, W).
        outputs: one of `OUTPUTS`; None for whatever it returns, as it is.

    Returns:
        (N, classes), or whatever else the network returns, for the caller to refuse.
    """
    if outputs in (None, "logits"):
        return net(x) if outputs is None else picked(net(x))
    with _Endings() as endings:
        found = picked(net(x))
    known = endings.ending(found) if isinstance(found, Tensor) else None
    if known is not None and known[0] == outputs:
        return known[1]
    return inverted(found, outputs) if isinstance(found, Tensor) else found


def inverted(p: Tensor, outputs: str) -> Tensor:
    """Logits of (N, classes) values of a softmax or sigmoid, up to a shift of each row; see `logits_of`."""
    sigmoid = outputs == "sigmoid"
    known = p >= torch.finfo(p.dtype).tiny
    if sigmoid:
        known &= p < 1
    logits = p.log() - (-p).log1p() if sigmoid else p.log()
    # A factor of NaN, since a mask would make zeros of the gradients.
    return logits * torch.where(known.all(-1, keepdim=True), 1.0, torch.nan).to(p.dtype)


def probes(data: LabelledImages | None, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Up to 64 images of a data set, the same whatever is measured, behind 8 of noise of their range, (N, C, H, W)."""
    noise = torch.rand(_LOOK, *shape, generator=torch.Generator().manual_seed(0))
    if data is None:
        return noise.to(device)
    real = data.images(permutation(len(data), 0, "outputs")[:PROBED]).float()
    low, high = real.min(), real.max()
    return torch.cat([low + (high - low) * noise, real]).to(device)


def found_outputs(net: Function, images: Tensor, asked: str | None, name: str, way: str) -> tuple[str, list[str]]:
    """Which of `OUTPUTS` a network returns, and a sentence where it is not plainly logits.

    The last operation decides; else rows that are ≥ 0 and sum to 1 within 1e-5 are a softmax. Values that are all in
    [0, 1] may be either logits or sigmoids. It is asked of noise and images that do not depend on what is measured.

    Args:
        net: maps images to what it returns; run without gradients, in its present mode.
        images: of `probes`.
        asked: one of `OUTPUTS`, or None.
        name: of the network, for errors.
        way: how to say which, for errors.

    Raises:
        ModelError: an unknown name, outputs that contradict what is asked, or that may be logits or sigmoids.
    """
    if asked is not None and asked not in OUTPUTS:
        raise ModelError(f"{name}: {unknown_name('outputs', asked, OUTPUTS)}")
    if asked == "logits":
        return "logits", ["its outputs are taken as logits, as asked"]
    with torch.no_grad(), _Endings() as endings:
        returned = net(images[: 2 * _LOOK].clone())
    first = picked(returned)
    if not isinstance(first, Tensor):
        return "logits", []
    named = [] if first is returned else ["its logits are the 'logits' of what it returns"]
    ending = (endings.ending(first) or ("", first))[0]
    if ending and asked not in (None, ending):
        raise ModelError(f"{name}: ends in a {ending}, but outputs={asked} is asked for; leave it out, or correct it.")
    if ending:
        return ending, [*named, _TAKEN_OFF.format(ending) + (_ONE_OF_MANY if ending == "sigmoid" else "")]
    found, unit = first, _in_unit_range(first)
    if unit:
        with torch.no_grad():
            rest = [picked(net(part.clone())) for part in images[2 * _LOOK :].split(2 * _LOOK) if len(part)]
        found = torch.cat([first, *rest])
        unit = _in_unit_range(found)
    kind = "softmax" if unit and _rows_sum_to_one(found) else "between" if unit and _varies(found) else "logits"
    kind, said = _judged(kind, asked, len(found), name, way)
    return kind, [*named, *said]


_TAKEN_OFF = "its last {} is taken off, so that it returns logits"
_ONE_OF_MANY = "; their softmax is p(y | exactly one class is on) of a network whose classes are independent"
_LOG = (
    "its outputs are probabilities (≥ 0, each row sums to 1), so their logarithms are the logits, up to a shift of "
    "each row; an image of which one underflows counts as degenerate"
)
_LOGIT = "log p − log(1 − p) of its outputs are the logits, as asked; an image of which one is 0 or 1 is degenerate"


def _judged(kind: str, asked: str | None, images: int, name: str, way: str) -> tuple[str, list[str]]:
    if asked == "softmax" and kind != "softmax":
        raise ModelError(
            f"{name}: outputs=softmax is asked for, but its rows are not ≥ 0 with sum 1 on {images} images; expected "
            "outputs=logits or sigmoid, or nothing."
        )
    if asked == "sigmoid" and kind == "logits":
        raise ModelError(
            f"{name}: outputs=sigmoid is asked for, but its outputs leave [0, 1], or are constant, on {images} images; "
            "expected outputs=logits, or nothing."
        )
    if asked == "sigmoid":
        return "sigmoid", [_LOGIT + _ONE_OF_MANY]
    if kind == "softmax":
        return "softmax", [_LOG]
    if kind == "between":
        raise ModelError(
            f"{name}: its outputs are all in [0, 1] on {images} images and noise, and rows do not sum to 1: logits can "
            f"be that, and so can sigmoids, which give other measures. Say which with {way}."
        )
    return "logits", []


def _in_unit_range(values: Tensor) -> bool:
    return values.dim() == 2 and bool(((values >= 0) & (values <= 1)).all())


def _rows_sum_to_one(values: Tensor) -> bool:
    slack = max(1e-5, 4 * torch.finfo(values.dtype).eps)
    return values.shape[1] > 1 and bool(((values.double().sum(1) - 1).abs() <= slack).all())


def _varies(values: Tensor) -> bool:
    """Whether it depends on the images; a constant has no gradient, whatever it is."""
    return bool((values != values[:1]).any())
