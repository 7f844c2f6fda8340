"""Networks of timm: how its own weights are fed, and the config.json of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, quoted, unknown_name
from tangency.models.foreign.feeding import Feeding
from tangency.models.foreign.rebuilt import optional
from tangency.models.foreign.shards import read_config

WHAT = "a folder that timm wrote (config.json with an architecture, and weights)"
# Arguments that a card names elsewhere.
_ELSEWHERE = ("num_classes", "in_chans")


@dataclass(frozen=True)
class TimmFolder:
    """The config.json of a folder.

    Args:
        architecture: a name of timm.
        options: of its constructor.
        outputs: number of logits; None where it is not there.
        size: (H, W) of the images.
        mean, std: per channel, of the data settings as timm resolves them.
        classes: their names; None where there are none.
    """

    architecture: str
    options: dict[str, object]
    outputs: int | None
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None

    def feeding(self, channels: int) -> Feeding:
        """How its network is fed: images in [0, 1], mean and std of the settings where they fit the channels."""
        height, width = self.size
        mean, std = (v * (channels if len(v) == 1 else 1) for v in (self.mean, self.std))
        shape = None if channels == 3 else (channels, height, width)
        known = Feeding(shape=shape, native=self.size, classes=self.classes)
        if not len(mean) == len(std) == channels:
            note = f"mean and std of config.json are for {len(mean)} channels, the network takes {channels}: not used"
            return known.or_else(Feeding(notes=(note,)))
        note = f"input as pretrained_cfg of config.json says: {height}x{width}, mean {mean}, std {std}"
        return known.or_else(Feeding(input_range=(0.0, 1.0), mean=mean, std=std, notes=(note,)))


def is_timm_config(config: dict[str, Any]) -> bool:
    """Whether a config.json is one of timm, or of transformers' wrapper around it."""
    return config.get("model_type") == "timm_wrapper" or ("architecture" in config and "model_type" not in config)


def read_timm_folder(folder: Path) -> TimmFolder:
    """The settings of a folder of timm or of transformers' TimmWrapperForImageClassification.

    Raises:
        ModelError: no such folder, no config.json of this kind, or an architecture that timm does not have.
    """
    config, path = read_config(folder, WHAT), folder / "config.json"
    if not is_timm_config(config):
        raise ModelError(f"{path}: names no architecture of timm, expected {WHAT}; a folder of transformers is hf:DIR.")
    timm = optional("timm", "timm")
    # The oldest folders of timm hold the settings of the data at the top level.
    settings = config.get("pretrained_cfg", {} if "model_type" in config else config)
    architecture, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(settings, dict) or not isinstance(arguments, dict):
        raise ModelError(f"{path}: pretrained_cfg and model_args are no mappings, expected {WHAT}.")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ModelError(f"{path}: {unknown_name('model of timm', str(architecture), timm.list_models())}")
    outputs = config.get("num_classes", settings.get("num_classes"))
    return TimmFolder(
        architecture,
        {name: value for name, value in arguments.items() if name not in _ELSEWHERE},
        outputs if isinstance(outputs, int) else None,
        *_resolved(settings, path),
        _classes(config.get("label_names") or settings.get("label_names") or settings.get("labels")),
    )


def _resolved(settings: dict[str, Any], path: Path) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
    """Size, mean and std of data settings, completed by timm."""
    from timm.data import resolve_data_config

    try:
        resolved = resolve_data_config(pretrained_cfg=dict(settings), args={}, model=None)
        size, mean, std = (tuple(resolved[name]) for name in ("input_size", "mean", "std"))
        if len(size) != 3 or not all(isinstance(value, int | float) for value in (*size, *mean, *std)):
            raise ValueError(f"input_size {size}, mean {mean}, std {std}")
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path}: pretrained_cfg does not say how images are fed ({quoted(error)}); write it again."
        ) from error
    return (size[1], size[2]), tuple(map(float, mean)), tuple(map(float, std))


def _classes(names: object) -> tuple[str, ...] | None:
    """Names of a list, or of a mapping of every index; None for transformers' placeholders."""
    if isinstance(names, dict):
        names = [names.get(str(index)) for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else tuple(names)


def own_feeding(name: str, outputs: int, channels: int, size: int | None, decided_later: bool) -> Feeding:
    """How timm feeds its own weights of a network, for weights with as many classes and channels.

    Args:
        name: of timm, with or without the tag of a set of weights, as "resnet18.a1_in1k".
        outputs, channels: of the weights at hand.
        size: of the images, where a reference names it.
        decided_later: whether mean and std are given, or can be decided from data.

    Raises:
        ModelError: nothing else says mean and std, and timm has sets of weights that differ in them.
    """
    sets = _sets(name)
    if not sets:
        return Feeding(native=(size, size) if size else None)
    first = next(iter(sets.values()))
    fitting = {tag: c for tag, c in sets.items() if (c.num_classes, c.input_size[0]) == (outputs, channels)}
    height, width = (size, size) if size else next(iter((fitting or sets).values())).input_size[1:]
    if not fitting:
        note = (
            f"timm's own weights of {name} have {first.num_classes} classes and {first.input_size[0]} channels, these "
            f"{outputs} and {channels}: its mean and std are not taken"
        )
        bound = size is not None or first.fixed_input_size
        return Feeding(native=(height, width) if bound else None, notes=(note,))
    pairs = {(tuple(c.mean), tuple(c.std)): tag for tag, c in reversed(fitting.items())}
    if len(pairs) > 1:
        differing = "; ".join(f"mean {mean}, std {std} of {name}.{tag}" for (mean, std), tag in pairs.items())
        if not decided_later:
            raise ModelError(
                f"timm:{name}: timm has several sets of weights of it, and they are fed differently: {differing}. Name "
                f"the one this is, as in timm:{name}.{next(iter(pairs.values()))}, or give mean=…&std=…, or --data."
            )
        return Feeding(native=(height, width), notes=(f"timm's own sets of weights are fed differently: {differing}",))
    ((mean, std),) = pairs
    note = f"input as timm's configuration of {name}: {height}x{width}, mean {mean}"
    return Feeding(native=(height, width), input_range=(0.0, 1.0), mean=mean, std=std, notes=(note,))


def _sets(name: str) -> dict[str, Any]:
    """Tag to configuration of the sets of weights that a name may mean, the default one first."""
    timm = optional("timm", "timm")
    if not timm.is_model(name):
        return {}
    from timm.models import get_arch_pretrained_cfgs

    base, _, tag = name.partition(".")
    sets = {full.partition(".")[2]: config for full, config in get_arch_pretrained_cfgs(base).items()}
    if tag and tag not in sets:
        raise ModelError(f"timm:{name}: {unknown_name(f'set of weights of {base}', tag, sets)}")
    if tag:
        return {tag: sets[tag]}
    default = timm.get_pretrained_cfg(name)
    return ({default.tag or "": default} if default is not None else {}) | sets
