"""Worlds by reference, and data sets drawn from them."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tangency.data import load
from tangency.data.build import digest
from tangency.errors import DataError, SpecError, unknown_name
from tangency.references import as_reference, parse_options
from tangency.types import Dataset, LabelledImages
from tangency.worlds.curved import SphereWorld, TorusWorld
from tangency.worlds.decoder import DecoderWorld
from tangency.worlds.distractor import DistractorWorld, signal_mask, with_distractor
from tangency.worlds.fitted import FittedWorld
from tangency.worlds.flat import LinearWorld, OffsetWorld, RotatedWorld
from tangency.worlds.options import WorldOptions
from tangency.worlds.world import World, replace_named

# A new world joins by adding its options.
WORLDS: dict[str, type[WorldOptions]] = {
    world.name: world
    for world in (
        LinearWorld,
        OffsetWorld,
        RotatedWorld,
        FittedWorld,
        SphereWorld,
        TorusWorld,
        DistractorWorld,
        DecoderWorld,
    )
}
# Raise it when a change alters the law that a reference stands for, or how images are drawn from it.
WORLD_SCHEMA = 1
_EXAMPLES = {"fitted": "fitted?components=1&rank=2&images=200"}  # a fast fit, with the same undefined quantities
_DRAWN = {"train": 5000, "test": 1000, "draw": 0}  # options of a data set drawn from a world
_LARGEST = 2_000_000_000  # pixels of a split, 8 GB
_HELD = 10_000_000  # pixels of a test split that is held in memory, 40 MB; of a larger one only the labels are
_PREFIX = "world:"
_LETTERS = "distractor:"
_AT_ONCE = 250  # images whose labels are drawn at once


def make_world(reference: str | Path, root: str | Path | None = None) -> World:
    """A world by reference: a name in `WORLDS`, with options after a question mark.

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
    name, options, _ = _parsed(str(reference))
    return _built(str(reference), name, tuple(options.items()), None if root is None else Path(root))


def _parsed(reference: str) -> tuple[str, dict[str, str], dict[str, int]]:
    """A world's name, its options as they are written, and how many images are drawn from it."""
    name, mark, query = reference.removeprefix(_PREFIX).partition("?")  # the first: data may have options of their own
    if name not in WORLDS:
        raise SpecError(f"{reference}: {unknown_name('world', name, WORLDS)}")
    options = parse_options(reference, query) if mark else {}
    counts = {key: _value(reference, key, options.pop(key, str(n)), n) for key, n in _DRAWN.items()}
    return name, options, counts


@lru_cache(maxsize=8)  # a world is immutable, and fitting one to real images takes a while
def _built(reference: str, name: str, options: tuple[tuple[str, str], ...], root: Path | None) -> World:
    defaults = WORLDS[name]().values()
    values = {}
    for key, text in options:
        if key not in defaults:
            raise SpecError(f"{reference}: {unknown_name(f'option of world {name}', key, [*defaults, *_DRAWN])}")
        values[key] = _value(reference, key, text, defaults[key])
    world = WORLDS[name](**values).build(root)
    identity = json.dumps([WORLD_SCHEMA, name, defaults | values, world.identity])
    shown = "&".join(f"{key}={text}" for key, text in options)
    return replace_named(world, f"{name}?{shown}" if shown else name, identity)


def _value(reference: str, key: str, text: str, default: Any) -> Any:
    """An option as the kind of its default."""
    shaped = isinstance(default, tuple)
    try:
        if not shaped:
            return type(default)(text)
        shape = tuple(int(part) for part in text.split("x"))
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError
        return shape
    except ValueError:
        kind = "CxHxW" if shaped else {int: "a whole number", float: "a number"}[type(default)]
        raise SpecError(f"{reference}: {key}={text}, expected {kind}, for example {key}={_shown(default)}.") from None


def _shown(value: Any) -> str | int | float:
    """An option as it is written in a reference."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def world_of(reference: str) -> World | None:
    """The world that a data reference draws from; None where the data are real images."""
    return make_world(reference) if reference.startswith(_PREFIX) else None


def load_dataset(reference: str | Path, root: str | Path | None = None) -> Dataset:
    """A data set by reference, real or drawn: all that `data.load` takes, "world:NAME?…", and "distractor:DATA".

    Args:
        reference: "world:linear?rank=4&train=2000&test=500&draw=1" draws training and test images from a world (test
            images follow the training images in the same stream); "distractor:mnist" joins the letter A
            to each image of a real set; anything else is a real set.
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
    counts = _parsed(reference)[2]
    world = make_world(reference, root)
    if counts["train"] * world.dimension > _LARGEST:
        raise DataError(
            f"{reference}: {counts['train']} training images of {world.dimension} pixels do not fit into memory, "
            f"expected at most {_LARGEST // world.dimension}; `World.sample` draws them in parts."
        )
    if counts["train"] < 1 or counts["test"] < 1:
        raise DataError(f"{reference}: got train={counts['train']}, test={counts['test']}, expected at least 1 each.")
    train = drawn(world, counts["train"], counts["draw"], name=f"{reference} train")
    keep = counts["test"] * world.dimension <= _HELD or signal_mask(world, torch.zeros(1, dtype=torch.long)) is not None
    test = drawn(world, counts["test"], counts["draw"], counts["train"], f"{reference} test", keep)
    return Dataset(reference, train, test, "drawn from a closed-form law")


def drawn(
    world: World, n: int, seed: int = 0, start: int = 0, name: str = "", keep_pixels: bool = True
) -> LabelledImages:
    """n labelled images from a world as float32, not clipped, with the mask of their signal where there is one.

    With `keep_pixels` false only labels are held, and images are drawn again whenever they are used (no mask, then).
    """
    ids = torch.arange(start, start + n)
    known = hashlib.sha256(f"{world.identity} images {start} to {start + n} of seed {seed}".encode()).hexdigest()
    images = LabelledImages(
        pixels=torch.empty(0, *world.shape),
        labels=torch.empty(0, dtype=torch.long),
        classes=world.class_names,
        name=name or f"{_PREFIX}{world.name}",
        digest=known,  # the same in every process, whatever its threads
        unit_range=False,
    )
    if not keep_pixels:
        labels = torch.cat([world.sample_at(some, seed).y for some in torch.split(ids, _AT_ONCE)])
        return replace(images, labels=labels, drawn=lambda chosen: world.sample_at(start + chosen, seed).x.float())
    sample = world.sample(n, seed, start)
    pixels, signal = sample.x.float(), signal_mask(world, sample.component)
    if not world.identity:
        images = replace(images, digest=digest(pixels, sample.y, world.class_names))
    return replace(images, pixels=pixels, labels=sample.y, signal=signal)


@dataclass(frozen=True)
class WorldDescription:
    """A world in words.

    Args:
        name: as in a reference.
        title: what it is.
        options: with their defaults.
        undefined: what is not defined on clean images (σ = 0), and why.
    """

    name: str
    title: str
    options: dict[str, str | int | float]
    undefined: dict[str, str]


def describe_worlds() -> list[WorldDescription]:
    """Every world in words."""
    worlds = []
    for name, kind in WORLDS.items():
        title = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
        options = {key: _shown(value) for key, value in kind().values().items()}
        worlds.append(WorldDescription(name, title, options, make_world(_EXAMPLES.get(name, name)).undefined))
    return worlds
