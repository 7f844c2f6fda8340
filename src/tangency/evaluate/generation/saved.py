"""`tangency generate`: generation by a saved classifier, with data, judge and score by reference."""

from __future__ import annotations

from pathlib import Path

from tangency.errors import ModelError, RunError, SpecError
from tangency.evaluate.classifiers.saved import SavedClassifier, find_classifier, independent
from tangency.evaluate.generation.run import Generated, Tell, generate_with
from tangency.files import atomic, write_json
from tangency.generation.tasks.config import GenerationConfig
from tangency.models import Classifier
from tangency.references import as_reference
from tangency.score import load_score
from tangency.tensors import digest
from tangency.types import Dataset
from tangency.worlds import load_dataset


def generate_reference(
    model: str | Path,
    data: str | Path | None,
    config: GenerationConfig,
    out: str | Path,
    *,
    judge: str | None = None,
    score: str | None = None,
    device: str = "cpu",
    trust_code: bool = False,
    tell: Tell | None = None,
) -> Generated:
    """`generate_with` by references; writes rows.parquet and summary.json into `out`.

    Args:
        model: reference of the classifier.
        data: reference of the data set; that of the classifier's study by default.
        config: the task.
        out: folder.
        judge, score: references; None for none.
        device: where.
        trust_code: whether models that bring code may run it.
        tell: called with what is being done, and the share that is done.
    """
    model, data, out = str(model), None if data is None else as_reference(data), Path(out)
    if out.exists() and not out.is_dir():
        raise RunError(f"output '{out}': got a file, expected a folder or a name that is free; use --out.")
    loaded = load_dataset(data) if data else None
    saved = find_classifier(model, device, loaded, trust_code)
    loaded = loaded or load_dataset(_own_data(saved))
    saved = independent(saved, loaded)
    made = generate_with(
        saved.classifier,
        loaded,
        config,
        judge=None if judge is None else _judge(judge, saved, loaded, device, trust_code),
        score=None if score is None else load_score(score, loaded, device),
        device=device,
        tell=tell,
    )
    made.summary.update({"model": model, "judge": judge, "score": score})
    with atomic(out / "rows.parquet") as temporary:
        made.frame().write_parquet(temporary)
    write_json(out / "summary.json", made.summary)
    return made


def _own_data(saved: SavedClassifier) -> str:
    """Reference of the data that a classifier was trained on."""
    name = saved.origin.data if saved.origin else str(saved.classifier.card.provenance.get("data", ""))
    if not name:
        raise ModelError(f"model '{saved.reference}': its card names no data set; give one with --data.")
    return name


def _judge(reference: str, own: SavedClassifier, data: Dataset, device: str, trust_code: bool) -> Classifier:
    """The held-out classifier; the one whose gradients are followed is refused."""
    judge = independent(find_classifier(reference, device, data, trust_code), data)
    weights = [digest(one.classifier.module.state_dict()) for one in (judge, own)]
    if weights[0] == weights[1]:
        raise SpecError(f"judge '{reference}': is '{own.reference}' itself, expected another architecture and seed.")
    return judge.classifier
