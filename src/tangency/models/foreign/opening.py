"""Networks opened: the request to a loader, its result, and weights put into an architecture by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from tangency.errors import ModelError, unknown_name
from tangency.models.foreign.feeding import OPTIONS, Feeding, no_shape
from tangency.models.foreign.states import Fitted, State, fit_states, read_states
from tangency.models.foreign.twins import Twins
from tangency.models.orientation import Shape, turned_sides
from tangency.models.registry import ARCHITECTURES, build_module
from tangency.models.weights import fill
from tangency.references import Reference
from tangency.types import Dataset

WEIGHTS = ("key", "prefix")  # options that choose among several dicts of weights in a file
Options = Mapping[str, object]

# Beginnings of names in checkpoints of an architecture that it never uses in eval mode.
_UNUSED = {"cifar:wrn": ("sub_block1.",), "timm:inception_v3": ("AuxLogits.",)}
# Heads that only training uses.
_AUXILIARY = {"torchvision:googlenet": ("aux1.", "aux2."), "torchvision:inception_v3": ("AuxLogits.",)}


@dataclass(frozen=True)
class Opened:
    """A network as its loader read it.

    Args:
        module: maps images, scaled and normalised, to (N, classes) logits.
        architecture, options: what a card needs to rebuild it; "custom" where it cannot be rebuilt.
        outputs: number of logits.
        feeding: its input, as its files say.
        file: of its weights.
        channels: of its images, where its weights say so.
        settled: whether it is known to return logits; else that is tested.
        twins: what the weights leave open, as long as it is not decided.
        others: the network under each choice of `twins` except its own.
        choice: its own choice of `twins`.
        beside: further files of weights.
    """

    module: nn.Module
    architecture: str
    outputs: int
    options: Options = field(default_factory=dict)
    feeding: Feeding = field(default_factory=Feeding)
    file: Path | None = None
    channels: int = 3
    settled: bool = False
    twins: Twins | None = None
    others: Mapping[str, Callable[[], Opened]] = field(default_factory=dict)
    choice: str = ""
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Request:
    """The request to a loader.

    Args:
        reference: parsed.
        requested: the input, as the reference's options say.
        data: on which the network will be measured, if known.
    """

    reference: Reference
    requested: Feeding
    data: Dataset | None

    @property
    def shape(self) -> Shape | None:
        """(C, H, W) of the network's input: of the reference or the data, turned and resized."""
        shape = self.requested.shape or (self.data.test.shape if self.data is not None else None)
        if shape is None:
            return None
        return shape[0], *(self.requested.resize or turned_sides(shape[1:], self.requested.orientation))

    @property
    def known_shape(self) -> Shape:
        """`shape`; a ModelError where it is not known."""
        if self.shape is None:
            raise no_shape(self.reference)
        return self.shape

    def option(self, name: str, example: str) -> str:
        """An option that must be given."""
        value = self.reference.options.get(name)
        if not value:
            local = " Nothing is ever fetched from the network." if name == "weights" else ""
            raise ModelError(f"{self.reference.text}: no {name}; give ?{name}={example}.{local}")
        return value

    def check(self, *known: str) -> None:
        """Raise where an option is neither one of these nor one of the input."""
        self.reference.check_options((*known, *OPTIONS))

    @property
    def path(self) -> Path:
        """The location as a path."""
        return self.reference.path(None)


def from_states(
    request: Request,
    architecture: str,
    file: Path,
    feeding: Feeding | None = None,
    extra: Options | None = None,
    twins: Twins | None = None,
    choice: str | None = None,
) -> Opened:
    """A network by name, filled with the weights of a file, which say how many classes and channels it has.

    Args:
        request: names the dict of weights (`key`) and the beginning of names (`prefix`), where there are several.
        architecture: "cifar:resnet18", "torchvision:…", "timm:…", or one of ours.
        file: safetensors or a checkpoint of `torch.save`.
        feeding: further knowledge of its input.
        extra: options of the architecture.
        twins: what that architecture leaves open; None where its owner is known.
        choice: of `twins`, where something other than an option of the reference decides it.
    """
    states, requested = read_states(file), request.reference.options
    options, notes = _without_auxiliary(architecture, states, extra or {})
    choice = _requested_twin(request, twins) or choice
    value = choice or (None if twins is None else twins.usual or next(iter(twins.choices)))
    named, more = twins.choices[value] if twins is not None and value is not None else (architecture, {})
    shape, outputs = _read_sizes(request, architecture, states, options)
    with torch.random.fork_rng(devices=[]):
        module = build_module(named, shape, outputs, {**options, **more})
    unused = next((names for name, names in _UNUSED.items() if architecture.startswith(name)), ())
    fitted = fit_states(states, module, file, requested.get("key"), unused, requested.get("prefix"))
    fill(module, fitted.tensors, file)
    if twins is not None and choice is not None:
        notes = (*notes, f"the network is {twins.sentence(choice)}")
    known = fitted.feeding.or_else(Feeding(notes=notes)).or_else(feeding or Feeding())
    opened = Opened(module, named, outputs, {**options, **more}, known, file, shape[0])
    if twins is None or value is None or choice is not None:
        return opened
    opened = replace(opened, twins=twins, choice=value)
    rest = [name for name in twins.choices if name != value]
    return replace(opened, others={name: partial(_twin, opened, twins, name, shape, options, fitted) for name in rest})


def _without_auxiliary(
    architecture: str, states: Mapping[str, State], options: Options
) -> tuple[Options, tuple[str, ...]]:
    """The options and notes of a network whose file lacks the heads that only training uses."""
    heads = tuple(f".{head}" for head in _AUXILIARY.get(architecture, ()))
    held = any(head in f".{name}" for state in states.values() for name in state for head in heads)
    if held or not heads:
        return options, ()
    return {**options, "aux_logits": False}, ("its file holds no auxiliary heads, which are used in training only",)


def _requested_twin(request: Request, twins: Twins | None) -> str | None:
    """The reference's choice among twins."""
    value = request.reference.options.get(twins.option) if twins is not None else None
    if twins is not None and value is not None and value not in twins.choices:
        raise ModelError(f"{request.reference.text}: {unknown_name(twins.option, value, twins.choices)}")
    return value


def _twin(opened: Opened, twins: Twins, choice: str, shape: Shape, options: Options, fitted: Fitted) -> Opened:
    """The same weights in another architecture."""
    architecture, more = twins.choices[choice]
    with torch.random.fork_rng(devices=[]):
        module = build_module(architecture, shape, opened.outputs, {**options, **more})
    fill(module, fitted.tensors, opened.file or "")
    return replace(opened, module=module, architecture=architecture, options={**options, **more}, choice=choice)


def _read_sizes(
    request: Request, architecture: str, states: Mapping[str, State], options: Options
) -> tuple[Shape, int]:
    """Shape of the input and number of logits, from the request and the file."""
    assumed = request.known_shape if architecture in ARCHITECTURES else request.shape or (3, 32, 32)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        probe = build_module(architecture, assumed, 10, options)
    channels, outputs = _sizes(probe, states, assumed[0])
    check_channels(request, channels)
    return request.shape or (channels or 3, 32, 32), outputs or 10


def check_channels(request: Request, channels: int | None) -> None:
    """Raise where the images are known to have another number of channels than the network takes."""
    if channels is not None and request.shape is not None and channels != request.shape[0]:
        way_out = (
            "grey images need a network for grey images, or data in colour (grey repeated three times)."
            if channels == 3
            else "colour images need a network for colour images, or data in grey."
        )
        raise ModelError(
            f"{request.reference.text}: a network for images of {channels} channel{'s' * (channels > 1)}, these have "
            f"{request.shape[0]}; {way_out}"
        )


def _sizes(probe: nn.Module, states: Mapping[str, State], assumed: int) -> tuple[int | None, int | None]:
    """Channels of the images and rows of the last layer in the weights; the probe has `assumed` channels."""
    own = probe.state_dict()
    convolutions = [name for name, tensor in own.items() if tensor.dim() == 4]
    inputs = _dimension(states, convolutions[0], 1) if convolutions else None
    # Pixels may be folded into channels before the first convolution.
    channels = None if inputs is None else inputs * assumed // own[convolutions[0]].shape[1]
    return channels or None, _dimension(states, list(own)[-1], 0)


def _dimension(states: Mapping[str, State], name: str, axis: int) -> int | None:
    """A size of the tensor of that name, under any prefix."""
    for state in states.values():
        for key, tensor in state.items():
            if (key == name or key.endswith(f".{name}")) and tensor.dim() > axis:
                return tensor.shape[axis]
    return None
