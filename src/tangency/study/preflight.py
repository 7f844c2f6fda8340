"""What a study cannot do is refused before anything is written."""

from __future__ import annotations

import math

from tangency.data import KINDS
from tangency.errors import DataError, SpecError
from tangency.evaluate.fitting.closed import exact_world
from tangency.evaluate.scores import check_answers
from tangency.measures import MEASURES, METRICS, WorkingSize, check_signal, check_size, check_unmeasured
from tangency.mixtures import affordable
from tangency.models import Classifier, build
from tangency.references import as_reference, parse
from tangency.score import load_score
from tangency.score.closed.gaussian import check_dimension
from tangency.score.references import SCORES
from tangency.study.generation.plan import refuse_generation
from tangency.study.given import load_given
from tangency.study.guides import UNFITTED, compare_sham, guide_data
from tangency.study.plan import changed, working_of
from tangency.study.planning import StudyPlan, plan_study
from tangency.study.spec import ModelSpec, StudySpec
from tangency.study.sweep import given_references, trained_entries
from tangency.tangents import Ground, open_tangents
from tangency.tangents.references import ESTIMATORS
from tangency.training import refuse_lone_images
from tangency.types import Dataset
from tangency.worlds import World


def checked_plan(spec: StudySpec, data: Dataset) -> StudyPlan:
    """Plan a study; raise what a later task would raise, before anything is written.

    Raises:
        TangencyError: the spec and its data do not fit together, or a file that it names cannot be read.
    """
    network = _built(spec.model, data)
    for entry in trained_entries(spec.sweep):
        model, train = changed(spec, entry)
        own = network if model == spec.model else _built(model, data)
        if train.batch_size == 1:
            refuse_lone_images(own)
    for reference in given_references(spec.sweep):
        load_given(reference, data, "cpu")
    check_signal(spec.measures, data.test)
    if spec.measures.calibrated:
        check_unmeasured(spec.measured, data.test, "measured")
    working = working_of(spec, data)
    _refuse_working(spec, working)
    check_size(spec.measures.metrics, working.shape)
    if spec.network_score:
        check_answers(load_score(spec.network_score, working.dataset(data)), spec.network_score, spec.measures)
    _refuse_local(spec)
    plan = plan_study(spec, data)
    _refuse_guides(plan, data)
    refuse_generation(spec, data, network, plan.entries, plan.trials)
    if spec.measures.curved and any(reference.startswith("stored:") for reference in spec.tangents):
        raise SpecError(
            "measures.curved: stored tangent spaces are known at their own images only; name the estimator."
        )
    if spec.bayes or spec.score.kind == "exact":
        _refuse_undefined(exact_world(spec.data), spec, data)
    _refuse_unfit(spec, data, working.shape)
    return plan


def _built(model: ModelSpec, data: Dataset) -> Classifier:
    return build(model.architecture, data.train.shape, data.train.classes, seed=0, **model.options)


def _refuse_local(spec: StudySpec) -> None:
    """Raise where what measures is registered in this process alone; plans refuse such objectives themselves."""
    for metric in spec.measures.metrics:
        METRICS.shared_origin(metric)
    for measure in spec.measures.extra:
        MEASURES.shared_origin(measure)
    for kind in (parse(reference).kind for reference in spec.tangents):
        if kind in ESTIMATORS:
            ESTIMATORS.shared_origin(kind)
    if (kind := parse(as_reference(spec.data)).kind) in KINDS:
        KINDS.shared_origin(kind)
    if (kind := parse(spec.network_score).kind) in SCORES:
        SCORES.shared_origin(kind)


def _refuse_guides(plan: StudyPlan, data: Dataset) -> None:
    """Raise where a guide does not fit the images, or where a sham of spaces that are known at once is no control."""
    shown = guide_data(data)
    for guide in plan.guides:
        guide.check(shown)
    for _, objective in plan.shams:
        reference = objective.guides["tangents"]
        if reference.partition("?")[0] in UNFITTED:
            compare_sham(objective, open_tangents(reference, Ground(shown)), data.train, "cpu")


def _refuse_unfit(spec: StudySpec, data: Dataset, shape: tuple[int, int, int]) -> None:
    """Raise where the closed form cannot be fitted to images of this shape."""
    if spec.score.kind == "gaussian":
        check_dimension(shape)
    if spec.score.kind != "mfa":
        return
    pixels, wanted = math.prod(shape), 2 * spec.score.components
    if spec.score.rank >= pixels:
        raise SpecError(f"score.rank: got {spec.score.rank} for images of {pixels} values, expected 1 to {pixels - 1}.")
    affordable(len(data.train.classes), pixels, spec.score.components, spec.score.rank)
    for name, count in zip(data.train.classes, data.train.class_counts.tolist(), strict=True):
        if count < wanted:
            raise DataError(
                f"{data.train.name}: class '{name}' has {count} training images, expected at least {wanted} for "
                f"score.components = {spec.score.components}; ask for fewer components or give more images."
            )


def _refuse_undefined(world: World, spec: StudySpec, data: Dataset) -> None:
    """Raise where the Bayes rule on clean images, or a score at one of the noise levels, has no value."""
    x = data.test.images(slice(0, 1))
    if spec.bayes:
        world.log_posterior(x, 0.0)
    if spec.score.kind == "exact":
        for sigma in spec.measures.sigmas:
            world.score(x, sigma)


def _refuse_working(spec: StudySpec, working: WorkingSize) -> None:
    """Raise where a study with a working size also asks for what is done at the images' own size."""
    if working.whole:
        return
    if spec.generate:
        raise SpecError(
            f"generate: got it with measures at {working.words}, expected measures.working_size: own, since pictures "
            "are made at the images' own size."
        )
