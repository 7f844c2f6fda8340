"""Generation by a classifier; classifier, data, judge and score are objects or references."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tangency.devices import resolve_device
from tangency.errors import ModelError, RunError, SpecError
from tangency.evaluate.classifiers.saved import SavedClassifier, find_classifier, independent
from tangency.evaluate.generation.run import Generated, generate_with
from tangency.generation.tasks.config import GenerationConfig
from tangency.models import Classifier
from tangency.references import as_reference
from tangency.score import Denoiser, load_score
from tangency.tensors import digest
from tangency.types import Dataset, OnProgress
from tangency.worlds import load_dataset


def generate(
    model: Classifier | str | Path,
    data: Dataset | str | Path | None = None,
    config: GenerationConfig | None = None,
    *,
    judge: Classifier | str | Path | None = None,
    score: Denoiser | str | Path | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    trust_code: bool = False,
    on_progress: OnProgress | None = None,
) -> Generated:
    """What a classifier's gradients make: images from noise, restored, changed or explained, beside references.

    Steps go up a class objective within a budget, x ← Π(x + a g/‖g‖), g = ∇ₓ log-odds of the class by default. The
    Bayes rule of a mixture does the same, and the mixture itself and a score what they can, at an equal budget.

    Args:
        model: whose gradients are followed: a `Classifier` (`Classifier.wrap` makes one of a module), or its reference
            as `load_classifier` takes it.
        data: images of its shape and classes, or their reference as `load_data` takes it; what the classifier was
            trained on by default.
        config: the task ("generate", "denoise", "inpaint", "superres", "translate", "counterfactual", "feature",
            "sketch") and its options; 64 images from noise by default.
        judge: a classifier of another architecture and seed that scores the pictures, or its reference; None for none.
        score: for the reference "score", or its reference; None for none.
        out: folder for rows.parquet and summary.json; None keeps nothing.
        device: where: "auto", "cpu", "cuda" or "cuda:N".
        trust_code: whether models that bring code may run it.
        on_progress: called with what is being done, and the share that is done, in [0, 1].

    Returns:
        `Generated`: pictures by source (N, C, H, W) in [0, 1], the class of each (N,), and a summary with intervals.

    Raises:
        SpecError: an option that the task does not have, or a judge that is the classifier itself.
        ModelError: a classifier, judge or score that cannot be read or does not fit the data.
        RunError: `out` is a file.

    Source: images from noise, restoration and translation by a robust classifier's gradients: Santurkar et al., "Image
        synthesis with a single (robust) classifier", arXiv 1906.09453.

    Example:
        >>> import tangency
        >>> from tangency.generation.options import Climb
        >>> from tangency.generation.tasks.config import GenerationConfig
        >>> from tangency.models import build
        >>> data = tangency.load_data("world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10")
        >>> config = GenerationConfig("generate", 4, Climb(steps=2), references=())
        >>> generate(build("convnet", (1, 8, 8), data.test.classes), data, config).pictures["classifier"].shape
        torch.Size([4, 1, 8, 8])
    """
    device, out = resolve_device(device), None if out is None else Path(out)
    if out is not None and out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    loaded = load_dataset(as_reference(data)) if isinstance(data, str | Path) else data
    saved = _saved(model, loaded, device, trust_code)
    loaded = loaded or _own_data(saved)
    saved = independent(saved, loaded)
    made = generate_with(
        saved.classifier,
        loaded,
        config or GenerationConfig(),
        judge=None if judge is None else _judge(_saved(judge, loaded, device, trust_code), saved, loaded),
        score=load_score(score, loaded, device) if isinstance(score, str | Path) else score,
        device=device,
        on_progress=on_progress,
    )
    named = str(score) if score is None or isinstance(score, str | Path) else score.kind
    names = {
        "model": saved.reference,
        "judge": None if judge is None else _name(judge),
        "score": None if score is None else named,
    }
    made = replace(made, results=replace(made.results, names=names))
    if out is not None:
        made.write(out)
    return made


def _saved(model: Classifier | str | Path, data: Dataset | None, device: str, trust_code: bool) -> SavedClassifier:
    """The classifier that is given, on the device, or that a reference names."""
    if isinstance(model, Classifier):
        return SavedClassifier(_name(model), model.to(device))
    return find_classifier(str(model), device, data, trust_code)


def _name(model: Classifier | str | Path) -> str:
    """The reference of a classifier, or the architecture of one that is given."""
    return model.card.architecture if isinstance(model, Classifier) else str(model)


def _own_data(saved: SavedClassifier) -> Dataset:
    """The data that a classifier was trained on."""
    if saved.origin:
        return saved.origin.dataset()
    name = str(saved.classifier.card.provenance.get("data", ""))
    if not name:
        raise ModelError(f"model '{saved.reference}': its card names no data set; give one with --data.")
    return load_dataset(name)


def _judge(judge: SavedClassifier, own: SavedClassifier, data: Dataset) -> Classifier:
    """The held-out classifier; the one whose gradients are followed is refused."""
    judge = independent(judge, data)
    weights = [digest(one.classifier.module.state_dict()) for one in (judge, own)]
    if weights[0] == weights[1]:
        raise SpecError(
            f"judge '{judge.reference}': is '{own.reference}' itself, expected another architecture and seed."
        )
    return judge.classifier
