"""The weights inside a checkpoint: which of its dicts they are, under which prefix, and with which normalisation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import DataError, ModelError, quoted
from tangency.formats.plain import Inert
from tangency.formats.torch_file import read_torch
from tangency.models.foreign.shards import pieces

State = dict[str, Tensor]

_DEEPEST, _MOST_MODULES, _MOST_PREFIXES = 4, 20_000, 300
# Moments of an optimiser are tensors too, often of the names and shapes of the weights.
_NOT_WEIGHTS = ("opt", "sched", "scaler", "amp", "grad", "momentum", "rng", "exp_avg")
_NORMALISERS = (("new_mean", "new_std"), ("mean", "std"), ("mu", "sigma"), ("_mean", "_std"), ("means", "sds"))
# What wrappers put into names, anywhere: torch.compile, DataParallel, FSDP, activation checkpointing.
_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_COUNTER = "num_batches_tracked"  # older than torch 0.4.1: not there, and of no effect on a trained network


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
        raise ModelError(
            f"{path}: no dict of tensors in it, expected the state_dict of a network; it holds a {_about(content)}."
        )
    return states


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: no such file. Check the path.")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a readable safetensors file ({quoted(error)}). Fetch or write it again."
        ) from error


def _about(content: object) -> str:
    if isinstance(content, dict):
        return f"dict of {', '.join(map(str, list(content)[:8])) or 'nothing'}"
    return content.name if isinstance(content, Inert) else type(content).__name__


def _walk(node: object, path: tuple[str, ...], depth: int, seen: set[int]) -> Iterator[tuple[str, State]]:
    """Dicts of tensors in dicts in dicts, each once; a module that was saved whole counts as its state_dict."""
    where = ".".join(path)
    if isinstance(node, Inert):
        state = _module_state(node)
        if state:
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
    found: State = {}
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
                    found[f"{prefix}{_name(name)}"] = value
    return found


def fit_states(
    states: Mapping[str, State],
    module: nn.Module,
    path: Path | str,
    key: str | None = None,
    unused: tuple[str, ...] = (),
    prefix: str | None = None,
) -> Fitted:
    """The one dict of weights that fits a module, its prefix taken off, and the names of wrappers inside.

    Args:
        states: from `read_states`.
        module: what the weights are for; only names and shapes of its tensors are read.
        path: for errors.
        key: the dict to take, where there are several.
        unused: beginnings of names that checkpoints of this network hold and it never uses.
        prefix: the beginning of the names to take, where there are several; a dot at its end may be left out.

    Raises:
        ModelError: none fits (the nearest misfit is told), or several do and differ; all are named.
    """
    if key is not None and key not in states:
        raise ModelError(f"{path}: no weights under key={key}; there are {_listed(states)}.")
    chosen = dict(states) if key is None else {key: states[key]}
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    first = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
    fits = {}
    for name, state in chosen.items():
        fit = _fit(state, wanted, unused, first, path) or _fit_unwrapped(state, wanted, unused, first, path)
        if fit is not None:
            fits[name] = fit
    if not fits and first is not None and not any(n.startswith(first) for state in chosen.values() for n in state):
        there = sorted({p for state in chosen.values() for p in prefixes(state) if p})
        raise ModelError(
            f"{path}: no weights under prefix={prefix}; names begin with {', '.join(there[:10]) or 'no prefix'}."
        )
    if not fits:
        raise ModelError(_misfit(chosen, wanted, module, path))
    if len(fits) > 1 and not _same([fit.tensors for fit in fits.values()]):
        raise ModelError(
            f"{path}: {len(fits)} dicts of weights fit and they differ, {_listed(fits)}; choose one with ?key=…, for "
            f"example key={next(iter(fits))}."
        )
    name, fit = next(iter(fits.items()))
    note = (f"weights taken from '{name}' of the checkpoint",) if name else ()
    return Fitted(fit.tensors, fit.mean, fit.std, note + fit.notes)


def prefixes(names: Mapping[str, object]) -> list[str]:
    """Every dotted beginning of the names, shortest first, "" among them."""
    found = {""}
    for name in names:
        parts = name.split(".")
        found |= {".".join(parts[:count]) + "." for count in range(1, min(len(parts), 8))}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _fit_unwrapped(
    state: State, wanted: Mapping[str, tuple[int, ...]], unused: tuple[str, ...], prefix: str | None, path: Path | str
) -> Fitted | None:
    """As `_fit`, without the parts of names that only a wrapper around an inner module puts there."""
    own = {part for name in wanted for part in name.split(".")}
    left_out = [name for name in _WRAPPERS if name not in own]
    plain = {".".join(part for part in name.split(".") if part not in left_out): name for name in state}
    if len(plain) < len(state) or plain.keys() == state.keys():
        return None
    kept = None if prefix is None else ".".join(part for part in prefix.split(".") if part not in left_out)
    fit = _fit({name: state[old] for name, old in plain.items()}, wanted, unused, kept, path)
    if fit is None:
        return None
    seen = [part for part in left_out if any(part in name.split(".") for name in state)]
    said = f"{' and '.join(repr(part) for part in seen)} left out inside the names of the weights"
    return replace(fit, notes=(said, *fit.notes))


def _candidates(state: State, wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Prefixes under which the first of the wanted names stands, shortest first."""
    first = next((name for name in wanted if not name.endswith(_COUNTER)), "")
    found = {name[: len(name) - len(first)] for name in state if name == first or name.endswith(f".{first}")}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _fit(
    state: State, wanted: Mapping[str, tuple[int, ...]], unused: tuple[str, ...], asked: str | None, path: Path | str
) -> Fitted | None:
    """The state without the prefix (the one asked for, if any) under which it has all that is wanted, or None."""
    there = {
        prefix: tensors
        for prefix in dict.fromkeys([*_candidates(state, wanted), *([] if asked is None else [asked])])
        if (tensors := _complete(state, prefix, wanted)) is not None
    }
    found = [
        (prefix, tensors)
        for prefix, tensors in there.items()
        if asked in (None, prefix) and _alone(state, prefix, wanted, unused, there)
    ]
    if not found:
        return None
    prefix, tensors = found[0]
    if not _same([tensors for _, tensors in found]):
        # Two networks in one dict: nothing says which one is meant.
        names = ", ".join(f"'{prefix}'" for prefix, _ in found)
        raise ModelError(
            f"{path}: the weights fit under several prefixes and differ, {names}; choose one with ?prefix=…, for "
            f"example prefix={found[-1][0]}"
        )
    rest = {name: value for name, value in state.items() if not any(name.startswith(p) for p, _ in found if p)}
    mean, std, used = _normaliser(rest if prefix else {n: v for n, v in state.items() if n not in tensors})
    known = {prefix + name for name in tensors} | used
    ignored = sorted(name for name in rest if name not in known and not name.startswith(unused))
    notes = [f"prefix '{prefix}' taken off the names of the weights"] if prefix else []
    if mean:
        notes.append(f"mean and std taken from the checkpoint ({', '.join(sorted(used))})")
    if ignored:
        notes.append(f"ignored in the checkpoint: {', '.join(ignored[:5])}{' …' if len(ignored) > 5 else ''}")
    return Fitted(tensors, mean, std, tuple(notes))


def _complete(state: State, prefix: str, wanted: Mapping[str, tuple[int, ...]]) -> State | None:
    """Exactly the wanted tensors, if they are all there under a prefix."""
    found = {}
    for name, shape in wanted.items():
        value = state.get(prefix + name)
        if value is None and name.endswith(_COUNTER):
            value = torch.zeros((), dtype=torch.int64)
        if value is None or tuple(value.shape) != shape:
            return None
        found[name] = value
    return found


def _alone(
    state: State,
    prefix: str,
    wanted: Mapping[str, tuple[int, ...]],
    unused: tuple[str, ...],
    networks: Collection[str],
) -> bool:
    """Whether beside the wanted tensors only a normaliser, or another whole network of `networks`, has that prefix."""
    others = tuple(other for other in networks if other != prefix and other.startswith(prefix))
    under = {
        name[len(prefix) :]: value
        for name, value in state.items()
        if name.startswith(prefix) and not name.startswith(others)
    }
    extra = {name: value for name, value in under.items() if name not in wanted and not name.startswith(unused)}
    return not extra or set(extra) <= _normaliser(extra)[2]


def _normaliser(rest: State) -> tuple[tuple[float, ...], tuple[float, ...], set[str]]:
    """Mean and std among tensors that are no weights, and the names of all copies of them."""
    pairs = []
    for name, value in rest.items():
        scope, _, last = name.rpartition(".")
        for mean, std in _NORMALISERS:
            partner = rest.get(f"{scope}.{std}" if scope else std)
            if last == mean and partner is not None and value.numel() == partner.numel() in (1, 3):
                pairs.append((name, f"{scope}.{std}" if scope else std))
    if not pairs or not _same([{"mean": rest[m].flatten(), "std": rest[s].flatten()} for m, s in pairs]):
        return (), (), set()
    first = pairs[0]
    means, stds = (tuple(rest[name].flatten().double().tolist()) for name in first)
    return means, stds, {name for pair in pairs for name in pair}


def _same(states: list[State]) -> bool:
    first = states[0]
    return all(all(torch.equal(first[name], other[name]) for name in first) for other in states[1:])


def _listed(states: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" if name else "the file itself" for name in states)


def _misfit(
    states: Mapping[str, State], wanted: Mapping[str, tuple[int, ...]], module: nn.Module, path: Path | str
) -> str:
    """What is missing, unexpected or of another shape under the prefix that fits best."""
    best: tuple[int, str, str] = (-1, "", "")
    for key, state in states.items():
        for prefix in prefixes(state)[:_MOST_PREFIXES]:
            hits = sum(prefix + name in state for name in wanted)
            best = max(best, (hits, key, prefix), key=lambda entry: entry[0])
    _, key, prefix = best
    state = {n.removeprefix(prefix): v for n, v in states[key].items() if n.startswith(prefix)}
    missing = sorted(n for n in wanted if n not in state and not n.endswith(_COUNTER))
    extra = sorted(n for n in state if n not in wanted)
    wrong = [
        f"{n} {tuple(state[n].shape)} instead of {s}" for n, s in wanted.items() if n in state and state[n].shape != s
    ]
    parts = [("missing", missing), ("unexpected", extra), ("of another shape", wrong)]
    told = "; ".join(
        f"{what} {', '.join(v[:4])}{f' and {len(v) - 4} more' if len(v) > 4 else ''}" for what, v in parts if v
    )
    where = f" under '{prefix}'" if prefix else ""
    return (
        f"{path}: the tensors{where} do not fit {type(module).__name__}: {told}. Check ?arch=… and the classes; "
        f"the file has weights under {_listed(states)}."
    )
