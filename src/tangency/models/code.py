"""Networks that exist as code only, in our files: the graph of a program beside its weights, a function by its hash."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import io
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tangency.errors import ModelError
from tangency.models.classifier import Classifier
from tangency.models.foreign import adapted
from tangency.types import Card

CLASS_ARGUMENTS = ("num_classes", "n_classes", "nb_classes", "num_class", "classes")
PROGRAMS = ("export", "torchscript")
_PROGRAM = "program"


class Program(nn.Module):
    """A program of torch.export or TorchScript, which has one mode and may take one image at a time only.

    Args:
        net: the program.
        single: whether its batch is fixed at 1; images then go through one by one.
        program: its graph, as `packed` makes it, kept as a buffer so that it travels with the weights.
    """

    program: Tensor | None

    def __init__(self, net: nn.Module, single: bool = False, program: Tensor | None = None) -> None:
        super().__init__()
        self.net = net
        self.single = single
        self.register_buffer(_PROGRAM, program)

    def train(self, mode: bool = True) -> Program:
        """Its own flag only: an exported program refuses to change its mode."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, classes)."""
        if not self.single:
            found: Tensor = self.net(x)
            return found
        return torch.cat([self.net(image[None]) for image in x])


def is_code(architecture: str) -> bool:
    """Whether a card's architecture is rebuilt by running code that came with the model."""
    return architecture in PROGRAMS or architecture.startswith("py:")


def read_program(kind: str, source: Path | io.BytesIO) -> nn.Module:
    """The module of a program; whatever torch raises where it is none, is raised."""
    with _quiet():
        if kind == "export":
            return torch.export.load(source).module()
        script: nn.Module = torch.jit.load(source, map_location="cpu").eval()
        return script


def packed(kind: str, path: Path) -> Tensor:
    """A program as (bytes,) uint8, compressed, with every weight zero, since they stand beside it under their names."""
    buffer = io.BytesIO()
    with _quiet(), torch.no_grad():
        if kind == "export":
            program = torch.export.load(path)
            _zero(program.state_dict)
            torch.export.save(program, buffer)
        else:
            script = torch.jit.load(path, map_location="cpu")
            _zero(script.state_dict())
            torch.jit.save(script, buffer)
    return torch.frombuffer(bytearray(zlib.compress(buffer.getvalue())), dtype=torch.uint8)


def _zero(state: Mapping[str, Tensor]) -> None:
    for tensor in state.values():
        tensor.zero_()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own formats old or new
        yield


def call(
    where: str,
    name: str,
    text: str,
    beside: Sequence[Path] = (),
    sha256: str | None = None,
    use: Callable[[Callable[..., Any]], Any] | None = None,
) -> tuple[Any, str]:
    """What a function or class of no arguments returns, and the hash of the file that it stands in.

    Args:
        where: a module, which the working directory is looked in for, too; or FILE.py.
        name: of the function or class.
        text: what asks for it, for errors.
        beside: folders that are looked in as well.
        sha256: what the file must be, if known; where it is another, nothing of it is run.
        use: what is done with it, in place of a call without arguments.

    Raises:
        ModelError: no such file or function, another hash, or the code itself raises.
    """
    with _looking_in([Path.cwd(), *beside]):
        file = _code_file(where, text, beside)
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if sha256 is not None and found != sha256:
            raise ModelError(
                f"{text}: '{file}' is no longer the code that the weights were saved with (SHA-256 {found[:12]}…, "
                f"expected {sha256[:12]}…), so nothing of it was run. Restore the file as it was, or convert the model "
                "again from its source."
            )
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what it prints must not stand before our JSON
                held = vars(_module(where, file))
                if not callable(held.get(name)):
                    raise ModelError(f"{text}: '{where}' has no function '{name}'.")
                return (use or _called)(held[name]), found
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # whatever a stranger's code raises
            raise ModelError(
                f"{text}: its own code raises {type(error).__name__}: {error}. Run it in Python to see where."
            ) from error


def made(target: Callable[..., Any], outputs: int | None, text: str) -> Any:
    """What a function or class returns, given the number of classes where it takes that.

    Args:
        target: of no required arguments, but one of `CLASS_ARGUMENTS`.
        outputs: number of logits; None where that is not known.
        text: what asks for it, for errors.
    """
    taken = class_argument(target)
    given = {} if taken is None or outputs is None else {taken: outputs}
    lacking = [name for name in _required(target) if name not in given]
    if lacking:
        raise ModelError(
            f"{text}: takes {', '.join(lacking)}, expected a function or class without required arguments, but for "
            f"{CLASS_ARGUMENTS[0]}. Write a function of no arguments that makes the network, and name that."
        )
    return target(**given)


def class_argument(target: Callable[..., Any]) -> str | None:
    """The argument of a function or class that is the number of classes, if it has one."""
    return next((name for name in CLASS_ARGUMENTS if name in _parameters(target)), None)


def _required(target: Callable[..., Any]) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in _parameters(target).items() if p.default is p.empty and p.kind not in variadic]


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):  # of a builtin
        return {}


def _called(target: Callable[..., Any]) -> Any:
    return target()


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
    """The file of a module, or FILE.py as it is named, or of that name in one of the folders."""
    if where.endswith(".py"):
        named = Path(where).expanduser()
        places = [named, *(folder / named.name for folder in beside)]
        found = next((path for path in places if path.is_file()), None)
        if found is None:
            raise ModelError(
                f"{text}: '{named}' is no Python file. Check the path{', or put it beside' * bool(beside)}."
            )
        return found
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError) as error:
        raise ModelError(f"{text}: cannot import '{where}' ({error}).") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ModelError(f"{text}: cannot import '{where}' (no module of that name, or it has no file).")
    return Path(spec.origin)


def _module(where: str, file: Path) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"'{file}' is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_trusted(card: Card, path: Path | str, trust_code: bool) -> None:
    """Raise where a file needs code to be run that nobody trusted."""
    if not trust_code:
        raise ModelError(
            f"{path}: its network exists as code only ({card.architecture}), which runs as you would run it yourself. "
            "Add --trust-code (trust_code=True) where you trust its source."
        )


def from_code(card: Card, tensors: Mapping[str, Tensor], path: Path | str) -> Classifier:
    """The classifier of a card whose architecture is code, with whatever weights that code gives it."""
    if card.architecture in PROGRAMS:
        module: Any = _unpacked(card, tensors, path)
    else:
        where, _, name = card.architecture.removeprefix("py:").rpartition(":")
        text = f"{path}: {card.architecture}"
        outputs = cast("int | None", card.options.get("outputs"))
        sha256, beside = str(card.options.get("sha256", "")), [Path(path).parent]
        module, _ = call(where, name, text, beside, sha256, lambda target: made(target, outputs, text))
        module = module.module if isinstance(module, Classifier) else module
        if not isinstance(module, nn.Module):
            raise ModelError(f"{text}: returned a {type(module).__name__}, expected a torch.nn.Module.")
    return Classifier(adapted(module, card.options), card)


def _unpacked(card: Card, tensors: Mapping[str, Tensor], path: Path | str) -> Program:
    program = tensors.get(_PROGRAM, tensors.get(f"net.{_PROGRAM}"))
    if program is None or program.dtype != torch.uint8:
        raise ModelError(f"{path}: holds no program of {card.architecture}, expected its bytes under '{_PROGRAM}'.")
    try:
        net = read_program(card.architecture, io.BytesIO(zlib.decompress(program.numpy().tobytes())))
    except Exception as error:  # torch raises nearly anything for a program of another version
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot read the program of {card.architecture} in it "
            f"({type(error).__name__}: {error}). Convert the model again from its source, with this version."
        ) from error
    return Program(net, bool(card.options.get("single")), program)
