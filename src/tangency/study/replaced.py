"""Refuses the folder of another study, and a changed spec that would leave out networks that are trained already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tangency.errors import RunError, SpecError, TangencyError, listed
from tangency.files import read_json
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout
from tangency.study.plan import Trial, is_reference, plan_trials
from tangency.study.spec import StudySpec, load_spec
from tangency.types import Dataset

# What of a spec decides which networks there are.
_TRAINING = ("data", "guide_fraction", "model", "train", "threads", "sweep", "seeds")


def refuse_other_study(layout: Layout, spec: StudySpec) -> None:
    """A folder belongs to the study of one name; the same name may come back with more strengths, seeds, measures."""
    name = layout.study_name()
    if name not in (None, spec.name):
        raise RunError(
            f"output '{layout.run}': holds the study '{name}', got a spec of the name '{spec.name}'; use --out with a "
            f"folder of its own, or the name '{name}' to extend that study."
        )


def refuse_replacing(layout: Layout, spec: StudySpec, data: Dataset, trials: Iterable[Trial]) -> None:
    """Raise where the folder's last spec trained networks that this one leaves out; more trials or measures are fine.

    Raises:
        RunError: says which networks, what changed, and the ways out.
    """
    kept = {trial.train_hash for trial in trials}
    earlier = _earlier_spec(layout)
    recorded = _recorded(layout, earlier, spec, data)
    dropped = [name for digest, name in recorded.items() if digest not in kept and layout.finished(digest)]
    changed = _changed(layout, earlier, spec, data)
    if not dropped or not changed:  # nothing changed: a newer version of the training does it all again
        return
    one = len(dropped) == 1
    raise RunError(
        f"run '{layout.run}': holds {len(dropped)} trained network{'' if one else 's'} ({listed(dropped)}) that this "
        f"spec does not use, since {'; '.join(changed)}. Summary and report would be without "
        f"{'it' if one else 'them'}: use --out with a folder of its own, or --replace (replace=True in Python) to go "
        f"on here, where {'it stays' if one else 'they stay'} in trials/ for a spec that uses "
        f"{'it' if one else 'them'} again."
    )


def unused_networks(layout: Layout, trials: Iterable[Trial]) -> int:
    """How many trained networks of this folder none of these trials, the judge among them, uses."""
    used = {trial.train_hash for trial in trials}
    names = [path.parent.name for path in layout.run.glob("trials/*/trial.json")]
    return sum(read_json(layout.run / "trials" / n / "trial.json").get("epochs", 0) > 0 for n in set(names) - used)


def _earlier_spec(layout: Layout) -> StudySpec | None:
    """The spec of the last run; None where there is none, or none that this version can read."""
    try:
        return load_spec(layout.spec)
    except SpecError:
        return None


def _recorded(layout: Layout, earlier: StudySpec | None, spec: StudySpec, data: Dataset) -> dict[str, str]:
    """Identity of each network that the last run was to train, and its name: by its summary, or else by its spec."""
    if layout.summary.exists():
        summary = read_json(layout.summary)
        if earlier is None or summary.get("spec_hash") == earlier.digest():
            trials: list[Mapping[str, Any]] = [
                t for t in summary.get("trials", ()) if not is_reference(t.get("objective"))
            ]
            return {t["train_hash"]: t["id"] for t in trials}
    if earlier is None:
        return {}
    try:
        then, now = ((each.data, each.guide_fraction) for each in (earlier, spec))
        planned = plan_trials(earlier, data if then == now else load_study_data(*then))
    except TangencyError:  # data that are gone
        planned = plan_trials(earlier, data)
    return {trial.train_hash: trial.id for trial in planned if trial.objective is not None}


def _changed(layout: Layout, earlier: StudySpec | None, spec: StudySpec, data: Dataset) -> list[str]:
    """What differs of all that decides which networks there are, in words."""
    if earlier is None:
        return ["the spec.yaml that they were trained by cannot be read by this version"]
    old, new = (_flat({key: each.model_dump(mode="json")[key] for key in _TRAINING}) for each in (earlier, spec))
    changes = [_difference(key, old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]
    if not changes and layout.summary.exists():
        hashes = read_json(layout.summary).get("provenance", {}).get("hashes", {})
        if hashes.get("train_data", data.train.digest) != data.train.digest:
            changes = [f"'{spec.data}' holds other training images than then"]
    return changes


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys with dots between."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return flat


def _difference(key: str, old: Any, new: Any) -> str:
    if isinstance(old, list | dict) or isinstance(new, list | dict):
        return f"{key} is another one"
    return f"{key} was {old!r}, is {new!r}"
