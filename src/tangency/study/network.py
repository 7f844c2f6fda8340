"""The trained score of a study: its identity, its examination, and what a summary says of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.errors import DataError, ModelError, RunError
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.score import examine_score
from tangency.score import Denoiser
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Dataset

# A look beside a study takes seconds; `tangency score eval` looks closer.
BRIEF = TrustConfig(sigmas=(0.05, 0.125, 0.25, 0.5), images=300, probed=40, probes=2, samples=40)
TRUST_SCHEMA = 1


def network_hash(network: str, data: Dataset) -> str:
    """Identity of the trained score of this fingerprint and of its examination on the data; "" without a score."""
    if not network:
        return ""
    parts = [TRUST_SCHEMA, network, data.train.digest, data.test.digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def examine_network(
    score: Denoiser, reference: str, data: Dataset, fitted: Mapping[str, Denoiser], path: Path, device: str
) -> None:
    """Write the brief examination of the trained score, with pictures.

    Args:
        score: the trained score, of this reference.
        reference: see there.
        data: the data set of the study.
        fitted: baselines that are fitted already, by name.
        path: the file.
        device: where it is computed.
    """
    largest = (score.card.get("sigma_range") or (0.0, math.inf))[1]
    config = dataclasses.replace(BRIEF, sigmas=tuple(s for s in BRIEF.sigmas if s <= largest))
    trust = examine_score(score, _conditioned(data), config, device, reference=reference, fitted=fitted)
    summary = {key: value for key, value in trust.summary.items() if key != "seconds"}  # which differs from run to run
    write_tensors(path, trust.pictures, {"trust": summary})


def _conditioned(data: Dataset) -> Dataset:
    """The data without test images of classes that no training image has: baselines are conditioned on the class."""
    known = data.train.class_counts[data.test.labels] > 0
    if bool(known.all()):
        return data
    if not bool(known.any()):
        raise DataError(f"{data.name}: no test image has the class of a training image; give more training images.")
    return dataclasses.replace(data, test=data.test.subset(known.nonzero().flatten()))


def examined(path: Path) -> bool:
    """Whether a whole examination is there; a damaged one is made again."""
    try:
        return bool(examination(path))
    except (ModelError, RunError):
        return False


def examination(path: Path) -> dict[str, Any]:
    """What `examine_network` wrote."""
    trust = read_tensors(path)[1].get("trust")
    if not isinstance(trust, dict):
        raise RunError(f"'{path}': holds no examination of a score; delete it and run the study again.")
    return trust | {"file": path.name}
