"""Measuring a classifier: gradients, steps on and off the manifold, alignment, each beside its controls."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from tangency.autodiff import check_logits, undisturbed
from tangency.errors import ModelError, NumericsError, TangencyWarning
from tangency.measures.attributed import Attribution, attributed, attribution_notes, check_attributions
from tangency.measures.batch import Batch
from tangency.measures.batching import BatchSize, check_batch_size, fitting_batch
from tangency.measures.compared import Given, compared, named_score
from tangency.measures.config import MeasureConfig, check_signal
from tangency.measures.definition import Columns
from tangency.measures.quantities import check_given, check_maps
from tangency.measures.references import References, ReferenceSource, check_network
from tangency.measures.registry import functions
from tangency.measures.rows import Rows
from tangency.measures.similarity.metrics import check_size
from tangency.models import Classifier, prepared, probes
from tangency.models.class_map import ClassMap, asked_outputs
from tangency.score import Denoiser, ScoreChoice
from tangency.score.choice import NONE
from tangency.types import LabelledImages, check_images, check_labels

_MOST = 128  # images at once


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
    maps: Mapping[str, Tensor] | None = None,
    attributions: Mapping[str, Attribution] | None = None,
    batch_size: BatchSize = "auto",
    class_map: ClassMap | None = None,
    outputs: str | None = None,
    allow_random: bool = False,
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
            size; images, labels, maps and `train_data` have their own.
        tangents: an estimator, or several: the measures of those after the first have their kind in the key
            ("tangent_fraction.logp_y.tangents=denoiser"), and their rank where a kind comes again; or the name that a
            mapping gives them. The mixtures' by default; those of the nearest images of `train_data` where `score`
            names another closed form, or none.
        config: what is measured.
        pool: images among which another image is drawn for the shuffled controls; those measured by default.
        ids: (N,) index of each image in the pool: its random directions and partners follow from it alone, so an image
            has the same row in any batch. They need a `pool`.
        network: the trained score that targets beginning with "network_" are taken from.
        maps: attribution maps of these images by name, (N, C, H, W) or (N, H, W), measured as gradients are, as
            "map(NAME)".
        attributions: methods by name, measured as maps are, as "map(NAME)": functions (model, images, labels) ->
            (N, C, H, W) or (N, H, W) that are asked on each batch. They get the classifier as it is measured, images in
            [0, 1], and the labels of the gradients (`config.label`). A method whose map of an image depends on the
            rest of the batch, or on chance, is named in `Rows.notes`.
        batch_size: images at once, at most 128 and as many as a quarter of the free memory holds (on a CPU a gigabyte
            at most) by default; it changes memory, not results.
        class_map: where the classes of `train_data` are some of the model's, the output that stands for each of them,
            in any form that `load_classifier` takes: [11, 3, 5], "11,3,5", {"cat": 11, …}. The other logits are left
            out, so that log p(y|x) is over the classes of `train_data`.
        outputs: what the model returns, "logits", "softmax" or "sigmoid", where that cannot be told.
        allow_random: whether a model that is random in eval mode is measured as the logarithm of its mean softmax over
            passes with fixed random numbers (see `tangency.models.Averaged`), at 16 times the cost.

    Returns:
        `Rows`: measure key to (N,) values, NaN where degenerate (a zero gradient, say).

    Raises:
        NumericsError: images, labels, maps or attributions that do not fit, a class map that names no outputs, or a
            model without logits of the classes, or gradients.
        SpecError: a name of no closed form, or measures that need a score where there is none.
        DataError: a class of `train_data` with too few images for what is fitted to it.
        ModelError: a model whose logits of an image depend on the rest of the batch, or on chance, or of which nobody
            can tell whether they are logits or sigmoids.

    Source: alignment with the score, on- and off-manifold robustness: Srinivas, Bordt & Lakkaraju, arXiv 2305.19101;
        the controls and κ are ours.

    Example:
        >>> from tangency.data import load
        >>> data = load("fashion-mnist-5k")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        >>> config = MeasureConfig(sigmas=(0.5,), directions=1, metrics=("cosine",))
        >>> x, y = data.test.images()[:8], data.test.labels[:8]
        >>> rows = measure(model, x, y, train_data=data.train.subset(slice(0, None, 9)), config=config)
        >>> rows["tangent_fraction.logp_y"].shape
        torch.Size([8])
    """
    closed = named_score(score)
    maps, methods = maps or {}, attributions or {}
    check_attributions(methods, maps)
    config = _asked(config or MeasureConfig(), closed, network).with_maps([*maps, *methods])
    _check_types(images, labels, train_data, pool)
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    check_images(images, unit_range=train_data is None or train_data.unit_range)
    if train_data is None:
        raise NumericsError(
            "train_data: got None, expected LabelledImages of the same distribution (training images): the global "
            "principal components and the default score are fitted to them."
        )
    check_labels(labels, len(images), len(train_data.classes))
    _check_request(images, ids, pool, batch_size)
    images = images.float() if images.dtype in (torch.float16, torch.bfloat16) else images
    maps = check_maps(maps, images)
    check_given(config.maps, [*maps, *methods])
    config = _sized(config, train_data.shape, fitted=isinstance(closed, ScoreChoice) and tangents is None)
    pool = _pool(pool, images, labels, train_data, config)
    truth = labels.long().to(images.device)
    train_data, pool = _checked(train_data, "train_data"), _checked(pool, "pool")
    # an unfit model is refused before anything is fitted
    model, notes = _ready(model, images, train_data, outputs, allow_random, class_map)
    notes += _tried(model, methods, images[:2], truth[:2], config)
    working = config.working(pool.shape)
    notes += () if working.whole else (working.sentence,)
    train_data, shown = working.images(train_data), working.images(pool)
    found = compared(closed, tangents, train_data, images.device)
    notes += found.notes
    ids = (torch.arange(len(images)) if ids is None else ids).long().to(images.device)
    source = ReferenceSource(found.score, found.tangents, shown, train_data, config, images.device, network, pool)
    size, parts = fitting_batch(batch_size, [model], images[:1], source.held_bytes, _MOST), []
    order = source.order(ids)
    for at in order.split(size):
        x, own, true = (values[at.to(images.device)] for values in (images, ids, truth))
        chosen = chosen_labels(model, x, true, config)
        stored = source.images(own)
        of_pool = stored.dtype == x.dtype and torch.equal(stored, x) and torch.equal(source.labels(own), true)
        references = source.of(own, chosen) if of_pool else source.at(x, chosen, own, true)
        given = {name: values[at.to(images.device)] for name, values in maps.items()}
        given |= attributed(model, x, chosen, methods)
        parts.append(measure_batch(model, references, config, given))
    return dataclasses.replace(Rows.concatenate(parts).at(order.argsort()), notes=notes)


def _asked(config: MeasureConfig, score: Denoiser | ScoreChoice, network: Denoiser | None) -> MeasureConfig:
    """What is measured: with what `legacy` adds, and no target of a closed form where there is none."""
    given = network is not None
    config = config.with_legacy(given)
    check_network(config, given)
    none = isinstance(score, ScoreChoice) and score.closed == NONE
    return config.with_scores(False, given) if none else config


def _ready(
    model: nn.Module,
    images: Tensor,
    train_data: LabelledImages,
    outputs: str | None,
    allow_random: bool,
    class_map: ClassMap | None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """The model as a function of one image to logits; it is tried on training images, so not on what is measured."""
    tried = probes(train_data, tuple(images.shape[1:]), images.device).to(images.dtype)
    kept = None if class_map is None else _kept(model, class_map, train_data.classes)
    model, notes = prepared(model, tried, len(train_data.classes), outputs, allow_random, kept)
    for note in notes:
        warnings.warn(f"classifier: {note}.", TangencyWarning, stacklevel=4)
    return model, notes


def _tried(
    model: nn.Module, methods: Mapping[str, Attribution], images: Tensor, truth: Tensor, config: MeasureConfig
) -> tuple[str, ...]:
    """What to say of the caller's attribution methods, tried on a few images before anything is fitted."""
    if not methods:
        return ()
    notes = attribution_notes(model, images, chosen_labels(model, images, truth, config), methods)
    for note in notes:
        warnings.warn(f"{note}.", TangencyWarning, stacklevel=4)
    return notes


def _kept(model: nn.Module, class_map: ClassMap, classes: Sequence[str]) -> Callable[[int], list[int]]:
    """From the number of outputs of the model to those that a map names, one for each class."""

    def kept(outputs: int) -> list[int]:
        named = model.card.classes if isinstance(model, Classifier) else ()
        own = named if len(named) == outputs else tuple(map(str, range(outputs)))
        try:
            return asked_outputs(own, classes, class_map, "classifier")
        except (TypeError, ValueError, ModelError) as error:
            reason = str(error) if isinstance(error, ModelError) else f"got {class_map!r:.100}"
            raise NumericsError(
                f"class_map: {reason.removeprefix('classifier: ')} Expected {len(classes)} different indices of "
                f"outputs from 0 to {outputs - 1} (or their names), one for each class of train_data."
            ) from error

    return kept


def _check_types(images: Tensor, labels: Tensor, *data: LabelledImages | None) -> None:
    for name, value in (("images", images), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise NumericsError(f"{name}: got {type(value).__name__}, expected a tensor; torch.as_tensor makes one.")
    for found in data:
        if found is not None and not isinstance(found, LabelledImages):
            raise NumericsError(
                f"train_data, pool: got {type(found).__name__}, expected "
                "tangency.LabelledImages(pixels, labels, class_names)."
            )
        if found is not None and images.dim() == 4 and tuple(found.shape) != tuple(images.shape[1:]):
            raise NumericsError(
                f"train_data, pool: images of shape {found.shape}, expected that of the measured images, "
                f"{tuple(images.shape[1:])}."
            )


def _check_request(images: Tensor, ids: Tensor | None, pool: LabelledImages | None, batch_size: BatchSize) -> None:
    if not len(images):
        raise NumericsError("images: got none, expected at least 1.")
    check_batch_size(batch_size)
    if ids is None:
        return
    if pool is None:
        raise NumericsError("ids: got them without a pool, expected both; ids say where each image stands in the pool.")
    if ids.shape != (len(images),) or ids.is_floating_point() or ids.dtype == torch.bool:
        raise NumericsError(
            f"ids: got {ids.dtype} of shape {tuple(ids.shape)} for {len(images)} images, expected integers, one each."
        )


def _pool(
    pool: LabelledImages | None, images: Tensor, labels: Tensor, train_data: LabelledImages, config: MeasureConfig
) -> LabelledImages:
    """The images among which partners are drawn, the measured ones by default; raises where they lack what is asked."""
    pool = pool or LabelledImages(images.cpu(), labels.cpu(), train_data.classes, unit_range=train_data.unit_range)
    check_signal(config, pool)
    check_size(config.metrics, config.working(pool.shape).shape)
    return pool


def _sized(config: MeasureConfig, shape: tuple[int, int, int], fitted: bool) -> MeasureConfig:
    """With the working size of images (C, H, W); that of large ones is their own where what is given knows no other."""
    if config.working_size is None and not fitted:
        return dataclasses.replace(config, working_size="own")
    return config.at_size(shape)


def _checked(data: LabelledImages, what: str) -> LabelledImages:
    """The same with int64 labels, after a look at ranges that would spoil a fit in silence."""
    if data.pixels.dtype != torch.uint8:
        check_images(data.pixels, f"{what} images", data.unit_range)
    check_labels(data.labels, len(data.pixels), len(data.classes), f"{what} labels")
    return data if data.labels.dtype == torch.int64 else dataclasses.replace(data, labels=data.labels.long())


def chosen_labels(model: nn.Module, x: Tensor, truth: Tensor, config: MeasureConfig) -> Tensor:
    """The y of gradient and score alike: the true label, or the classifier's prediction, (N,)."""
    if config.label == "true":
        return truth
    with undisturbed(model), torch.no_grad():
        return check_logits(model(x.clone()), len(x)).argmax(1)


def measure_batch(
    model: nn.Module, references: References, config: MeasureConfig, maps: Mapping[str, Tensor] | None = None
) -> Rows:
    """Every measure of one classifier on one batch of prepared images, and of maps (N, C, H, W) of them by name."""
    batch = Batch(model, references, config, maps or {})
    columns: Columns = {}
    with undisturbed(model), torch.no_grad():
        for function, family in functions(config.extra).items():
            made = function(batch)
            columns |= {family: made} if isinstance(made, Tensor) else made
    columns |= references.constant
    return Rows(
        references.ids,
        {key: values.double() for key, values in columns.items()},
        math.prod(references.working.shape),
        batch.logits.shape[1],
    )
