"""Models whose loading runs code that comes with them, only where the caller allows it."""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.classifier import Classifier
from tangency.models.foreign.code import call, class_argument, in_float32, made
from tangency.models.foreign.feeding import PRESETS, Feeding
from tangency.models.foreign.opening import WEIGHTS, Opened, Request, from_states
from tangency.models.foreign.programs import TorchProgram, batch_sizes, read_program
from tangency.models.foreign.shards import existing
from tangency.models.foreign.states import Fitted, State, fit_states, read_states
from tangency.models.outputs import picked
from tangency.models.weights import fill
from tangency.references import Reference


def may_run(reference: Reference, trust_code: bool) -> None:
    """Raise where code would run that is not trusted."""
    if not trust_code:
        what = f"{reference.kind}:" if not runs_own_class(reference) else "arch=py:"
        raise ModelError(
            f"{reference.text}: loading '{what}' runs code that comes with the model, as you would run it "
            "yourself. Add --trust-code (trust_code=True) where you trust its source; or give the weights as "
            "state_dict:FILE?arch=… or the network as onnx:FILE, which run nothing."
        )


def runs_own_class(reference: Reference) -> bool:
    """Whether a reference is of weights whose network exists as code: state_dict:FILE?arch=py:…."""
    return reference.kind == "state_dict" and reference.options.get("arch", "").startswith("py:")


def open_own_class(request: Request) -> Opened:
    """`state_dict:FILE?arch=py:MODULE:CLASS` or `?arch=py:FILE.py:CLASS`: weights of a class of your own.

    Where it takes a number of classes, that of `classes`, of the last tensor of the file, or of the data is tried.
    """
    request.check("arch", *WEIGHTS)
    file, text, options = request.path.expanduser(), request.reference.text, request.reference.options
    states = read_states(file)
    where, name = _place(options["arch"].removeprefix("py:"), f"{text}: expected arch=py:", "CLASS")

    def filled(target: Callable[..., object]) -> tuple[nn.Module, int | None, Fitted]:
        counts = _counts(request, states) if class_argument(target) else [None]
        for attempt, count in enumerate(counts, 1):
            module = made(target, count, text)
            if not isinstance(module, nn.Module):
                raise ModelError(f"{text}: '{name}' made a {type(module).__name__}, expected a torch.nn.Module.")
            try:
                return module, count, fit_states(states, module, file, options.get("key"), (), options.get("prefix"))
            except ModelError:
                if attempt == len(counts):
                    raise
        raise ModelError(f"{text}: nothing says how many classes it has; give ?classes=10.")

    (module, count, fitted), sha256 = call(where, name, text, use=filled)
    fill(module, fitted.tensors, file)
    card = {"sha256": sha256} | ({"logits": count} if count is not None else {})
    return Opened(module.eval(), "custom", _outputs(module, request), card, fitted.feeding, file)


def _place(location: str, problem: str, kind: str) -> tuple[str, str]:
    """Module or file, and name, of MODULE:NAME or FILE.py:NAME."""
    where, _, name = location.rpartition(":")
    if not where or not name.isidentifier():
        raise ModelError(f"{problem}MODULE:{kind} or {problem.rpartition(' ')[2]}FILE.py:{kind}.")
    return where, name


def _counts(request: Request, states: Mapping[str, State]) -> list[int]:
    """Numbers of classes that a network may have, likeliest first."""
    named = request.requested.classes
    if named is not None:
        return [named if isinstance(named, int) else len(named)]
    rows = [tensor.shape[0] for state in states.values() for tensor in [*state.values()][-1:] if tensor.dim()]
    return list(dict.fromkeys([*rows, *([len(request.data.test.classes)] if request.data is not None else [])]))


def _python(request: Request) -> Opened:
    """`py:MODULE:FUNCTION` or `py:FILE.py:FUNCTION`: a function of no arguments that returns a module or Classifier."""
    request.check()
    text = request.reference.text
    where, name = _place(request.reference.location, f"{text}: expected py:", "FUNCTION")
    network, sha256 = call(where, name, text, use=lambda target: made(target, None, text))
    if isinstance(network, Classifier):
        card = network.card
        options = dict(card.options) | ({"sha256": sha256} if card.architecture == "custom" else {})
        module, note = in_float32(network.module, card.shape)
        notes = (note,) if note else ()
        known = Feeding(card.shape, None, card.input_range, card.mean, card.std, card.classes, notes=notes)
        settled = "outputs" in card.options
        return Opened(module, card.architecture, network.classes, options, known, settled=settled)
    if not isinstance(network, nn.Module):
        raise ModelError(f"{text}: returned a {type(network).__name__}, expected a torch.nn.Module.")
    module, note = in_float32(network, request.known_shape)
    known = Feeding(notes=(note,) if note else ())
    return Opened(module, "custom", _outputs(module, request), {"sha256": sha256}, known)


def _program(request: Request) -> Opened:
    """`export:FILE` or `torchscript:FILE`."""
    request.check()
    path, kind = existing(request.path), request.reference.kind
    try:
        net = read_program(kind, path)
    except (RuntimeError, ValueError, OSError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: torch cannot read it as {kind} ({quoted(error)}).") from error
    shape = request.known_shape
    batch = batch_sizes(kind, path, net, shape)  # first, since a program may refuse one image only for its batch size
    _, note = in_float32(TorchProgram(net, batch or (1, None)), shape)
    batch = batch or batch_sizes(kind, path, net, shape) or (1, None)
    module = TorchProgram(net, batch)
    notes = tuple(filter(None, (note, _batch_note(*batch))))
    options = {"batch": list(batch), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Opened(module, "custom", _outputs(module, request), options, Feeding(notes=notes), path)


def _batch_note(least: int, most: int | None) -> str:
    """A sentence about a batch size that is not free."""
    if (least, most) == (1, 1):
        return "its batch is fixed at 1, so images go through one by one (slow)"
    if least == most:
        return f"its batch is fixed at {least}: larger ones are cut up, smaller ones filled with copies of an image"
    limits = [f"at least {least}"] * (least > 1) + [f"at most {most}"] * (most is not None)
    return f"it takes batches of {' and '.join(limits)}; others are filled with copies or cut up" if limits else ""


def _outputs(module: nn.Module, request: Request) -> int:
    """Number of logits, from one grey image."""
    text, shape, mode = request.reference.text, request.known_shape, module.training
    try:
        with torch.no_grad():
            logits = picked(module.eval()(torch.full((1, *shape), 0.5)))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise ModelError(
            f"{text}: does not take images of shape {shape} ({quoted(error)}); give ?shape=CxHxW, or resize=HxW where "
            "the data are of another size."
        ) from error
    finally:
        module.train(mode)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"{text}: returned {got} for one image, expected (1, classes) logits.")
    return logits.shape[1]


_TRUE = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
_RAW: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
# Of RobustBench's CIFAR-10 table (linf): name -> architecture, black and white, mean and std.
ROBUSTBENCH = {
    "Standard": ("cifar:wrn-28-10", (0.0, 1.0), _RAW),
    "Andriushchenko2020Understanding": ("cifar:preactresnet18", (0.0, 1.0), _RAW),
    "Carmon2019Unlabeled": ("cifar:wrn-28-10", (0.0, 1.0), _RAW),
    "Sehwag2020Hydra": ("cifar:wrn-28-10", (0.0, 1.0), _RAW),
    "Wang2020Improving": ("cifar:wrn-28-10", (0.0, 1.0), _RAW),
    "Hendrycks2019Using": ("cifar:wrn-28-10", (-1.0, 1.0), _RAW),
    "Rice2020Overfitting": ("cifar:wrn-34-20", (0.0, 1.0), _TRUE),
    "Zhang2019Theoretically": ("cifar:wrn-34-10", (0.0, 1.0), _RAW),
    "Huang2020Self": ("cifar:wrn-34-10", (0.0, 1.0), _RAW),
    "Engstrom2019Robustness": ("cifar:resnet50", (0.0, 1.0), PRESETS["cifar"]),
    "Wong2020Fast": ("cifar:preactresnet18", (0.0, 1.0), _TRUE),
}


def open_robustbench(request: Request, trust_code: bool) -> Opened:
    """`robustbench:NAME?weights=FILE` without the package where the network is known, else through the package."""
    request.check("weights", *WEIGHTS, "dataset", "threat", "folder")
    name, options = request.reference.location, request.reference.options
    if "weights" in options:
        if name not in ROBUSTBENCH:
            known = unknown_name("RobustBench network", name, ROBUSTBENCH)
            raise ModelError(f"{request.reference.text}: {known} Others load as state_dict:FILE?arch=….")
        architecture, limits, (mean, std) = ROBUSTBENCH[name]
        note = f"input as RobustBench's {name}"
        known_input = Feeding(native=(32, 32), input_range=limits, mean=mean, std=std, notes=(note,))
        return from_states(request, architecture, Path(options["weights"]).expanduser(), known_input)
    try:
        utils = importlib.import_module("robustbench.utils")
    except ImportError as error:
        raise ModelError(
            f"{request.reference.text}: RobustBench is not installed ({quoted(error)}); install it alone with pip "
            "install 'tangency[robustbench]' (it pins old packages), or give the checkpoint as ?weights=FILE, which "
            f"needs nothing, for {', '.join(ROBUSTBENCH)}."
        ) from error
    may_run(request.reference, trust_code)
    loaded = utils.load_model(
        model_name=name,
        model_dir=options.get("folder", "./models"),
        dataset=options.get("dataset", "cifar10"),
        threat_model=options.get("threat", "Linf"),
    )
    known_input = Feeding(input_range=(0.0, 1.0), mean=(), std=(), notes=("RobustBench normalises inside",))
    return Opened(loaded, "custom", _outputs(loaded, request), feeding=known_input)


# kind -> loader that runs code.
TRUSTED: dict[str, Callable[[Request], Opened]] = {
    "py": _python,
    "export": _program,
    "torchscript": _program,
}
