"""A request to measure saved classifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from pydantic import BeforeValidator, Field

from tangency.attacks.autoattack import autoattack_package
from tangency.errors import RunError, SpecError
from tangency.evaluate.classifiers.names import short_names
from tangency.measures import BatchSize, MeasureConfig, RobustnessConfig, check_batch_size
from tangency.measures.config import Legacy, Lengths, Levels, Size
from tangency.measures.similarity.metrics import external_weights
from tangency.perceptual.dreamsim import dreamsim_package
from tangency.perceptual.weights_files import external_digests
from tangency.references import as_reference
from tangency.score import parse_choice
from tangency.validation import validated

# Fields that stand in place of the study's measures where they are given.
_REPLACED = ("robustness", "sigmas", "epsilons", "rho_sigmas", "legacy", "working_size", "working_filter")


def _text(named: object) -> object:
    return str(named) if isinstance(named, Path | torch.device) else named


def _several(models: object) -> object:
    one = isinstance(models, str | Path) or not isinstance(models, Iterable)
    return tuple(map(_text, [models] if one else cast("Iterable[object]", models)))


def _data(named: object) -> object:
    if named is not None and not isinstance(named, str | Path):
        raise SpecError(f"data: got {named!r:.100}, expected a reference of data, or a path.")
    return as_reference(named) if isinstance(named, Path) else named


def _place(out: object) -> object:
    if out is not None and not isinstance(out, str | Path):
        raise SpecError(f"out: got {out!r:.100}, expected a folder.")
    return out


def _images(batch_size: object) -> object:
    whole = batch_size.tolist() if hasattr(batch_size, "tolist") else batch_size  # of NumPy
    check_batch_size(whole)
    return whole


Rule = Literal["regimes", "kappa"]
Text = Annotated[str, BeforeValidator(_text)]


@validated
class MeasureRequest:
    """Classifiers, data, and what is measured; what is not given follows from the study of the first classifier.

    Args:
        models: references of classifiers; they share images, scores, tangent spaces and directions.
        data: reference of the data set; by default the one that the study or the card of the first classifier names.
        score: "none", "mfa", "gaussian", "empirical" or "exact", with options behind a ?; "network:REF" for a trained
            score alone; "mfa,network:REF" for a closed form and a trained score. By default that of the first
            classifier's study, else a mixture, or the exact score of a world.
        tangents: references of tangent spaces; by default those of the first classifier's study, else the mixture's,
            or without a mixture those of the nearest training images.
        baseline: reference of a standard-trained classifier of the same data, against which the regime is determined.
        rule: of the regime: "regimes", by Bayes directions and tangent spaces with their controls, which also measures
            the baseline behind the best fixed filters of training images; "kappa", the former rule.
        limit: test images at most, a fixed random subset; a larger limit goes on from a smaller one.
        out: folder for rows.parquet, summary.json and pictures.safetensors, with a folder for each of several
            classifiers; measuring again goes on where it stopped. Without it nothing is kept.
        device: where it is measured.
        trust_code: whether models that bring code may run it.
        class_map: which outputs stand for the data's classes, for models that need it and have no option `class-map`
            of their own (see `find_mapped`); it is not used for the baseline.
        allow_random: whether classifiers that are random in eval mode are averaged over passes instead of refused.
        scalars: whose gradients are measured.
        attributions: methods ("smoothgrad") or maps ("smoothgrad(logit_y)") that are measured too.
        metrics: by which gradients are compared with scores; see `tangency.measures.METRICS`.
        normalisations: of pictures, for metrics of pictures: max, p99.9, std3, rms.
        maps: npz:FILE with a map for each test image, measured as gradients of the first classifier are.
        stages: of cascading randomisation, from the last layer to all of them; 0 for none.
        robustness: attacks and smoothing to measure.
        sigmas: noise levels of the scores, in [0, 1] pixel units; None for the default.
        epsilons: l2 lengths of on- and off-manifold steps, in [0, 1] pixel units; () for none, None for the default.
        rho_sigmas: noise levels of ρ₂, likewise.
        legacy: "pags" for the alignment of the paper's published code beside ours.
        working_size, working_filter: where score and tangent spaces live; None for the default, see `MeasureConfig`.
        batch_size: images at once, or "auto" for as many as memory holds, 125 at most; it changes no result.

    Raises:
        SpecError: a field of another type or out of its range.
        RunError: `out` is a file.

    Example:
        >>> MeasureRequest(["onnx:net.onnx", "net.safetensors"], "cifar10", metrics=("cosine",)).limit
        500
    """

    models: Annotated[tuple[str, ...], BeforeValidator(_several)]
    data: Annotated[str | Path | None, BeforeValidator(_data)] = None
    score: Text | None = None
    tangents: tuple[str, ...] = ()
    baseline: Text | None = None
    rule: Rule = "regimes"
    limit: Annotated[int, Field(ge=2, description="images, since the controls need another one")] = 500
    out: Annotated[str | Path | None, BeforeValidator(_place)] = None
    device: Text = "cpu"
    trust_code: bool = False
    allow_random: bool = False
    class_map: str | None = None
    scalars: tuple[str, ...] = ()
    attributions: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    normalisations: tuple[str, ...] = ()
    maps: Text | None = None
    stages: Annotated[int, Field(ge=0)] = 0
    robustness: RobustnessConfig | None = None
    sigmas: Levels | None = None
    epsilons: Lengths | None = None
    rho_sigmas: Lengths | None = None
    legacy: Legacy | None = None
    working_size: Size | None = None
    working_filter: str | None = None
    batch_size: Annotated[BatchSize, BeforeValidator(_images)] = "auto"

    def __post_init__(self) -> None:
        if self.score:
            parse_choice(self.score)  # what is none is refused before anything is loaded
        if not self.models or len(set(self.models)) < len(self.models):
            raise SpecError(f"models: got {', '.join(self.models) or 'none'}, expected at least one, each once.")
        if self.place is not None and self.place.exists() and not self.place.is_dir():
            raise RunError(f"output '{self.out}': got a file, expected a folder or a name that is free; use --out.")

    @property
    def place(self) -> Path | None:
        """The output folder as a path."""
        return None if self.out is None else Path(self.out)

    def config(self, base: MeasureConfig) -> MeasureConfig:
        """The measures of a study, or the default ones, with those of this request in their place.

        A package that they want and that is missing is told here, before anything is fitted.
        """
        chosen = base.with_choice(
            scalars=self.scalars,
            attributions=self.attributions,
            metrics=self.metrics,
            normalisations=self.normalisations,
        )
        given = {name: getattr(self, name) for name in _REPLACED if getattr(self, name) is not None}
        config = dataclasses.replace(chosen, **given)
        external_digests(external_weights(config.metrics))
        if "dreamsim" in config.metrics:
            dreamsim_package()
        if "autoattack" in config.robustness.attacks:
            autoattack_package()
        return config

    def folder(self, number: int) -> Path | None:
        """Where the numbers of one of the classifiers go: the output folder itself where it is the only one."""
        if self.place is None or len(self.models) == 1:
            return self.place
        return self.place / f"{number + 1:02d}-{short_names(self.models)[number]}"
