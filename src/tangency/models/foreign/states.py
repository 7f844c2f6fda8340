"""The weights in a checkpoint: which of its dicts they are, under which prefix, and with which normalisation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tangency.errors import DataError, ModelError, quoted
from tangency.formats.plain import Inert
from tangency.formats.torch_file import read_torch
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.shards import existing, pieces
from tangency.models.weights import misfit

State = dict[str, Tensor]

_DEEPEST, _MOST_MODULES, _MOST_PREFIXES = 4, 20_000, 300
# Moments of an optimiser are tensors too, often of the names and shapes of the weights.
_NOT_WEIGHTS = ("opt", "sched", "scaler", "amp", "grad", "momentum", "rng", "exp_avg")
_NORMALISERS = (("new_mean", "new_std"), ("mean", "std"), ("mu", "sigma"), ("_mean", "_std"), ("means", "sds"))
# Parts of names that wrappers add anywhere: torch.compile, DataParallel, FSDP, activation checkpointing.
_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_COUNTER = "num_batches_tracked"  # absent before torch 0.4.1, and without effect on a trained network


@dataclass(frozen=True)
class Fitted:
    """Weights under the names of a module.

    Args:
        tensors: name in the module to tensor.
        mean, std: of a normaliser that the checkpoint holds beside them, per channel; empty where it holds none.
        notes: what was chosen, in sentences.
    """

    tensors: State
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def feeding(self) -> Feeding:
        """What the checkpoint says of the input."""
        limits = (0.0, 1.0) if self.mean else None
        return Feeding(input_range=limits, mean=self.mean or None, std=self.std or None, notes=self.notes)


@dataclass(frozen=True)
class _Template:
    """What weights must fit.

    Args:
        shapes: of the module's tensors, by name.
        unused: beginnings of names that checkpoints of this network hold and it never uses.
        prefix: the beginning of the names to take; None for any.
        path: for errors.
    """

    shapes: Mapping[str, tuple[int, ...]]
    unused: tuple[str, ...]
    prefix: str | None
    path: Path | str


def read_states(path: Path | str) -> dict[str, State]:
    """Every dict of weights in a file, by the keys that lead to it ("" for the file itself, "model", "a.b", …).

    Args:
        path: safetensors, or a checkpoint of `torch.save`, or the index of their pieces; nothing in it is run.

    Raises:
        ModelError: no such file, another kind of file, or no weights in it.
    """
    path = Path(path)
    if (parts := pieces(path)) != [path]:
        return {"": {name: value for part in parts for name, value in read_states(part).get("", {}).items()}}
    if path.suffix == ".safetensors":
        return {"": _safetensors(path)}
    try:
        content = read_torch(path)
    except DataError as error:
        raise ModelError(str(error)) from error
    states = dict(_walk(content, (), 0, set()))
    if not states:
        about = content.name if isinstance(content, Inert) else type(content).__name__
        if isinstance(content, dict):
            about = f"dict of {', '.join(map(str, list(content)[:8])) or 'nothing'}"
        raise ModelError(f"{path}: no dict of tensors in it, expected the state_dict of a network; it holds a {about}.")
    return states


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(existing(path)))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable safetensors file ({quoted(error)}). Fetch or write it again."
        ) from error


def _walk(node: object, path: tuple[str, ...], depth: int, seen: set[int]) -> Iterator[tuple[str, State]]:
    """Dicts of tensors in dicts in dicts, each once; a module that was saved whole counts as its state_dict."""
    where = ".".join(path)
    if isinstance(node, Inert):
        if state := _module_state(node):
            yield where, state
        return
    if not isinstance(node, dict) or depth > _DEEPEST or id(node) in seen:
        return
    seen.add(id(node))
    tensors = {_name(key): value for key, value in node.items() if isinstance(value, Tensor)}
    named = all(isinstance(key, str | bytes) for key in node)
    if named and any(value.dim() for value in tensors.values()) and 2 * len(tensors) > len(node):
        yield where, tensors
        return
    for key, value in node.items():
        if isinstance(key, str | bytes) and not _name(key).lower().startswith(_NOT_WEIGHTS):
            yield from _walk(value, (*path, _name(key)), depth + 1, seen)


def _name(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _module_state(module: Inert) -> State:
    """Tensors of a pickled module and of those inside it, under dotted names."""
    tensors: State = {}
    todo: list[tuple[str, Inert]] = [("", module)]
    left = _MOST_MODULES
    while todo and left > 0:
        prefix, part = todo.pop()
        state = part.state if isinstance(part.state, dict) else {}
        for kind in ("_parameters", "_buffers", "_modules"):
            members = state.get(kind)
            for name, value in members.items() if isinstance(members, dict) else ():
                left -= 1
                if kind == "_modules" and isinstance(value, Inert):
                    todo.append((f"{prefix}{_name(name)}.", value))
                elif kind != "_modules" and isinstance(value, Tensor):
                    tensors[f"{prefix}{_name(name)}"] = value
    return tensors


def fit_states(
    states: Mapping[str, State],
    module: nn.Module,
    path: Path | str,
    key: str | None = None,
    unused: tuple[str, ...] = (),
    prefix: str | None = None,
) -> Fitted:
    """The one dict of weights that fits a module, without its prefix and the names of wrappers inside.

    Args:
        states: from `read_states`.
        module: for which the weights are; only names and shapes of its tensors are read.
        path: for errors.
        key: the dict to take, where there are several.
        unused: beginnings of names that checkpoints of this network hold and it never uses.
        prefix: the beginning of the names to take, where there are several; a dot at its end may be left out.

    Raises:
        ModelError: none fits (the nearest misfit is described), or several do and differ; all are named.
    """
    if key is not None and key not in states:
        raise ModelError(f"{path}: no weights under key={key}; there are {_shown(states)}.")
    chosen = dict(states) if key is None else {key: states[key]}
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    first = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
    template = _Template(shapes, unused, first, path)
    fits = {
        name: fit
        for name, state in chosen.items()
        if (fit := _fit(state, template) or _fit_unwrapped(state, template)) is not None
    }
    if not fits and first is not None and not any(n.startswith(first) for state in chosen.values() for n in state):
        there = sorted({p for state in chosen.values() for p in prefixes(state) if p})
        raise ModelError(
            f"{path}: no weights under prefix={prefix}; names begin with {', '.join(there[:10]) or 'no prefix'}."
        )
    if not fits:
        raise ModelError(_nearest_misfit(chosen, template, type(module).__name__))
    if len(fits) > 1 and not _same([fit.tensors for fit in fits.values()]):
        raise ModelError(
            f"{path}: {len(fits)} dicts of weights fit and they differ, {_shown(fits)}; choose one with ?key=…, for "
            f"example key={next(iter(fits))}."
        )
    name, fit = next(iter(fits.items()))
    return replace(fit, notes=(f"weights taken from '{name}' of the checkpoint", *fit.notes)) if name else fit


def prefixes(names: Mapping[str, object]) -> list[str]:
    """Every dotted beginning of the names, shortest first, "" among them."""
    beginnings = {""}
    for name in names:
        parts = name.split(".")
        beginnings |= {".".join(parts[:count]) + "." for count in range(1, min(len(parts), 8))}
    return sorted(beginnings, key=_by_depth)


def _by_depth(prefix: str) -> tuple[int, str]:
    return prefix.count("."), prefix


def _fit_unwrapped(state: State, template: _Template) -> Fitted | None:
    """As `_fit`, without the parts of names that only a wrapper around an inner module adds."""
    own = {part for name in template.shapes for part in name.split(".")}
    wrappers = [name for name in _WRAPPERS if name not in own]

    def unwrapped(name: str) -> str:
        return ".".join(part for part in name.split(".") if part not in wrappers)

    plain = {unwrapped(name): name for name in state}
    if len(plain) < len(state) or plain.keys() == state.keys():
        return None
    inner = replace(template, prefix=None if template.prefix is None else unwrapped(template.prefix))
    fit = _fit({name: state[old] for name, old in plain.items()}, inner)
    if fit is None:
        return None
    seen = [part for part in wrappers if any(part in name.split(".") for name in state)]
    note = f"{' and '.join(map(repr, seen))} left out inside the names of the weights"
    return replace(fit, notes=(note, *fit.notes))


def _fit(state: State, template: _Template) -> Fitted | None:
    """The state without the prefix under which it has all that the template needs, or None."""
    first = next((name for name in template.shapes if not name.endswith(_COUNTER)), "")
    starts = {name[: len(name) - len(first)] for name in state if name == first or name.endswith(f".{first}")}
    candidates = dict.fromkeys(
        [*sorted(starts, key=_by_depth), *([] if template.prefix is None else [template.prefix])]
    )
    complete = {
        prefix: tensors for prefix in candidates if (tensors := _complete(state, prefix, template.shapes)) is not None
    }
    fits = [
        (prefix, tensors)
        for prefix, tensors in complete.items()
        if template.prefix in (None, prefix) and _alone(state, prefix, template, complete)
    ]
    if not fits:
        return None
    prefix, tensors = fits[0]
    if not _same([tensors for _, tensors in fits]):
        # Two networks in one dict: nothing says which one is meant.
        names = ", ".join(f"'{prefix}'" for prefix, _ in fits)
        raise ModelError(
            f"{template.path}: the weights fit under several prefixes and differ, {names}; choose one with ?prefix=…, "
            f"for example prefix={fits[-1][0]}"
        )
    rest = {name: value for name, value in state.items() if not any(name.startswith(p) for p, _ in fits if p)}
    mean, std, used = _normaliser(rest if prefix else {n: v for n, v in state.items() if n not in tensors})
    known = {prefix + name for name in tensors} | used
    ignored = sorted(name for name in rest if name not in known and not name.startswith(template.unused))
    notes = [f"prefix '{prefix}' taken off the names of the weights"] if prefix else []
    if mean:
        notes.append(f"mean and std taken from the checkpoint ({', '.join(sorted(used))})")
    if ignored:
        notes.append(f"ignored in the checkpoint: {', '.join(ignored[:5])}{' …' if len(ignored) > 5 else ''}")
    return Fitted(tensors, mean, std, tuple(notes))


def _complete(state: State, prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> State | None:
    """Exactly the tensors of these shapes, if they are all there under a prefix."""
    tensors = {}
    for name, shape in shapes.items():
        value = state.get(prefix + name, torch.zeros((), dtype=torch.int64) if name.endswith(_COUNTER) else None)
        if value is None or tuple(value.shape) != shape:
            return None
        tensors[name] = value
    return tensors


def _alone(state: State, prefix: str, template: _Template, networks: Collection[str]) -> bool:
    """Whether a prefix has only the template's tensors, a normaliser, and other whole networks of `networks`."""
    others = tuple(other for other in networks if other != prefix and other.startswith(prefix))
    under = {
        name[len(prefix) :]: value
        for name, value in state.items()
        if name.startswith(prefix) and not name.startswith(others)
    }
    unused = template.unused
    extra = {
        name: value for name, value in under.items() if name not in template.shapes and not name.startswith(unused)
    }
    return not extra or set(extra) <= _normaliser(extra)[2]


def _normaliser(rest: State) -> tuple[tuple[float, ...], tuple[float, ...], set[str]]:
    """Mean and std among tensors that are not weights, and the names of all copies of them."""
    pairs = []
    for name, value in rest.items():
        scope, dot, last = name.rpartition(".")
        for mean, std in _NORMALISERS:
            partner = rest.get(f"{scope}{dot}{std}")
            if last == mean and partner is not None and value.numel() == partner.numel() in (1, 3):
                pairs.append((name, f"{scope}{dot}{std}"))
    if not pairs or not _same([{"mean": rest[m].flatten(), "std": rest[s].flatten()} for m, s in pairs]):
        return (), (), set()
    means, stds = (tuple(rest[name].flatten().double().tolist()) for name in pairs[0])
    return means, stds, {name for pair in pairs for name in pair}


def _same(states: list[State]) -> bool:
    first = states[0]
    return all(all(torch.equal(first[name], other[name]) for name in first) for other in states[1:])


def _shown(states: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" if name else "the file itself" for name in states)


def _nearest_misfit(states: Mapping[str, State], template: _Template, kind: str) -> str:
    """What is missing, unexpected or of another shape under the prefix that fits best."""
    places = [(key, prefix) for key, state in states.items() for prefix in prefixes(state)[:_MOST_PREFIXES]]
    key, prefix = max(places, key=lambda place: sum(place[1] + name in states[place[0]] for name in template.shapes))
    state = {n.removeprefix(prefix): v for n, v in states[key].items() if n.startswith(prefix)}
    shapes = {n: shape for n, shape in template.shapes.items() if n in state or not n.endswith(_COUNTER)}
    where = f" under '{prefix}'" if prefix else ""
    return (
        f"{template.path}: the tensors{where} do not fit {kind}: {misfit(shapes, state)}. Check ?arch=… and the "
        f"classes; the file has weights under {_shown(states)}."
    )
