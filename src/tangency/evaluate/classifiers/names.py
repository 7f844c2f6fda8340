"""Short names of classifiers for folders and tables: the file's stem or the architecture, and what differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath

_LONGEST = 60  # letters of a name
# Endings of files. "resnet18.a1_in1k" is the name of a network, and keeps the part behind its dot.
_ENDINGS = (".safetensors", ".onnx", ".ckpt", ".pth", ".pt", ".pt2", ".ts", ".bin", ".pkl", ".py", ".tar")


@dataclass(frozen=True)
class _Parts:
    """The parts of a name."""

    folder: str
    stem: str
    options: tuple[str, ...]


def short_names(references: Sequence[str]) -> list[str]:
    """A name for each reference of a classifier, of letters, digits, dots, dashes and underscores.

    Where stems are the same, case aside, the options that differ are added, or else the folders, or both; references
    that are still the same are numbered.

    Example:
        >>> short_names(["onnx:nets/09-ide_kw.onnx?range=0,1", "timm:resnet18.a1_in1k", "run:r/trials/standard-s0"])
        ['09-ide_kw', 'resnet18.a1_in1k', 'standard-s0']
        >>> short_names(["a/net.pt", "b/net.pt", "c.pt?arch=vgg11&range=0,1", "c.pt?arch=vgg16&range=0,1"])
        ['a-net', 'b-net', 'c-arch-vgg11', 'c-arch-vgg16']
    """
    groups: dict[str, list[int]] = {}
    parts = [_parts(reference) for reference in references]
    for number, part in enumerate(parts):
        groups.setdefault(part.stem.casefold(), []).append(number)
    names = [""] * len(parts)
    for group in groups.values():
        for number, name in zip(group, _distinguished([parts[number] for number in group]), strict=True):
            names[number] = name
    return names


def _distinguished(group: Sequence[_Parts]) -> list[str]:
    """Names of classifiers of one stem."""
    shared = set(group[0].options).intersection(*(part.options for part in group))

    def own(part: _Parts) -> list[str]:
        return [option for option in part.options if option not in shared]

    forms: tuple[Callable[[_Parts], list[str]], ...] = (
        lambda part: [part.stem],
        lambda part: [part.stem, *own(part)],
        lambda part: [part.folder, part.stem],
        lambda part: [part.folder, part.stem, *own(part)],
    )
    names: list[str] = []
    for form in forms:
        names = [_safe("-".join(form(part))) for part in group]
        if len({name.casefold() for name in names}) == len(group):
            return names
    return [f"{name}-{number}" for number, name in enumerate(names, 1)]


def _parts(reference: str) -> _Parts:
    """Parts of "KIND:LOCATION?options", of a file alone, or of a file with a function behind a colon."""
    body, _, query = reference.partition("?")
    kind, colon, location = body.partition(":")
    path = PureWindowsPath(location if colon and len(kind) > 1 else body)  # splits at either slash; C: is no kind
    file, _, function = path.name.partition(":")
    stem = file
    while ending := next((end for end in _ENDINGS if stem.lower().endswith(end) and len(stem) > len(end)), ""):
        stem = stem[: -len(ending)]
    above = path.parent.parent if path.parent.name == "trials" else path.parent  # the name of a run, not "trials"
    return _Parts(above.name, "-".join(filter(None, (stem or kind, function))), tuple(filter(None, query.split("&"))))


def _safe(name: str) -> str:
    """Characters that every file system takes, no dot or dash at either end."""
    return re.sub(r"[^\w.-]+", "-", name)[:_LONGEST].strip("-.") or "model"
