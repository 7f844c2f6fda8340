"""Measuring a classifier in memory: the arguments are checked, what is not given is fitted, then the driver runs."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tangency.autodiff import CALIBRATED, Temperature
from tangency.devices import arithmetic
from tangency.errors import ModelError, NumericsError, TangencyWarning
from tangency.measures.attributed import Attribution, attribution_notes, check_attributions
from tangency.measures.batching import BatchSize, check_batch_size
from tangency.measures.calibration import given_temperature
from tangency.measures.comparison.chosen import Given, compared, named_score
from tangency.measures.comparison.source import ComparisonSource, ImageBatch, check_network
from tangency.measures.config import MeasureConfig, check_signal
from tangency.measures.driver import Driver, Subject, chosen_labels
from tangency.measures.given import GivenImages, given_images
from tangency.measures.quantities import check_given
from tangency.measures.rows import Rows
from tangency.measures.similarity.metrics import check_size
from tangency.measures.working import WorkingSize
from tangency.models import Classifier, prepared, probes
from tangency.models.class_map import ClassMap, mapped_outputs
from tangency.models.independence import seeded
from tangency.models.sanity import likely_mistake
from tangency.notebook import progress
from tangency.score import Denoiser, ScoreChoice
from tangency.score.choice import NONE
from tangency.types import LabelledImages, OnProgress


@torch.inference_mode(False)
def measure(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    train_data: LabelledImages | None = None,
    score: Denoiser | str | None = None,
    tangents: Given | None = None,
    config: MeasureConfig | None = None,
    pool: LabelledImages | None = None,
    ids: Tensor | None = None,
    network: Denoiser | None = None,
    attributions: Mapping[str, Attribution] | None = None,
    batch_size: BatchSize = "auto",
    class_map: ClassMap | None = None,
    outputs: str | None = None,
    allow_random: bool = False,
    validation: LabelledImages | None = None,
    on_progress: OnProgress | None = None,
) -> Rows:
    """Every measure of one classifier, one row per image.

    Of a gradient g and a tangent space with basis U of rank k in d dimensions: tangent fraction F² = ‖Uᵀg‖²/‖g‖², in
    [0, 1] with chance k/d; ln κ = ln[(1 − F²)/(d − k)] − ln[F²/k]; alignments with scores ∇ₓ log p_σ, for instance
    cosines in [−1, 1] with chance 0; changes of the softmax under steps on and off the manifold, and their ratio ρ₂.
    `tangency.measures.describe(key)` says unit, range and meaning of a key.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits, with one for each class of `train_data`. It runs in
            eval mode, uncompiled, and is left as it was found. A softmax or sigmoid that it ends in is taken off, of
            other probabilities the logarithm is taken, weights in half precision or bfloat16 run in float32, and of a
            result with an entry "logits" that one is taken: each with a `TangencyWarning`, kept in `Rows.notes`.
        images: (N, C, H, W) in [0, 1] (any range where `train_data` is drawn from a world, see its `unit_range`), or
            uint8 in [0, 255], which is brought there. Without `pool`, at least 2: the shuffled controls need another
            image, and are NaN for an only one.
        labels: (N,) integers.
        train_data: images from the same distribution, on which the mixture (where `score` or `tangents` is not given)
            and the global principal components are fitted; training images, never the ones measured.
        score: a score, or the closed form that is fitted to `train_data`: "mfa", mixtures of factor analysers, the
            default (also "mfa?components=2&rank=8"; smaller where 512 MB do not hold them, see `Rows.notes`),
            "gaussian" or "empirical"; or "none": alignment is left out, but for that with a `network`.
            With a working size (`config.working_size`; by default 64 for images of more than 128 × 128 pixels, where
            `score` and `tangents` are names or not given) `score`, `tangents` and `network` are of images at that
            size; images, labels, attributions and `train_data` have their own.
        tangents: an estimator, or several: the measures of those after the first have their kind in the key
            ("tangent_fraction.margin.tangents=denoiser"), and their rank where a kind comes again; or the name that a
            mapping gives them. The mixtures' by default; those of the nearest images of `train_data` where `score`
            names another closed form, or none.
        config: what is measured.
        pool: images among which another image is drawn for the shuffled controls; those measured by default.
        ids: (N,) index of each image in the pool: its random directions and partners follow from it alone, so an image
            has the same row in any batch. They need a `pool`.
        network: the trained score that targets beginning with "network_" are taken from.
        attributions: attribution maps by name, measured as gradients are, as "map(NAME)": maps of these images,
            (N, C, H, W) or (N, H, W), or functions (model, images, labels) -> maps that are called for each batch.
            Functions get the classifier as it is measured, images in [0, 1], and the labels of the gradients
            (`config.label`). A function whose map of an image depends on the rest of the batch, or on chance, is named
            in `Rows.notes`.
        batch_size: images at once, at most 125 and as many as a quarter of the free memory holds (on a CPU a gigabyte
            at most) by default; it changes memory, not results.
        class_map: where the classes of `train_data` are some of the model's, the output that stands for each of them,
            in any form that `load_classifier` takes: [11, 3, 5], "11,3,5", {"cat": 11, …}. The other logits are left
            out, so that log p(y|x) and the margin are over the classes of `train_data`.
        outputs: what the model returns, "logits", "softmax" or "sigmoid", where that cannot be told.
        allow_random: whether a model that is random in eval mode is measured as the logarithm of its mean softmax over
            passes with fixed random numbers (see `tangency.models.Averaged`), at 16 times the cost.
        validation: images that the model was not trained on, for the scalar "calibrated_logp_y" of `config`, log
            softmax(f/T)_y: T has the least negative log-likelihood on them, those left out that are measured or in
            `train_data`. It stands in `Rows.notes` with its interval, see `tangency.autodiff.fit_temperature`.
        on_progress: called with what is being done and the share that is done, in [0, 1], after each batch; by default
            a notebook shows a bar, and nothing is shown elsewhere.

    Returns:
        `Rows`: measure key to (N,) values, NaN where degenerate (a zero gradient, say).

    Raises:
        NumericsError: images, labels or attributions that do not fit, a class map that names no outputs, a model
            without logits of the classes, or gradients, or too few errors on `validation` to identify T.
        SpecError: a name of no closed form, or measures that need a score where there is none.
        DataError: a class of `train_data` with too few images for what is fitted to it.
        ModelError: a model whose logits of an image depend on the rest of the batch, or on chance, or for which it
            cannot be determined whether they are logits or sigmoids.

    Source: alignment with the score, on- and off-manifold robustness: Srinivas, Bordt & Lakkaraju, arXiv 2305.19101;
        the controls and κ are ours.

    Example:
        >>> from tangency.data import load
        >>> data = load("fashion-mnist-5k")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        >>> config = MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",))
        >>> x, y = data.test.images()[:8], data.test.labels[:8]
        >>> rows = measure(model, x, y, train_data=data.train.subset(slice(0, None, 9)), config=config)
        >>> rows["tangent_fraction.margin"].shape
        torch.Size([8])
    """
    closed = named_score(score)
    given = given_images(images, labels, train_data, pool, ids, validation)
    check_batch_size(batch_size)
    attributions = check_attributions(attributions or {}, given.images)
    config = _requested(config or MeasureConfig(), closed, network).with_maps(attributions)
    check_given(config.maps, attributions)
    config = _sized(config, given.pool.shape, fitted=isinstance(closed, ScoreChoice) and tangents is None)
    check_signal(config, given.pool)
    working = config.working(given.pool.shape)
    check_size(config.metrics, working.shape)
    # an unfit model is refused before anything is fitted
    model, notes = _ready(model, given, outputs, allow_random, class_map)
    notes += _tried(model, attributions, given, config)
    temperature = given_temperature(model, config, given)
    device, shown, pool = given.images.device, working.images(given.train_data), working.images(given.pool)
    with arithmetic():
        base = compared(closed, tangents, shown, device)
        source = ComparisonSource(base.score, base.tangents, pool, shown, config, device, network, given.pool)
        rows = _rows(Subject(model, attributions, temperature), given, source, batch_size, on_progress)
    return dataclasses.replace(rows, notes=notes + _words(working, temperature) + base.notes)


def _requested(config: MeasureConfig, score: Denoiser | ScoreChoice, network: Denoiser | None) -> MeasureConfig:
    """What is measured: with what `legacy` adds, and no target of a closed form where there is none."""
    given = network is not None
    config = config.with_legacy(given)
    check_network(config, given)
    none = isinstance(score, ScoreChoice) and score.closed == NONE
    return config.with_scores(False, given) if none else config


def _sized(config: MeasureConfig, shape: tuple[int, int, int], fitted: bool) -> MeasureConfig:
    """With the working size of images (C, H, W); that of large ones is their own where what is given knows no other."""
    if config.working_size is None and not fitted:
        return dataclasses.replace(config, working_size="own")
    return config.at_size(shape)


def _ready(
    model: nn.Module, given: GivenImages, outputs: str | None, allow_random: bool, class_map: ClassMap | None
) -> tuple[nn.Module, tuple[str, ...]]:
    """The model as a function of one image to logits; it is tried on training images, so not on what is measured."""
    images, classes = given.images, given.train_data.classes
    tried = probes(given.train_data, tuple(images.shape[1:]), images.device).to(images.dtype)
    kept = None if class_map is None else _kept(model, class_map, classes)
    usable, notes = prepared(model, tried, len(classes), outputs, allow_random, kept)
    if given.train_data.unit_range:
        with seeded(0, tried.device):
            notes += tuple(each.removesuffix(".") for each in likely_mistake(usable, given.train_data, tried))
    for note in notes:
        warnings.warn(f"classifier: {note}.", TangencyWarning, stacklevel=4)
    return usable, notes


def _words(working: WorkingSize, temperature: Temperature | None) -> tuple[str, ...]:
    """Notes on the working size and on the temperature."""
    return (
        *(() if working.whole else (working.sentence,)),
        *((f"{CALIBRATED}: {temperature.sentence}",) if temperature else ()),
    )


def _tried(
    model: nn.Module, attributions: Mapping[str, Attribution], given: GivenImages, config: MeasureConfig
) -> tuple[str, ...]:
    """Notes on the caller's attribution methods, which are tried on two images before anything is fitted."""
    methods = {name: method for name, method in attributions.items() if not isinstance(method, Tensor)}
    if not methods:
        return ()
    images = given.images[:2]
    notes = attribution_notes(model, images, chosen_labels(model, images, given.truth[:2], config), methods)
    for note in notes:
        warnings.warn(f"{note}.", TangencyWarning, stacklevel=4)
    return notes


def _rows(
    subject: Subject, given: GivenImages, source: ComparisonSource, batch_size: BatchSize, shown: OnProgress | None
) -> Rows:
    """Rows of all images, in their order; they are measured block by block of the pool."""

    def batch(at: Tensor) -> ImageBatch:
        here = at.to(given.images.device)
        return source.placed(given.images[here], given.ids[here], given.truth[here])

    order = source.order(given.ids)
    driver = Driver.fitting(source, source.config, [subject], batch_size, batch=batch)
    parts: list[Rows] = []
    with progress("measuring", shown) as report:
        report(f"0 of {len(order)} images", 0.0)
        for (rows,) in driver.rows([subject], order):
            parts.append(rows)
            done = sum(len(part.ids) for part in parts)
            report(f"{done} of {len(order)} images", done / len(order))
    return Rows.concatenate(parts).at(order.argsort())


def _kept(model: nn.Module, class_map: ClassMap, classes: Sequence[str]) -> Callable[[int], list[int]]:
    """From the number of outputs of the model to those that a map names, one for each class."""

    def kept(outputs: int) -> list[int]:
        named = model.card.classes if isinstance(model, Classifier) else ()
        own = named if len(named) == outputs else tuple(map(str, range(outputs)))
        try:
            return mapped_outputs(own, classes, class_map, "classifier")
        except (TypeError, ValueError, ModelError) as error:
            reason = str(error) if isinstance(error, ModelError) else f"got {class_map!r:.100}"
            raise NumericsError(
                f"class_map: {reason.removeprefix('classifier: ')} Expected {len(classes)} different indices of "
                f"outputs from 0 to {outputs - 1} (or their names), one for each class of train_data."
            ) from error

    return kept
