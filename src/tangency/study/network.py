"""The trained score of a study: its identity, its examination, and what a summary says of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tangency.errors import ModelError, RunError
from tangency.score import load_score
from tangency.score.references import fingerprint
from tangency.study.spec import StudySpec
from tangency.study.trust import evaluate_reference
from tangency.study.trust_config import TrustConfig
from tangency.tensors import read_tensors, write_tensors
from tangency.types import Dataset

# A look beside a study takes seconds; `tangency score eval` looks closer.
BRIEF = TrustConfig(sigmas=(0.05, 0.125, 0.25, 0.5), images=300, probed=40, probes=2, samples=40)
TRUST_SCHEMA = 1


def network_hash(spec: StudySpec, data: Dataset) -> str:
    """Identity of the trained score and of its examination: the bytes of its file, the data."""
    if not spec.network_score:
        return ""
    parts = [TRUST_SCHEMA, fingerprint(spec.network_score), data.train.digest, data.test.digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def check_network_score(spec: StudySpec, data: Dataset) -> None:
    """Raise where the trained score cannot be read, is of other images or classes, or lacks the answers asked for."""
    if not spec.network_score:
        return
    score = load_score(spec.network_score, data)
    has = {"network_score"} if score.card.get("unconditional") is not False else set()
    has |= {"network_score_y"} if score.classes else set()
    has |= {"network_bayes_gradient"} if len(has) == 2 else set()
    lacking = sorted(set(spec.measures.network_targets) - has)
    if lacking:
        reason = "answers with labels only" if score.classes else "takes no labels"
        raise ModelError(
            f"score '{spec.network_score}': {reason}, so it has no {', '.join(lacking)}; leave those targets out."
        )


def examine_network(spec: StudySpec, path: Path, device: str) -> None:
    """Write the brief examination of the trained score, with pictures."""
    found = evaluate_reference(spec.network_score, spec.data, BRIEF, device)
    del found.summary["seconds"]  # differs from run to run
    write_tensors(path, found.pictures, {"trust": found.summary})


def examination(path: Path) -> dict[str, Any]:
    """What `examine_network` wrote."""
    found = read_tensors(path)[1].get("trust")
    if not isinstance(found, dict):
        raise RunError(f"'{path}': holds no examination of a score; delete it and run the study again.")
    return found | {"file": path.name}
