"""Running a study: what is missing is done, what is there is kept, then everything is summed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tangency.devices import resolve_device
from tangency.engines import Bulletin, EngineConfig, Event, Going, open_engine, read_going
from tangency.engines.deaths import leave_if_imported
from tangency.engines.queue import busy
from tangency.errors import DataError, RunError
from tangency.evaluate.entries import fields_json
from tangency.evaluate.fitting.closed import score_card
from tangency.evaluate.generation.judges import judge_quality
from tangency.files import atomic, journal, read_json, remove_leftovers, write_json
from tangency.study.assemble import assemble_rows, columns_by_trial
from tangency.study.convergence import to_lengthen
from tangency.study.forecast.wants import stand_in
from tangency.study.generation.collect import collect, finished
from tangency.study.generation.judge import load_judge
from tangency.study.guides import load_study_data
from tangency.study.layout import Layout
from tangency.study.network import examination
from tangency.study.phases import generating_trials, phases, usable_trials
from tangency.study.planning import StudyPlan, plan_study
from tangency.study.preflight import checked_plan
from tangency.study.replaced import refuse_changed, refuse_other_study, unused_networks
from tangency.study.spec import StudySpec, dump_spec, load_spec, parse_spec
from tangency.study.summary.costs import CostsEntry, study_costs
from tangency.study.summary.guides import guides_entry
from tangency.study.summary.summarise import summarise
from tangency.study.watch import Watcher, watched
from tangency.study.work.jobs import StudyWork, study_jobs
from tangency.study.work.needs import Needs
from tangency.types import Dataset


@dataclass(frozen=True)
class Status:
    """What of a study is done.

    Args:
        trials: id to "waiting", "trained", "measured", or "generated" where the spec asks for that too.
        score: whether the score is fitted.
        report: whether there is a report, and of this very spec.
        costs: of the jobs so far.
        going: how the work goes on; None where no process works on the folder.
    """

    score: bool
    trials: dict[str, str]
    report: bool
    costs: CostsEntry
    going: Going | None = None


def _data(spec: StudySpec) -> Dataset:
    """The data of a spec; where those of a stand-in are not there, the error says how it is made."""
    try:
        return load_study_data(spec.data, spec.guide_fraction)
    except DataError as error:
        raise DataError(f"{error} {stand_in(spec.data)}".rstrip()) from None


def study_status(spec: StudySpec | str | Path, run: str | Path) -> Status:
    """What is done and what is missing in a run directory."""
    spec, run = _as_spec(spec), Path(run)
    if run.exists() and not run.is_dir():
        raise RunError(f"output '{run}': got a file, expected the folder of a run; use --out.")
    layout, plan = Layout(run), plan_study(spec, _data(spec))
    states = {}
    for trial in plan.trials:
        measured = all(layout.measured(trial, images) for images in plan.shards)
        done = ["waiting", "trained", "measured", "generated"]
        pictured = bool(plan.entries) and (trial.base is not None or finished(plan.entries, trial, layout))
        steps = [layout.trained(trial), measured, pictured]
        states[trial.id] = done[2 if measured and not steps[2] else sum(steps)]
    report = (run / "report" / "index.html").exists() and bool(_earlier(layout, spec))
    going = read_going(layout.going) if layout.held() else None
    return Status(layout.score(plan.score_hash).exists(), states, report, study_costs(layout, plan.networks), going)


def run_study(
    spec: StudySpec | Mapping[str, Any] | str | Path,
    run: str | Path,
    watch: Watcher | None = None,
    *,
    extend: bool = False,
    replace: bool = False,
    engine: EngineConfig | None = None,
) -> dict[str, Any]:
    """Train, measure and sum up; killed at any moment, it goes on from there when run again.

    Worker processes import the script that calls this, so the call belongs under `if __name__ == "__main__":`.

    Args:
        spec: a `StudySpec` of `load_spec`, its keys as a mapping, or the YAML file that has them.
        run: output folder; made where there is none.
        watch: called as work goes on, for a progress display; by default a bar for each phase in a notebook.
        extend: whether a spec goes on in the folder of another one that it only adds to, as strengths, seeds, measures
            or measured images. The same spec does not need it, wherever the work is done.
        replace: whether any spec of this name goes on here, though networks that were trained and what was measured may
            be left out of summary and report.
        engine: where the work is done; what the spec says by default, which is processes on this machine.

    Returns:
        The content of summary.json.

    Raises:
        SpecError: a key that is unknown or out of its range, all of them in one sentence.
        RunError: the folder is a file, or held by another process, or was made by another spec, or a worker died again
            and again, or could not start.

    Example:
        >>> import tempfile
        >>> spec = {
        ...     "data": "world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10", "score": "exact", "measured": 6,
        ...     "sweep": [{"objective": "standard"}], "untrained": False, "train": {"epochs": 1}, "workers": 1,
        ...     "pictures": 2, "replicates": 100, "measures": {"metrics": ["cosine"], "directions": 1},
        ... }
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     summary = run_study(spec, folder)
        >>> [(trial["id"], trial["strength"]) for trial in summary["trials"]]
        [('standard-0-s0', 0.0), ('filtered-s0', 0.0)]
    """
    leave_if_imported()
    spec, run = _as_spec(spec), Path(run)
    started, clock = datetime.now(UTC), time.perf_counter()
    data = _data(spec)
    plan = checked_plan(spec, data)
    layout, chosen = Layout(run), engine or spec.engine
    if chosen.kind == "local":  # else the machines that do the work have it
        resolve_device(spec.device)
    with layout.locked():
        refuse_other_study(layout, spec)
        if not replace:
            refuse_changed(layout, spec, data, plan.trials, extend=extend)
        if not busy(run):  # else they are files that workers on other machines are writing
            remove_leftovers(run)
        with atomic(layout.spec) as temporary:
            temporary.write_text(dump_spec(spec), encoding="utf-8")
        with watched(watch) as listener:
            _work_through(plan, data, layout, chosen, listener)
        summary = _sum_up(plan, data, layout, spec.device if chosen.kind == "local" else "auto")
        earlier = _earlier(layout, spec)
        if plan.guides:
            summary["guides"] = fields_json(guides_entry(plan, data, layout))
        summary["unused_networks"] = unused_networks(layout, [*plan.networks, *([plan.judge] if plan.judge else [])])
        summary |= {"seconds": time.perf_counter() - clock + earlier.get("seconds", 0.0)}
        summary["costs"] = fields_json(study_costs(layout, plan.networks))
        begun = earlier.get("provenance", {}).get("started", started.isoformat(timespec="seconds"))
        summary["provenance"]["started"] = begun
        summary["provenance"]["halved"] = _halved(plan, layout)
        journal("summary")
        write_json(layout.summary, summary)
    return summary


def _work_through(plan: StudyPlan, data: Dataset, layout: Layout, config: EngineConfig, watch: Watcher) -> None:
    """Do all phases on an engine, and say in the run folder how they go on."""
    spec, needs = plan.spec, Needs.of(plan, data, config)
    with open_engine(config, StudyWork(plan), layout.run, spec.workers, spec.device) as engine:
        bulletin = Bulletin(layout.going, engine)
        for phase, tasks in phases(plan, data, layout):
            jobs = study_jobs(tasks, needs, layout)
            bulletin.begin(phase, jobs)
            watch(phase, jobs, None)
            engine.do(jobs, partial(_happened, bulletin, partial(watch, phase, jobs)))
            bulletin.write()


def _happened(bulletin: Bulletin, watch: Callable[[Event], None], event: Event) -> None:
    bulletin.take(event)
    watch(event)


def _as_spec(spec: StudySpec | Mapping[str, Any] | str | Path) -> StudySpec:
    if isinstance(spec, Mapping):
        return parse_spec(dict(spec), "spec")
    return spec if isinstance(spec, StudySpec) else load_spec(spec)


def _earlier(layout: Layout, spec: StudySpec) -> dict[str, Any]:
    """The summary that an earlier, finished run of the same spec left here, whose time counts too."""
    if not layout.summary.exists():
        return {}
    summary: dict[str, Any] = read_json(layout.summary)
    return summary if summary.get("spec_hash") == spec.digest() else {}


def _halved(plan: StudyPlan, layout: Layout) -> dict[str, int]:
    """How many images of each trial were measured with half the batch, since memory ran out; of no others."""
    counts = {t.id: sum(len(s) for s in plan.shards if layout.halved(t, s).exists()) for t in plan.networks}
    return {name: count for name, count in counts.items() if count}


def _sum_up(plan: StudyPlan, data: Dataset, layout: Layout, place: str) -> dict[str, Any]:
    spec = plan.spec
    trials = [*plan.trials, *(to_lengthen(plan, layout) if plan.longer else [])]
    outcomes = {trial.id: layout.outcome(trial) | layout.calibrated(trial) for trial in trials}
    usable = [trial for trial in trials if outcomes[trial.id]["outcome"] == "ok"]
    assemble_rows(layout, usable, plan.shards)
    card = score_card(layout.score(plan.score_hash))
    if spec.network_score:
        card |= {"network": examination(layout.trust(plan.network_hash))}
    summary = partial(summarise, spec, data, trials, outcomes, columns_by_trial(layout), card)
    if not spec.generate:
        for left in (layout.generation, layout.generated_pictures):  # of an earlier spec of this run
            left.unlink(missing_ok=True)
        return summary()
    made = [plan.trials[i] for i in generating_trials(plan, usable_trials(plan, layout))]
    generated, device = collect(plan.entries, made, layout), resolve_device(place)
    return summary(generated, judge_quality(load_judge(spec, plan.judge, device, data, layout), data, device))
