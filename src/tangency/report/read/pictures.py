"""The pictures of a run: images, targets, gradients, tangent spaces and answers, checked once at the door."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tangency.errors import RunError, quoted
from tangency.report.read.summary import WAY_OUT

TARGETS = ("bayes_gradient", "score_y", "score")
_SCALE, _TANGENTS, _PROBABILITY, _ANSWER = "scale.", "tangents.", "probability.", "answer."


@dataclass(frozen=True)
class KeptPictures:
    """What a run kept of a few images, besides the pictures themselves.

    Args:
        pictures: "image" in [0, 1], "labels", the targets and "gradient.<trial>", each (S, C, H, W); empty for none.
        ids: (S,) indices of these images in the test split; None in files that do not say.
        tangents: estimator, "" for the first, to the directions of tangent spaces (S, k, d) int8 and their largest
            |values| (S, k), for which 127 stands.
        probabilities, answers: trial to p(y|x) and the answered class, (S,) each.
        labels: index of each measured image to its class; of the pictured ones alone in files of older versions.
    """

    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    ids: np.ndarray | None = None
    tangents: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    answers: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[int, int] = field(default_factory=dict)


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise RunError(f"report: '{path}' is not a readable safetensors file ({quoted(error)}). {WAY_OUT}") from error
    return arrays


def read_pictures(path: Path, score: str) -> KeptPictures:
    """The pictures, checked: images, labels and the targets of a score of this kind are there and agree in shape.

    Args:
        path: of the file; where there is none, there are no pictures.
        score: kind of the study's score.

    Raises:
        RunError: the file is damaged, or lacks something.
    """
    if not path.exists():
        return KeptPictures()
    arrays = tensors_of(path)
    targets = () if score == "none" else TARGETS
    missing = [name for name in ("image", "labels", *targets) if name not in arrays]
    if missing:
        raise RunError(f"report: '{path}' lacks {', '.join(missing)}; it holds {', '.join(sorted(arrays))}. {WAY_OUT}")
    pictures = _checked(_whole(arrays) | {"labels": arrays["labels"]}, path)
    ids = arrays.get("ids", _header_ids(path, len(arrays["labels"])))
    known = {} if ids is None else dict(zip(ids.tolist(), arrays["labels"].tolist(), strict=True))
    if "measured" in arrays:
        known |= dict(zip(arrays["measured"].tolist(), arrays["measured_labels"].tolist(), strict=True))
    return KeptPictures(
        pictures=pictures,
        ids=ids,
        tangents=_tangents(arrays),
        probabilities=_under(_PROBABILITY, arrays),
        answers=_under(_ANSWER, arrays),
        labels=known,
    )


def _header_ids(path: Path, count: int) -> np.ndarray | None:
    """Indices of so many images as files of older versions have them; None where they do not say."""
    from safetensors import safe_open

    with safe_open(str(path), framework="np") as handle:
        text = (handle.metadata() or {}).get("tangency", "{}")
    try:
        ids = np.array(json.loads(text).get("ids"), np.int64)
    except (ValueError, TypeError, AttributeError):
        return None
    return ids if ids.shape == (count,) else None


def _whole(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images, targets and gradients as float32; those of older versions stand as they are."""
    plain = ("labels", "ids", "measured", "measured_labels")
    out = {}
    for name, picture in arrays.items():
        if name in plain or name.startswith((_SCALE, _TANGENTS, _PROBABILITY, _ANSWER)):
            continue
        scale = arrays.get(_SCALE + name)
        wide = picture.astype(np.float32)
        out[name] = wide if scale is None else wide * scale.astype(np.float32)[:, None, None, None]
    return out


def _checked(pictures: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    shape = pictures["image"].shape
    for name, picture in pictures.items():
        expected = shape[:1] if name == "labels" else shape
        if picture.shape != expected:
            raise RunError(f"report: '{name}' in '{path}' has shape {picture.shape}, expected {expected}. {WAY_OUT}")
    return pictures


def _tangents(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {name: (rows, arrays[f"{_SCALE}{_TANGENTS}{name}"]) for name, rows in _under(_TANGENTS, arrays).items()}


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
