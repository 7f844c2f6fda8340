"""Refuses a run folder to a spec that is not the one that it was made by, unless it is to be extended or replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tangency.errors import RunError, SpecError, TangencyError, listed
from tangency.files import read_json
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout
from tangency.study.plan import Trial, is_reference, plan_trials
from tangency.study.spec import StudySpec, load_spec
from tangency.types import Dataset

_FREE = ("name", "engine", "workers", "device")  # keys that no result depends on
# Keys that say which networks there are: these are looked for.
_TRAINING = ("data", "guide_fraction", "model", "train", "threads", "sweep", "seeds")
_MEASURING = ("data", "measures", "score", "network_score", "tangents", "weights")  # what the rows of each depend on
_SUMMING = ("shard", "replicates")  # change nothing that is kept
_GROWING = ("measured", "pictures")  # more of them keep those that there are
_FROM_NOTHING = ("measures.curved",)  # 0 is none
_LED = ("tangents", "measures.normalisations")  # lists whose first entry has names of its own
_GIVEN = "sweep.networks"  # that others trained: the run holds their rows only
_ABSENT: tuple[object, ...] = (None, "", [], {})
_SHOWN = 60  # characters of a value


def refuse_other_study(layout: Layout, spec: StudySpec) -> None:
    """A folder belongs to the study of one name, unless nothing but the name is another one."""
    name = layout.study_name()
    if name in (None, spec.name):
        return
    earlier = _earlier_spec(layout)
    if earlier is None or _contents(earlier, spec):
        raise RunError(
            f"output '{layout.run}': holds the study '{name}', got a spec of the name '{spec.name}'; use --out with a "
            f"folder of its own, or the name '{name}' to extend that study."
        )


def refuse_changed(
    layout: Layout, spec: StudySpec, data: Dataset, trials: Iterable[Trial], *, extend: bool = False
) -> None:
    """Raise where the spec is another one than that of the last run, but for where and how the work is done.

    Args:
        layout: of the run.
        spec, data, trials: of this run.
        extend: whether a spec goes on that keeps everything which is there.

    Raises:
        RunError: says what changed, which networks would be left out, and the ways out.
    """
    if not layout.spec.exists():
        return
    earlier = _earlier_spec(layout)
    changed = {} if earlier is None else _contents(earlier, spec)
    words = [_difference(key, old, new) for key, (old, new) in changed.items()] or _beyond(layout, earlier, spec, data)
    if not words:
        return
    kept = {trial.train_hash for trial in trials}
    recorded = _recorded(layout, earlier, spec, data)
    dropped = [name for digest, name in recorded.items() if digest not in kept and layout.finished(digest)]
    additions = all(_adds(key, old, new, earlier) for key, (old, new) in changed.items())
    if extend and additions and not dropped:
        return
    again = any(key.split(".")[0] in _MEASURING for key in changed)
    raise RunError(f"run '{layout.run}': {'; '.join(words)}. {_way_out(dropped, additions, again)}")


def _way_out(dropped: list[str], additions: bool, again: bool) -> str:
    anew = " Networks are measured anew." if again else ""
    if additions and not dropped:
        return (
            f"This spec keeps all that the run holds and adds to it: use --extend (extend=True in Python) to go on "
            f"here, or --out with a folder of its own.{anew}"
        )
    if not dropped:
        return (
            "Summary and report would be without some of what the run holds: use --out with a folder of its own, or "
            f"--replace (replace=True in Python) to go on here.{anew}"
        )
    one = len(dropped) == 1
    it, stays, that = ("it", "it stays", "") if one else ("them", "they stay", "s")
    return (
        f"The run holds {len(dropped)} trained network{that} ({listed(dropped)}) that this spec does not use, and "
        f"summary and report would be without {it}: use --out with a folder of its own, or --replace (replace=True in "
        f"Python) to go on here, where {stays} in trials/ for a spec that uses {it} again.{anew}"
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


def _contents(earlier: StudySpec, spec: StudySpec) -> dict[str, tuple[Any, Any]]:
    """Key to (old, new) value of all that differs and can change what a run holds."""
    old, new = _flat(_content(earlier)), _flat(_content(spec))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _content(spec: StudySpec) -> dict[str, Any]:
    """A spec as plain data, its sweep by recipe, its tangent spaces named; without what no result depends on."""
    content = spec.model_dump(mode="json", exclude=set(_FREE))
    content["tangents"] = content["tangents"] or [spec.score.kind]
    del content["train"]["checkpoint_seconds"]
    sweep: dict[str, list[Any]] = {}
    for entry in content["sweep"]:
        options = f"?{json.dumps(entry['options'])}" if entry["options"] else ""
        legacy = f"-{entry['legacy']}" if entry["legacy"] else ""
        changes = {key: entry[key] for key in ("train", "model") if entry[key]}
        control = f" {json.dumps(changes, sort_keys=True)}" if changes else ""
        name = "networks" if entry["networks"] else entry["objective"] + legacy + options + control
        sweep.setdefault(name, []).extend(entry["networks"] or entry["strengths"])
    return content | {"sweep": {name: sorted(each) for name, each in sweep.items()}}


def _beyond(layout: Layout, earlier: StudySpec | None, spec: StudySpec, data: Dataset) -> list[str]:
    """What is different although the specs are the same, or cannot be compared; in words."""
    if earlier is None:
        return ["its spec.yaml cannot be read by this version, so that what is different cannot be shown"]
    if not layout.summary.exists():
        return []
    hashes = read_json(layout.summary).get("provenance", {}).get("hashes", {})
    same = hashes.get("train_data", data.train.digest) == data.train.digest
    return [] if same else [f"'{spec.data}' holds other training images than then"]


def _adds(key: str, old: Any, new: Any, earlier: StudySpec | None) -> bool:
    """Whether a difference leaves all that a run holds in its place; networks are looked for one by one elsewhere."""
    top = key.split(".")[0]
    if top in (*_TRAINING, *_SUMMING) and key != _GIVEN:
        return True
    if top == "judge":
        return earlier is not None and not earlier.generate
    if key == "measures.working_size":
        return False
    if old in _ABSENT or (key in _FROM_NOTHING and old == 0) or old is False:
        return key not in _LED
    if key in _GROWING:
        return bool(new > old)
    whole = isinstance(old, list) and isinstance(new, list) and all(each in new for each in old)
    return whole and (key not in _LED or old[0] == new[0])


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys with dots between."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return flat


def _difference(key: str, old: Any, new: Any) -> str:
    """In words: of lists what comes and what goes."""
    if (isinstance(old, list) and isinstance(new, list)) or key.startswith("sweep."):
        more = [_shown(each) for each in new or () if each not in (old or ())]
        less = [_shown(each) for each in old or () if each not in (new or ())]
        words = [f"{verb} {listed(each)}" for verb, each in (("gains", more), ("loses", less)) if each]
        return f"{key} {' and '.join(words) or 'is in another order'}"
    return f"{key} was {_shown(old)}, is {_shown(new)}"


def _shown(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value) if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
