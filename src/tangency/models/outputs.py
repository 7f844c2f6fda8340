"""Logits from the output of a network: a last softmax or sigmoid is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

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
# Operations that leave values unchanged; they are applied to logits in the same way.
_MOVES = ("flatten", "view", "reshape", "squeeze", "contiguous", "float", "to", "type", "clone")
_WRITING = {f"__{name}__" for name in ("setitem", "iadd", "isub", "imul", "idiv", "itruediv", "ipow", "imod")}

Function = Callable[[Tensor], Any]


@dataclass(frozen=True)
class _Made:
    """The result of an operation, its input and kind, and the versions of both, which operations in place raise."""

    out: Tensor
    before: Tensor
    kind: str
    versions: tuple[int, int]

    @property
    def unchanged(self) -> bool:
        """Whether neither was written into since, as by mul_ or an assignment to a part."""
        return (self.out._version, self.before._version) == self.versions


class _Endings(TorchFunctionMode):
    """Remembers the input of each softmax over classes and each sigmoid of (N, classes) numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, _Made] = {}  # by the id of the result, which is kept, so that the id stays unique

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        own = getattr(func, "__name__", "").partition(".")[0]
        name = own.strip("_")
        source = args[0] if args else kwargs.get("input", kwargs.get("self"))
        if name == "cat" and isinstance(out, Tensor):
            self._joined(out, args, kwargs)
        if _writes(own) or "out" in kwargs or kwargs.get("inplace"):
            self.seen.clear()  # within vmap versions do not show what was written into
        if not isinstance(out, Tensor) or not isinstance(source, Tensor) or out is source:
            return out
        if name in _KINDS and _of_classes(out) and (name != "softmax" or _axis(args, kwargs, out.dim()) == 1):
            self._keep(out, source, _KINDS[name])
        elif name in _MOVES or (name == "getitem" and isinstance(args[1], slice)):
            known = self.known(source)
            if known is not None:
                self._keep(out, func(known.before, *args[1:], **kwargs) if args else known.before, known.kind)
        return out

    def _keep(self, out: Tensor, before: Tensor, kind: str) -> None:
        if not (out.is_inference() or before.is_inference()):  # whose changes are not counted
            self.seen[id(out)] = _Made(out, before, kind, (out._version, before._version))

    def known(self, out: object) -> _Made | None:
        """The softmax or sigmoid that made `out`; None for any other operation."""
        made = self.seen.get(id(out))
        return made if made is not None and made.unchanged else None

    def _joined(self, out: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Parts of a batch that were computed alone, joined."""
        parts = [self.known(part) for part in (args[0] if args else kwargs.get("tensors", ()))]
        known = [part for part in parts if part is not None]
        rows = not kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if rows and known and len(known) == len(parts) and len({part.kind for part in known}) == 1:
            self._keep(out, torch.cat([part.before for part in known]), known[0].kind)


def _writes(name: str) -> bool:
    """Whether an operation writes into its argument: mul_, an assignment to a part, *=."""
    return name in _WRITING if name.startswith("__") else name.endswith("_")


def _of_classes(out: Tensor) -> bool:
    """Whether these may be (N, classes); the weights of attention, which are large, are not kept."""
    return out.dim() >= 2 and out.shape[2:].numel() == 1


def _axis(args: Sequence[Any], kwargs: Mapping[str, Any], dims: int) -> int | None:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return 1 if axis is None and dims in (2, 4) else axis % dims if isinstance(axis, int) else None


def picked(returned: object) -> object:
    """The tensor of logits in what a network returns: itself, its attribute or entry "logits"; else unchanged."""
    if isinstance(returned, Tensor):
        return returned
    named = returned.get("logits") if isinstance(returned, Mapping) else getattr(returned, "logits", None)
    return named if isinstance(named, Tensor) else returned


def logits_of(net: Function, x: Tensor, outputs: str | None) -> Any:
    r"""Logits of a network that returns logits, or softmax or sigmoid of them.

    Where the last operation is that softmax or sigmoid, the result is exactly its input. Else it is log p (softmax),
    which is the logits up to a shift of each row, or log p − log(1 − p) (sigmoid); a row in which one probability
    underflows (is below the smallest normal number, or 1 for a sigmoid) is NaN, and so are its gradients. Softmax of
    the logits z of a sigmoid is P(y | one class is on, no other) for independent classes:
    \(\sigma(z_y)\prod_{j\ne y}(1-\sigma(z_j)) \propto e^{z_y}\).

    Args:
        net: maps (N, C, H, W) to (N, classes), or to something that holds it as "logits".
        x: (N, C, H, W).
        outputs: one of `OUTPUTS`; None leaves what it returns unchanged.

    Returns:
        (N, classes), or anything else that the network returns, for the caller to refuse.
    """
    if outputs in (None, "logits"):
        return net(x) if outputs is None else picked(net(x))
    with _Endings() as endings:
        values = picked(net(x))
    made = endings.known(values)
    if made is not None and made.kind == outputs:
        return made.before
    return inverted(values, outputs) if isinstance(values, Tensor) else values


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
    """8 images of noise of the data's range, then up to 64 of the data, always the same, (N, C, H, W)."""
    noise = torch.rand(_LOOK, *shape, generator=torch.Generator().manual_seed(0))
    if data is None:
        return noise.to(device)
    real = data.images(permutation(len(data), 0, "outputs")[:PROBED]).float()
    low, high = real.min(), real.max()
    return torch.cat([low + (high - low) * noise, real]).to(device)


def detected_outputs(
    net: Function, images: Tensor, requested: str | None, name: str, way: str
) -> tuple[str, list[str]]:
    """Which of `OUTPUTS` a network returns, and a sentence where it is not plainly logits.

    The last operation decides; else rows that are ≥ 0 and sum to 1 within 1e-5 are a softmax. Values that are all in
    [0, 1] may be either logits or sigmoids. The images do not depend on what is measured.

    Args:
        net: maps images to what it returns; run without gradients, in its present mode.
        images: of `probes`.
        requested: one of `OUTPUTS`, or None.
        name: of the network, for errors.
        way: how to name the outputs, for errors.

    Raises:
        ModelError: an unknown name, outputs that contradict `requested`, or that may be logits or sigmoids.
    """
    if requested is not None and requested not in OUTPUTS:
        raise ModelError(f"{name}: {unknown_name('outputs', requested, OUTPUTS)}")
    if requested == "logits":
        return "logits", ["its outputs are taken as logits, as asked"]
    with torch.no_grad(), _Endings() as endings:
        returned = net(images[: 2 * _LOOK].clone())
    first = picked(returned)
    if not isinstance(first, Tensor):
        return "logits", []
    notes = [] if first is returned else ["its logits are the 'logits' of what it returns"]
    made = endings.known(first)
    if made is not None and requested not in (None, made.kind):
        raise ModelError(
            f"{name}: ends in a {made.kind}, but outputs={requested} is given; leave it out, or correct it."
        )
    if made is not None:
        note = f"its last {made.kind} is taken off, so that it returns logits"
        return made.kind, [*notes, note + _ONE_OF_MANY * (made.kind == "sigmoid")]
    values = first
    if _in_unit_range(first):
        with torch.no_grad():
            rest = images[2 * _LOOK :].tensor_split(list(range(2 * _LOOK, len(images) - 2 * _LOOK, 2 * _LOOK)))
            values = torch.cat([first, *(cast(Tensor, picked(net(part.clone()))) for part in rest if len(part))])
    kind, more = _by_values(values, requested, name, way)
    return kind, [*notes, *more]


_ONE_OF_MANY = "; their softmax is p(y | exactly one class is on) of a network whose classes are independent"
_LOG = (
    "its outputs are probabilities (≥ 0, each row sums to 1), so their logarithms are the logits, up to a shift of "
    "each row; an image of which one underflows counts as degenerate"
)
_LOGIT = "log p − log(1 − p) of its outputs are the logits, as asked; an image of which one is 0 or 1 is degenerate"


def _by_values(values: Tensor, requested: str | None, name: str, way: str) -> tuple[str, list[str]]:
    """Which of `OUTPUTS` the values are, decided by the values alone, and a sentence."""
    images, unit = len(values), _in_unit_range(values)
    softmax = unit and _rows_sum_to_one(values)
    probabilities = softmax or (unit and bool((values != values[:1]).any()))  # a constant has no gradient anyway
    if requested == "softmax" and not softmax:
        raise ModelError(
            f"{name}: outputs=softmax is given, but its rows are not ≥ 0 with sum 1 on {images} images; expected "
            "outputs=logits or sigmoid, or nothing."
        )
    if requested == "sigmoid" and not probabilities:
        raise ModelError(
            f"{name}: outputs=sigmoid is given, but its outputs leave [0, 1], or are constant, on {images} images; "
            "expected outputs=logits, or nothing."
        )
    if requested == "sigmoid":
        return "sigmoid", [_LOGIT + _ONE_OF_MANY]
    if softmax:
        return "softmax", [_LOG]
    if probabilities:
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
