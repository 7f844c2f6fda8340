"""The setting in which a study measures a classifier that it trained, and the kinds of references to such ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from tangency.evaluate.fitting.closed import ScoreSpec
from tangency.evaluate.measured import Measured
from tangency.measures import MeasureConfig
from tangency.models import Classifier
from tangency.references import OPENERS
from tangency.types import Dataset


@dataclass(frozen=True)
class Origin:
    """How the study of a classifier measures it: the defaults of a measurement outside the study.

    Args:
        data: reference of the data set.
        dataset: makes it as the study has it, without training images that it keeps for guides.
        measures: what is measured.
        closed: how the closed-form score is fitted.
        closed_file: file of that score once it is fitted, from data at their own size and the measures, which name the
            working size.
        network_score: reference of the trained score; "" for none.
        tangents: references of the tangent spaces.
        artefacts: folder of the study's fitted scores and tangents.
    """

    data: str
    dataset: Callable[[], Dataset]
    measures: MeasureConfig
    closed: ScoreSpec
    closed_file: Callable[[Dataset, MeasureConfig], Path]
    network_score: str
    tangents: tuple[str, ...]
    artefacts: Path


class SavedModel(Protocol):
    """A model of a kind in `OPENERS`; nothing is read before a method is called."""

    def classifier(self, device: str) -> tuple[Classifier, Origin]:
        """The classifier, and the setting of its study."""

    def rows(self) -> Measured:
        """Its rows, where it was measured."""


def saved_model(reference: str, given: str = "") -> SavedModel | None:
    """The model behind `kind:location`, of a kind that another room opens; None for any other reference.

    Args:
        reference: without options.
        given: the reference with its options, for errors; the same by default.
    """
    kind, _, location = reference.partition(":")
    if kind not in OPENERS or not location:
        return None
    return cast(SavedModel, OPENERS[kind](Path(location), given or reference))
