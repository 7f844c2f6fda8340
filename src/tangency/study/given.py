"""Networks that a study is given: others trained them, and it measures them beside its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from tangency.errors import TangencyError
from tangency.evaluate.classifiers.names import short_names
from tangency.evaluate.classifiers.saved import SavedClassifier, check_fits, find_classifier, independent
from tangency.models.sanity import check_classifier
from tangency.tensors import digest
from tangency.types import Dataset

GIVEN = "given:"  # before the short name of a given network, in the place of an objective


@dataclass(frozen=True)
class GivenNetwork:
    """What a plan knows of a given network.

    Args:
        reference: as in the spec.
        name: short, unique in the study.
        identity: of its weights and of how it is fed; of the reference where it cannot be loaded.
        weight: bytes of its weights; 0 where it cannot be loaded.
    """

    reference: str
    name: str
    identity: str
    weight: int


def load_given(reference: str, data: Dataset, device: str) -> SavedClassifier:
    """A given network in eval mode, as `tangency measure` has it.

    Raises:
        ModelError: it cannot be read, does not fit the data, or answers differently in another batch or by chance.
    """
    saved = find_classifier(reference, device, data)
    check_fits(saved.classifier.card, data, f"model '{reference}'")
    return independent(saved, data)


def given_networks(references: Sequence[str], data: Dataset) -> list[GivenNetwork]:
    """The given networks of a study, in its order; one that cannot be loaded is refused later, by `load_given`."""
    return [_given(reference, name, data) for reference, name in zip(references, short_names(references), strict=True)]


def _given(reference: str, name: str, data: Dataset) -> GivenNetwork:
    try:
        classifier = find_classifier(reference, "cpu", data).classifier
    except TangencyError:
        return GivenNetwork(reference, name, _hash(reference), 0)
    state, card = classifier.state_dict(), dataclasses.asdict(classifier.card) | {"provenance": None}
    weight = sum(value.nbytes for value in state.values())
    return GivenNetwork(reference, name, _hash([digest(state), card]), weight)


def given_outcome(reference: str, data: Dataset, device: str) -> dict[str, Any]:
    """What the outcome of its trial says of a given network: how it was read, and what is doubtful about that."""
    classifier = load_given(reference, data, device).classifier
    about = {
        "reference": reference,
        "architecture": classifier.card.architecture,
        "reading": cast("list[str]", classifier.card.provenance.get("reading", [])),
        "warnings": check_classifier(classifier, data).warnings,
    }
    return {"network": about}


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
