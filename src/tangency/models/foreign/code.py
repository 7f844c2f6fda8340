"""Networks that exist as code only: programs saved beside their weights, functions identified by a hash."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.errors import ModelError, quoted
from tangency.models.classifier import Classifier
from tangency.models.foreign.programs import PROGRAM, PROGRAMS, TorchProgram, unpacked
from tangency.models.foreign.rebuilt import adapted
from tangency.types import Card

Made = TypeVar("Made")
CLASS_ARGUMENTS = ("num_classes", "n_classes", "nb_classes", "num_class", "classes")


def is_code(architecture: str) -> bool:
    """Whether a card's architecture is rebuilt by running code that came with the model."""
    return architecture in PROGRAMS or architecture.startswith("py:")


def call(
    where: str,
    name: str,
    text: str,
    beside: Sequence[Path] = (),
    sha256: str | None = None,
    *,
    use: Callable[[Callable[..., object]], Made],
) -> tuple[Made, str]:
    """The result of using a function or class, and the hash of its file.

    Args:
        where: a module, also of the working directory; or FILE.py.
        name: of the function or class.
        text: the reference or card that names it, for errors.
        beside: further folders in which it is searched.
        sha256: of the file, if known; where it differs, nothing of the file is run.
        use: is given the function or class.

    Raises:
        ModelError: no such file or function, another hash, or the code itself raises.
    """
    with _looking_in([Path.cwd(), *beside]):
        file = _code_file(where, text, beside)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if sha256 is not None and digest != sha256:
            raise ModelError(
                f"{text}: '{file}' is no longer the code that the weights were saved with (SHA-256 {digest[:12]}…, "
                f"expected {sha256[:12]}…), so nothing of it was run. Restore the file as it was, or convert the model "
                "again from its source."
            )
        try:
            with contextlib.redirect_stdout(sys.stderr):  # its prints must not stand before our JSON
                held = vars(_module(where, file))
                if not callable(held.get(name)):
                    raise ModelError(f"{text}: '{where}' has no function '{name}'.")
                return use(held[name]), digest
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # the code may raise anything
            raise ModelError(
                f"{text}: its own code raises {type(error).__name__}: {quoted(error)}. Run it in Python to see where."
            ) from error


def made(target: Callable[..., object], outputs: int | None, text: str) -> object:
    """The result of a function or class, called with the number of classes where it takes that.

    Args:
        target: without required arguments, except for one of `CLASS_ARGUMENTS`.
        outputs: number of logits; None where that is not known.
        text: the reference or card that names it, for errors.
    """
    taken = class_argument(target)
    given = {} if taken is None or outputs is None else {taken: outputs}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [name for name, p in _parameters(target).items() if p.default is p.empty and p.kind not in variadic]
    lacking = [name for name in required if name not in given]
    if lacking:
        raise ModelError(
            f"{text}: takes {', '.join(lacking)}, expected a function or class without required arguments, but for "
            f"{CLASS_ARGUMENTS[0]}. Write a function of no arguments that makes the network, and name that."
        )
    return target(**given)


def class_argument(target: Callable[..., object]) -> str | None:
    """The argument of a function or class that is the number of classes, if it has one."""
    return next((name for name in CLASS_ARGUMENTS if name in _parameters(target)), None)


def _parameters(target: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # of a builtin
        return {}


@contextlib.contextmanager
def _looking_in(folders: Sequence[Path]) -> Iterator[None]:
    added = [str(folder.resolve()) for folder in folders]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def _code_file(where: str, text: str, beside: Sequence[Path]) -> Path:
    """The file of a module, or FILE.py itself, or the file of its name in one of the folders."""
    if where.endswith(".py"):
        named = Path(where).expanduser()
        for path in (named, *(folder / named.name for folder in beside)):
            if path.is_file():
                return path
        raise ModelError(f"{text}: '{named}' is no Python file. Check the path{', or put it beside' * bool(beside)}.")
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError) as error:
        raise ModelError(f"{text}: cannot import '{where}' ({quoted(error)}).") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ModelError(f"{text}: cannot import '{where}' (no module of that name, or it has no file).")
    return Path(spec.origin)


def _module(where: str, file: Path) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{file}' is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_trusted(card: Card, path: Path | str, trust_code: bool) -> None:
    """Raise where a file needs code to be run that is not trusted."""
    if not trust_code:
        raise ModelError(
            f"{path}: its network exists as code only ({card.architecture}), which runs as you would run it yourself. "
            "Add --trust-code (trust_code=True) where you trust its source."
        )


def from_code(card: Card, tensors: Mapping[str, Tensor], path: Path | str) -> Classifier:
    """The classifier of a card whose architecture is code, with the weights that the code itself gives it."""
    options: Mapping[str, object] = card.options
    if card.architecture in PROGRAMS:
        module: object = _unpacked(card, tensors, path)
    else:
        where, _, name = card.architecture.removeprefix("py:").rpartition(":")
        text = f"{path}: {card.architecture}"
        outputs = cast("int | None", card.options.get("logits"))
        sha256, beside = str(card.options.get("sha256", "")), [Path(path).parent]
        module, _ = call(where, name, text, beside, sha256, use=lambda target: made(target, outputs, text))
        if isinstance(module, Classifier):
            if "outputs" in module.card.options:  # it converts to logits itself
                options = {name: value for name, value in options.items() if name != "outputs"}
            module = module.module
        if not isinstance(module, nn.Module):
            raise ModelError(f"{text}: returned a {type(module).__name__}, expected a torch.nn.Module.")
    return Classifier(adapted(in_float32(cast(nn.Module, module), card.shape)[0], options), card)


def in_float32(module: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, str]:
    """The module, with weights in float32 if it takes float32 images only then, and a sentence in that case."""
    own = {parameter.dtype for parameter in module.parameters()} - {torch.float32}
    if not own:
        return module, ""
    try:
        with undisturbed(module), torch.no_grad():
            module(torch.full((1, *shape), 0.5))
    except (RuntimeError, ValueError, TypeError, AssertionError):
        kinds = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in own))
        return module.float(), f"its weights, {kinds}, are taken in float32"
    return module, ""


def _unpacked(card: Card, tensors: Mapping[str, Tensor], path: Path | str) -> TorchProgram:
    program = next((value for name, value in tensors.items() if name in (PROGRAM, f"net.{PROGRAM}")), None)
    if program is None or program.dtype != torch.uint8:
        raise ModelError(f"{path}: holds no program of {card.architecture}, expected its bytes under '{PROGRAM}'.")
    try:
        net = unpacked(card.architecture, program)
    except Exception as error:  # torch may raise anything for a program of another version
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot read the program of {card.architecture} in it "
            f"({type(error).__name__}: {quoted(error)}). Convert the model again from its source, with this version."
        ) from error
    batch = cast("Sequence[int | None]", card.options.get("batch", (1, None)))
    return TorchProgram(net, batch, program)
