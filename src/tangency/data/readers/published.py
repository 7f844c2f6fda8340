"""Published data sets: where they are looked for, and how one is known by its content: several share file names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tangency.errors import DataError
from tangency.references import Reference

VARIABLE = "TANGENCY_DATA"


def candidates(reference: Reference, root: Path | None, below: Iterable[str]) -> list[Path]:
    """Folders that may hold a full data set, in the order of search.

    A location in the reference (`mnist:DIR`) or an explicit root is searched alone: who names a folder means
    it.

    Args:
        reference: of the data set; its location is a folder, or empty.
        root: an explicit folder, or None.
        below: folders under each root, "." for the root itself.
    """
    if reference.location:
        roots = [reference.path(root)]
    elif root is not None:
        roots = [root]
    else:
        named = os.environ.get(VARIABLE)
        roots = [Path(named).expanduser()] if named else []
        roots += [Path("data"), Path.home() / ".cache"]
    below = list(below)
    return [where if part == "." else where / part for where in roots for part in below]


def not_found(name: str, looked: Iterable[Path], files: str, torchvision_name: str) -> DataError:
    """The error for an absent full set: every place looked at, and how to get it."""
    variable = os.environ.get(VARIABLE)
    state = f"{VARIABLE} is '{variable}'" if variable else f"{VARIABLE} is not set"
    return DataError(
        f"{name}: the full data set was not found. Looked for {files} in: {', '.join(map(str, looked))} "
        f"({state}). Name its folder as '{name}:DIR' or in {VARIABLE}, or fetch it with: python -c \"import "
        f"torchvision; torchvision.datasets.{torchvision_name}('data', download=True)\". The embedded sample "
        "'fashion-mnist-5k' needs no files, and is never taken in place of a full set."
    )


# SHA-256 of the published bytes of labels and of pixels, without headers.
LABELS = {
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": "fashion-mnist",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": "fashion-mnist",
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13": "mnist",
    "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5": "mnist",
}
PIXELS = {
    "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012": "fashion-mnist",
    "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a": "fashion-mnist",
    "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757": "mnist",
    "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161": "mnist",
}
# MD5 of whole files as torchvision checks them after a download.
FILES = {
    "e144d726b3acfaa3e44228e80efcd344": "kmnist",
    "7320c461ea6c1c855c0b718fb2a4b134": "kmnist",
    "c99cafc152244af753f735de768cd75f": "cifar10",
    "d4bba439e000b95fd0a9bffe97cbabec": "cifar10",
    "54ebc095f3ab1f0389bbae665268c751": "cifar10",
    "634d18415352ddfa80567beed471001a": "cifar10",
    "482c414d41f54cd18b22e5b47cb7c3cb": "cifar10",
    "40351d587109b95175f43aff81a1287e": "cifar10",
}


def of_labels(labels: np.ndarray) -> str:
    """The set whose published labels these are; "" where they are none's."""
    return LABELS.get(hashlib.sha256(labels.tobytes()).hexdigest(), "")


def of_pixels(pixels: np.ndarray) -> str:
    """The set whose published pixels these are; "" where they are none's."""
    return PIXELS.get(hashlib.sha256(pixels.tobytes()).hexdigest(), "")


def of_file(path: Path) -> str:
    """The set whose published file this is, byte for byte; "" where it is none's."""
    with path.open("rb") as handle:
        return FILES.get(hashlib.file_digest(handle, "md5").hexdigest(), "")
