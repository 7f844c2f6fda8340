"""The held-out classifier of a study: which one, whether it fits, whether its training ended well."""

from __future__ import annotations

from collections.abc import Sequence

from tangency.errors import RunError, SpecError, TangencyError, quoted
from tangency.evaluate.classifiers.saved import check_fits, find_classifier
from tangency.models import Classifier, build, read_classifier
from tangency.study.layout import Layout, weights_file
from tangency.study.plan import Trial, judge_model, plan_judge
from tangency.study.spec import StudySpec
from tangency.tensors import digest
from tangency.training import refuse_lone_images
from tangency.types import Dataset


def judge_identity(spec: StudySpec, data: Dataset) -> str:
    """Hash of the judge: of its training, or of its weights where it is a saved one."""
    trial = plan_judge(spec, data)
    if trial is not None:
        return trial.train_hash
    return digest(saved_judge(spec, "cpu", data).module.state_dict())


def saved_judge(spec: StudySpec, device: str, data: Dataset) -> Classifier:
    """The judge that the spec names."""
    try:
        return find_classifier(spec.judge.reference, device, data).classifier
    except TangencyError as error:
        if "--trust-code" in str(error):
            raise SpecError(
                f"judge.reference: '{spec.judge.reference}' runs code that comes with the model, expected weights: a "
                "study takes no judge that is code. Give it as state_dict:FILE?arch=… or onnx:FILE, or leave it out."
            ) from None
        raise SpecError(f"judge.reference: {quoted(error)}") from None


def load_judge(spec: StudySpec, trial: Trial | None, device: str, data: Dataset, layout: Layout) -> Classifier:
    """The saved judge, or the one that the study trained in this trial."""
    if trial is None:
        return saved_judge(spec, device, data)
    return read_classifier(weights_file(layout.trial(trial), spec.weights), device)


def refuse_judge(spec: StudySpec, data: Dataset, trials: Sequence[Trial]) -> None:
    """Raise where the judge cannot be built, takes other images, or is one of the trials, which its card tells."""
    if not spec.judge.reference:
        _refuse_own(spec, data)
        return
    judge = saved_judge(spec, "cpu", data)
    check_fits(judge.card, data, "judge.reference")
    trained = judge.card.provenance.get("train_hash")
    if trained is not None and trained in {trial.train_hash for trial in trials}:
        raise SpecError(
            f"judge.reference: '{spec.judge.reference}' is a trial of this study, expected another architecture and "
            "seed; or leave it out, and the study trains a judge."
        )


def _refuse_own(spec: StudySpec, data: Dataset) -> None:
    model = judge_model(spec)
    try:
        judge = build(model.architecture, data.train.shape, data.train.classes, seed=0, **model.options)
    except TangencyError as error:
        raise SpecError(f"judge: {quoted(error)}") from error
    if spec.train.batch_size == 1:
        refuse_lone_images(judge)


def refuse_failed_judge(judge: Trial | None, trials: Sequence[Trial], layout: Layout) -> None:
    """Raise where the training of the judge did not end well, before anything is measured or generated."""
    outcome = "ok" if judge is None else layout.outcome(judge)["outcome"]
    if outcome == "ok":
        return
    trained = [trial for trial in trials if trial.objective is not None]
    failed = sum(layout.outcome(trial)["outcome"] != "ok" for trial in trained)
    likely = f"; so did {failed} of {len(trained)} trials, so that a learning rate that is too high is likely"
    raise RunError(
        f"judge: its training ended as '{outcome}'{likely if failed else ''}. "
        + ("Lower train.learning_rate." if failed else "Choose another judge.architecture or judge.seed.")
    )
