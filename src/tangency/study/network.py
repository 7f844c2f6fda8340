"""The trained score of a study: its identity, its examination, and what a summary says of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, RunError
from tangency.evaluate.trust.config import TrustConfig
from tangency.evaluate.trust.score import evaluate_score
from tangency.score import load_score
from tangency.score.references import fingerprint
from tangency.study.spec import StudySpec
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Dataset
from tangency.worlds import load_dataset

# A look beside a study takes seconds; `tangency score eval` looks closer.
BRIEF = TrustConfig(sigmas=(0.05, 0.125, 0.25, 0.5), images=300, probed=40, probes=2, samples=40)
TRUST_SCHEMA = 1


def network_hash(spec: StudySpec, data: Dataset) -> str:
    """Identity of the trained score and of its examination: the bytes of its file, the data."""
    if not spec.network_score:
        return ""
    parts = [TRUST_SCHEMA, fingerprint(spec.network_score), data.train.digest, data.test.digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def examine_network(spec: StudySpec, path: Path, device: str) -> None:
    """Write the brief examination of the trained score, with pictures."""
    loaded = load_score(spec.network_score, load_dataset(spec.data), device)
    largest = (loaded.card.get("sigma_range") or (0.0, math.inf))[1]
    config = dataclasses.replace(BRIEF, sigmas=tuple(s for s in BRIEF.sigmas if s <= largest))
    trust = evaluate_score(spec.network_score, spec.data, config, device)
    del trust.summary["seconds"]  # differs from run to run
    write_tensors(path, trust.pictures, {"trust": trust.summary})


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
