"""Worlds by reference, and data sets drawn from them."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tangency.data import load
from tangency.data.build import digest
from tangency.errors import DataError, SpecError, unknown_name
from tangency.references import as_reference, parse_options
from tangency.types import Dataset, LabelledImages
from tangency.worlds.curved import sphere, torus
from tangency.worlds.distractor import distractor, signal_mask, with_distractor
from tangency.worlds.fitted import fitted
from tangency.worlds.flat import linear, offset, rotated
from tangency.worlds.world import World, replace_named

# A new world joins by adding a row: a function of keyword arguments with defaults.
WORLDS: dict[str, Callable[..., World]] = {
    "linear": linear,
    "offset": offset,
    "rotated": rotated,
    "fitted": fitted,
    "sphere": sphere,
    "torus": torus,
    "distractor": distractor,
}
# Raise it when a change alters the law that a reference stands for, or how images are drawn from it.
WORLD_SCHEMA = 1
_EXAMPLES = {"fitted": "fitted?components=1&rank=2&images=200"}  # as undefined as any, and fitted at once
_DRAWN = {"train": 5000, "test": 1000, "draw": 0}  # options of a data set drawn from a world
_LARGEST = 2_000_000_000  # pixels of a split, 8 GB
_HELD = 10_000_000  # pixels of a test split that is held, 40 MB; of a larger one the labels are
_PREFIX = "world:"
_LETTERS = "distractor:"
_AT_ONCE = 250  # images whose labels are drawn at once


def make_world(reference: str | Path, root: str | Path | None = None) -> World:
    """A world by reference: a name in `WORLDS`, with options behind a question mark.

    Args:
        reference: "sphere", "linear?rank=4&classes=3&shape=1x8x8", with or without "world:" in front.
        root: where the data of a fitted world are looked for, see `data.load`.

    Raises:
        SpecError: an unknown world or option, or a value of the wrong kind.
        DataError, NumericsError: options that contradict each other, or data that cannot be fitted.

    Example:
        >>> make_world("torus?rank=3").intrinsic_dimension
        3
    """
    reference, root = str(reference), None if root is None else Path(root)
    name, options = _parsed(reference)
    for key, text in options.items():
        if key in _DRAWN:
            _value(reference, key, text, _DRAWN[key])
    return _built(reference, name, tuple((k, text) for k, text in options.items() if k not in _DRAWN), root)


def _parsed(reference: str) -> tuple[str, dict[str, str]]:
    name, mark, query = reference.removeprefix(_PREFIX).partition("?")  # the first: data may have options of their own
    if name not in WORLDS:
        raise SpecError(f"{reference}: {unknown_name('world', name, WORLDS)}")
    return name, parse_options(reference, query) if mark else {}


def _options(name: str) -> dict[str, Any]:
    """Options of a world with their defaults; the root of data is none."""
    return {key: p.default for key, p in inspect.signature(WORLDS[name]).parameters.items() if key != "root"}


@lru_cache(maxsize=8)  # a world is immutable, and fitting one to real images takes a while
def _built(reference: str, name: str, options: tuple[tuple[str, str], ...], root: Path | None) -> World:
    known = _options(name)
    values = dict(known)
    for key, text in options:
        if key not in known:
            raise SpecError(f"{reference}: {unknown_name(f'option of world {name}', key, [*known, *_DRAWN])}")
        values[key] = _value(reference, key, text, known[key])
    world = WORLDS[name](**values, **({"root": root} if name == "fitted" else {}))
    identity = json.dumps([WORLD_SCHEMA, name, values, world.identity])
    shown = "&".join(f"{key}={text}" for key, text in options)
    return replace_named(world, f"{name}?{shown}" if shown else name, identity)


def _value(reference: str, key: str, text: str, default: Any) -> Any:
    """An option as the kind of its default."""
    try:
        if isinstance(default, tuple):
            shape = tuple(int(part) for part in text.split("x"))
            if len(shape) != 3 or min(shape) < 1:
                raise ValueError
            return shape
        return type(default)(text)
    except ValueError:
        kind = "CxHxW" if isinstance(default, tuple) else {int: "a whole number", float: "a number"}[type(default)]
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
        raise SpecError(f"{reference}: {key}={text}, expected {kind}, for example {key}={shown}.") from None


def world_of(reference: str) -> World | None:
    """The world that a data reference draws from; None where the data are real images."""
    return make_world(reference) if reference.startswith(_PREFIX) else None


def load_dataset(reference: str | Path, root: str | Path | None = None) -> Dataset:
    """A data set by reference, real or drawn: all that `data.load` takes, "world:NAME?…", and "distractor:DATA".

    Args:
        reference: "world:linear?rank=4&train=2000&test=500&draw=1" draws training and test images from a world (test
            images are those behind the training images of the same stream); "distractor:mnist" puts the letter A
            beside each image of a real set; anything else is a real set.
        root: see `data.load`.

    Raises:
        DataError, SpecError: an unknown reference or option.

    Example:
        >>> data = load_dataset("world:sphere?train=20&test=10")
        >>> len(data.train), data.test.shape, data.test.unit_range
        (20, (1, 16, 16), False)
    """
    reference = as_reference(reference)
    if reference.startswith(_LETTERS):
        real = load(reference.removeprefix(_LETTERS), root)
        train, test = with_distractor(real.train, 0), with_distractor(real.test, 1)
        return Dataset(f"{_LETTERS}{real.name}", train, test, real.licence, real.notes)
    if not reference.startswith(_PREFIX):
        return load(reference, root)
    counts = dict(_DRAWN)
    for key, text in _parsed(reference)[1].items():
        if key in counts:
            counts[key] = _value(reference, key, text, counts[key])
    world = make_world(reference, root)
    if counts["train"] * world.dimension > _LARGEST:
        raise DataError(
            f"{reference}: {counts['train']} training images of {world.dimension} pixels do not fit into memory, "
            f"expected at most {_LARGEST // world.dimension}; `World.sample` draws them in parts."
        )
    if counts["train"] < 1 or counts["test"] < 1:
        raise DataError(f"{reference}: got train={counts['train']}, test={counts['test']}, expected at least 1 each.")
    train = drawn(world, counts["train"], counts["draw"], name=f"{reference} train")
    few = counts["test"] * world.dimension <= _HELD or signal_mask(world, torch.zeros(1, dtype=torch.long)) is not None
    test = (drawn if few else drawn_anew)(world, counts["test"], counts["draw"], counts["train"], f"{reference} test")
    return Dataset(reference, train, test, "drawn from a closed-form law")


def drawn(world: World, n: int, seed: int = 0, start: int = 0, name: str = "") -> LabelledImages:
    """n labelled images from a world as float32, not clipped, with the mask of their signal where there is one."""
    found = world.sample(n, seed, start)
    pixels = found.x.float()
    signal = signal_mask(world, found.component)
    return LabelledImages(
        pixels=pixels,
        labels=found.y,
        classes=world.class_names,
        name=name or f"{_PREFIX}{world.name}",
        digest=_identity(world, n, seed, start) if world.identity else digest(pixels, found.y, world.class_names),
        signal=signal,
        unit_range=False,
    )


def drawn_anew(world: World, n: int, seed: int = 0, start: int = 0, name: str = "") -> LabelledImages:
    """As `drawn`, but only labels are held: images are drawn whenever they are asked for."""
    labels = [world.sample_at(ids, seed).y for ids in torch.arange(start, start + n).split(_AT_ONCE)]
    return LabelledImages(
        pixels=torch.empty(0, *world.shape),
        labels=torch.cat(labels),
        classes=world.class_names,
        name=name or f"{_PREFIX}{world.name}",
        digest=_identity(world, n, seed, start),
        unit_range=False,
        drawn=lambda ids: world.sample_at(start + ids, seed).x.float(),
    )


def _identity(world: World, n: int, seed: int, start: int) -> str:
    """The same in every process, whatever its threads."""
    return hashlib.sha256(f"{world.identity} images {start} to {start + n} of seed {seed}".encode()).hexdigest()


def describe_worlds() -> list[dict[str, Any]]:
    """Each world with its title, its options and defaults, and what it leaves undefined at σ = 0, and why."""
    found = []
    for name, build in WORLDS.items():
        title = inspect.cleandoc(build.__doc__ or "").partition("\n")[0]
        shown = {key: "x".join(map(str, v)) if isinstance(v, tuple) else v for key, v in _options(name).items()}
        undefined = make_world(_EXAMPLES.get(name, name)).undefined
        found.append({"name": name, "title": title, "options": shown, "undefined": undefined})
    return found
