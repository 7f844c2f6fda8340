"""Guides of a study: what its objectives are given besides numbers, fitted to images that no network is trained on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from tangency.errors import DataError, SpecError
from tangency.evaluate.fitting.tangents import check_tangents, fitted_file, fitted_tangents, tangents_identity
from tangency.objectives import Objective
from tangency.objectives.options import SHAM
from tangency.references import defaults_of, maker_options, parse_options
from tangency.score import Denoiser, MixtureScore, load_score
from tangency.score.references import FITTED, fingerprint
from tangency.tangents import Ground, MixtureTangents, TangentEstimator, refuse_own_space, sham_tangents
from tangency.tangents.references import ESTIMATORS, SCORED
from tangency.training.batches import split
from tangency.types import Dataset, LabelledImages, OnProgress
from tangency.worlds import load_dataset

UNFITTED = ("exact", "dct", "random")  # tangent spaces that no training image is needed for


@dataclasses.dataclass(frozen=True)
class Guide:
    """A guide by reference.

    Args:
        kind: "tangents" or "score".
        reference: what it is.
    """

    kind: str
    reference: str

    @property
    def fitted(self) -> bool:
        """Whether it is made of training images, or may be: not so exact spaces and scores, and trained networks."""
        name = self.reference.partition("?")[0]
        if self.kind == "score":
            return name in FITTED
        return not (name in (*UNFITTED, *SCORED) or ":" in name or name.endswith(".safetensors"))

    def file(self, digest: str, folder: Path) -> Path | None:
        """Where it stands that is fitted, once, for all workers; None where nothing is.

        Args:
            digest: of the images that it is fitted to.
            folder: of what a study fits.
        """
        name = self.reference.partition("?")[0]
        return None if self.kind == "score" and name != "mfa" else fitted_file(self.reference, digest, folder)

    def open(self, ground: Ground, folder: Path, on_progress: OnProgress | None = None) -> TangentEstimator | Denoiser:
        """The object, from its file, or fitted now.

        Args:
            ground: the images that it is fitted to, and the device.
            folder: of what a study fits.
            on_progress: called with what is done, and the share.
        """
        if self.kind == "score" and self.file("", folder) is None:
            return load_score(self.reference, ground.data, ground.device)
        tangents = fitted_tangents(self.reference, ground, folder, on_progress)
        if self.kind == "tangents":
            return tangents
        assert isinstance(tangents, MixtureTangents)  # of which a score has the file
        return MixtureScore(tangents.mixture)

    def identity(self) -> str:
        """Hash of what the reference alone does not say: the files and the networks that it names."""
        if self.kind == "tangents":
            return tangents_identity((self.reference,))
        return "" if self.reference.partition("?")[0] in (*FITTED, "exact") else fingerprint(self.reference)

    def check(self, data: Dataset) -> None:
        """Raise, before anything is fitted, where it is unknown or does not fit the images that it is fitted to."""
        name, _, query = self.reference.partition("?")
        if self.kind == "tangents":
            check_tangents((self.reference,), data)
        elif name in FITTED:
            maker_options(f"score '{self.reference}'", query, FITTED[name])
        else:
            load_score(self.reference, data)
        if name == "mfa":
            _refuse_few(self.reference, data, maker_options(self.reference, query, ESTIMATORS["mfa"]))


def guides_of(objectives: Iterable[Objective | None]) -> list[Guide]:
    """Every guide that objectives name, once, in their order; None names none."""
    named = [objective.guides for objective in objectives if objective is not None]
    return list(dict.fromkeys(Guide(*pair) for guides in named for pair in guides.items()))


def shams_of(objectives: Iterable[Objective | None]) -> list[Objective]:
    """An objective for each pair of tangent spaces and a sham of them, in their order."""
    shams: dict[tuple[str, object], Objective] = {}
    for objective in objectives:
        if objective is not None and objective.options.get(SHAM, "none") != "none":
            shams.setdefault((objective.guides["tangents"], objective.options[SHAM]), objective)
    return list(shams.values())


def compare_sham(
    objective: Objective, own: TangentEstimator, images: LabelledImages, device: str, seed: int = 0
) -> float:
    """How far a sham overlaps the own spaces, as `refuse_own_space`, which raises where it is the own space.

    Args:
        objective: names the sham.
        own: the own spaces.
        images: the training images.
        device: of the own spaces.
        seed: of the sham.
    """
    sham = sham_tangents(own, str(objective.options[SHAM]), images, seed, device)
    return refuse_own_space(own, sham, images, device)


def sham_hash(objective: Objective, data: Dataset) -> str:
    """Identity of the comparison of a sham with the own spaces."""
    (tangents,) = (guide for guide in guides_of([objective]) if guide.kind == "tangents")
    parts = [objective.options[SHAM], tangents.reference, tangents.identity(), data.train.digest]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def load_study_data(reference: str, fraction: float) -> Dataset:
    """A data set with this share of each class of its training images moved to `guide`; the same images every time."""
    data = load_dataset(reference)
    if not fraction:
        return data
    index, held = split(data.train, fraction, 0, "guides")
    if not len(held):
        raise DataError(f"guide_fraction: {fraction} of {len(data.train)} images is none in every class; raise it.")
    return dataclasses.replace(data, train=data.train.subset(index), guide=data.train.subset(held))


def guide_data(data: Dataset) -> Dataset:
    """What guides are fitted to, as a data set: the images that are kept for them in the place of the training images.

    Guides that are not fitted take shape, classes and name from the training images where none are kept.
    """
    return data if data.guide is None else dataclasses.replace(data, train=data.guide, guide=None)


def refuse_guides(guides: Iterable[Guide], fraction: float) -> None:
    """Raise where a guide would be fitted to images that networks are trained on, or is not fixed before training."""
    for guide in guides:
        if guide.kind == "tangents":
            _refuse_unsteady(guide.reference)
        if guide.fitted and not fraction:
            raise SpecError(
                f"guide_fraction: got 0 with {guide.kind} '{guide.reference}', which are fitted, expected the share of "
                "the training images that guides alone are fitted to, and no network is trained on, such as 0.2."
            )


def _refuse_unsteady(reference: str) -> None:
    """Raise where spaces are not those of the images of a step, or would be fitted by every worker anew."""
    name, _, query = reference.partition("?")
    score = parse_options(reference, query).get("score", "") if query else ""
    if name.startswith("stored:"):
        raise SpecError(
            f"tangents '{reference}': stored spaces are known at their own images only, not at training images as they "
            "are augmented, expected the estimator itself as a guide."
        )
    if name in SCORED and (not score or score.partition("?")[0] in FITTED):
        raise SpecError(
            f"tangents '{reference}': as a guide, they are of a score that nothing fits, expected score=exact or a "
            "trained one, such as ?score=edm-fashion-mnist."
        )


def _refuse_few(reference: str, data: Dataset, options: Mapping[str, int]) -> None:
    components = {**defaults_of(ESTIMATORS["mfa"]), **options}["components"]
    if components < 1:
        raise SpecError(f"'{reference}': components is {components}, expected at least 1.")
    for name, count in zip(data.train.classes, data.train.class_counts.tolist(), strict=True):
        if count < 2 * components:
            raise DataError(
                f"'{reference}': class '{name}' has {count} images that guides are fitted to, expected at least "
                f"{2 * components}; raise guide_fraction, or ask for fewer components."
            )
