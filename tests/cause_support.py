"""A small causal study, and networks whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tangency.cause import CauseSpec, parse_cause
from tangency.evaluate.verdicts import Recipe
from verdict_support import CLOSED, FRACTION, TRAINED, Truth, columns, shared_images

MEASURES = {"metrics": ["cosine"], "directions": 1, "sigmas": [0], "epsilons": [1], "rho_sigmas": []}
WORLD = "world:linear?rank=2&classes=2&shape=1x8x8&train=200&test=40"
LOCAL = f"{FRACTION}.tangents=local-pca"


def cause_content(**changes: object) -> dict:
    """Keys of a study of seconds."""
    study = {
        "data": WORLD, "score": "exact", "train": {"epochs": 6, "batch_size": 20, "learning_rate": 0.01},
        "measured": 20, "shard": 20, "workers": 1, "rule": "kappa", "pictures": 2, "replicates": 100,
        "measures": MEASURES,
    }  # fmt: skip
    study |= changes.pop("study", {})
    return {
        "name": "tiny", "study": study, "guide": "exact", "shams": ["dct", "random"], "base_strength": 0.02,
        "strengths": [0.01, 0.04], "seeds": [0, 1], "calibration_seeds": [10], **changes,
    }  # fmt: skip


def real_content(**changes: object) -> dict:
    """Keys of a study on images without a known manifold; nothing is loaded by parsing them."""
    study = {
        "data": "fashion-mnist-5k",
        "score": {"kind": "mfa", "components": 4, "rank": 12},
        "network_score": "edm-fashion-mnist",
        "tangents": ["local-pca?rank=12", "mfa"],
        "measures": {
            "metrics": ["cosine"],
            "sigmas": [0.25],
            "alignments": [["margin", "bayes_gradient"], ["margin", "network_bayes_gradient"]],
        },
    }
    given = {"study": study, "guide": "mfa?components=4&rank=12", "guide_fraction": 0.2, "shams": ["other", "random"]}
    return {**given, "base_strength": 1.0, "strengths": [0.3, 1, 3], "seeds": [0, 1, 2, 3, 4], **changes}


def real_spec(**changes: object) -> CauseSpec:
    return parse_cause(real_content(**changes), "real")


def arm_recipes(truths: Mapping[str, Truth], seeds: int = 5, local: Mapping[str, float] | None = None) -> dict:
    """Arm to networks on shared images; F² in the held-out estimator is that of the truth, or of `local`."""
    images, made = shared_images(), {}
    for name, truth in truths.items():
        networks = {}
        for seed in range(seeds):
            own = columns(truth, np.random.default_rng([seed, *name.encode()]), images)
            own["accuracy"] = (np.arange(images.shape[1]) < truth.accuracy * images.shape[1]).astype(float)
            own[f"{FRACTION}.tangents=mfa"] = own[FRACTION] * 1.0
            own["tangent_rank.tangents=mfa"] = own["tangent_rank"]
            networks[seed] = own
        made[name] = Recipe(name, name, 1.0, networks)
    return made


__all__ = ["CLOSED", "FRACTION", "TRAINED", "Truth", "arm_recipes", "cause_content", "real_content", "real_spec"]
