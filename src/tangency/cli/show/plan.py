"""A study before it begins, on the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import typer

from tangency.cli.tables import console, say, table
from tangency.study.forecast.wants import GUIDE
from tangency.study.plan import REFERENCES, controls_of
from tangency.study.spec import dump_spec, spec_content
from tangency.study.sweep import STANDARD

if TYPE_CHECKING:
    from tangency.study.forecast.entries import Forecast
    from tangency.study.forecast.foresee import Foreseen
    from tangency.study.guides import Guide
    from tangency.study.plan import Trial
    from tangency.study.spec import StudySpec


def plan_json(spec: StudySpec, foreseen: Foreseen) -> dict[str, Any]:
    """The resolved spec, its trials, what is made beside them, and the forecast; unknown hashes are null."""
    missing = {want.key for want in foreseen.forecast.missing}
    trials = [
        {
            "id": trial.id,
            "train_hash": None if missing & {"data", GUIDE} else trial.train_hash,
            "measure_hash": None if missing else trial.measure_hash,
            "learning_rate": None if trial.train is None else trial.train.learning_rate,
        }
        for trial in foreseen.trials
    ]
    judge = foreseen.plan.judge if foreseen.plan else None
    return {
        "spec": spec_content(spec),
        "spec_hash": spec.digest(),
        "trials": trials,
        "controls": controls_of(spec.sweep),
        "judge": None if judge is None else judge.id,
        "guides": {guide.reference: text for guide, text in _guides(spec, foreseen).items()},
        "pictures": _pictures(foreseen),
        "forecast": foreseen.forecast.to_json(),
    }


def _guides(spec: StudySpec, foreseen: Foreseen) -> dict[Guide, str]:
    """What each guide of the objectives is made of, in words."""
    guides = foreseen.plan.guides if foreseen.plan else []
    fitted = f"fitted to {spec.guide_fraction:.0%} of the training images, which no network is trained on"
    return {guide: fitted if guide.fitted else "not fitted" for guide in guides}


def print_plan(spec: StudySpec, foreseen: Foreseen) -> None:
    """The same for a person."""
    trials, forecast = foreseen.trials, foreseen.forecast
    screen = console()
    typer.echo(dump_spec(spec))
    say(screen, f"{len(trials)} trials{_by_objective(trials)}: {', '.join(trial.id for trial in trials)}")
    for tag, words in controls_of(spec.sweep).items():
        say(screen, f"control {tag}: {words}")
    for line in _slowed(spec, trials):
        say(screen, line)
    if foreseen.plan and foreseen.plan.judge is not None:
        say(screen, f"1 judge to train: {foreseen.plan.judge.id}")
    for guide, text in _guides(spec, foreseen).items():
        say(screen, f"{guide.kind} {guide.reference} of objectives: {text}")
    makers = sum(trial.base is None for trial in trials)
    for name, count in _pictures(foreseen).items():
        say(screen, f"{name}: {count} pictures, {count // makers} by each trial")
    for want in forecast.wants:
        state = f"missing: {want.missing} {want.advice}".rstrip() if want.missing else "there"
        say(screen, f"{want.key} {want.reference}: {state}")
    if forecast.trained:
        say(screen, f"already there: {forecast.trained} trials trained, {forecast.measured} of them measured")
    if forecast.kinds:
        print_costs(forecast)


def _pictures(foreseen: Foreseen) -> dict[str, int]:
    """Entry to the pictures that all trials make; filtered networks make none."""
    makers = sum(trial.base is None for trial in foreseen.trials)
    return {entry.name: len(entry.ids) * makers for entry in (foreseen.plan.entries if foreseen.plan else ())}


def _by_objective(trials: list[Trial]) -> str:
    """Where there are many, how many of them are of the sweep, and how many stand beside it."""
    names = ("given" if trial.given else trial.name for trial in trials)
    beside = Counter(name for name in names if name in (STANDARD, "given", *REFERENCES))
    swept = len(trials) - sum(beside.values())
    words = [f"{swept} of the sweep", *(f"{count} {name}" for name, count in beside.items())]
    return f" ({', '.join(words)})" if swept and beside else ""


def _slowed(spec: StudySpec, trials: list[Trial]) -> list[str]:
    """Of each objective, at which strengths the published learning rate is below that of the spec."""
    base, lines = spec.train.learning_rate, []
    slowed: dict[str, dict[float, float]] = {}
    for trial in trials:
        rate = base if trial.objective is None or trial.control else trial.objective.learning_rate(base)
        if rate != base:
            slowed.setdefault(trial.name, {})[trial.strength] = rate
    for name, rates in slowed.items():
        low, high = min(rates), max(rates)
        end = f" to {rates[high]:.3g} at {high:g}" if high > low else ""
        lines.append(
            f"{name}: learning rate {rates[low]:.3g} at strength {low:g}{end} instead of {base:g}, as published"
        )
    return lines


def print_costs(forecast: Forecast) -> None:
    """What each kind of task takes, and the time with 1, 8 and 64 workers."""
    screen = console()
    rows = [
        (
            kind.kind,
            str(kind.tasks),
            _time(kind.longest),
            _time(kind.seconds),
            "–" if kind.memory is None else f"{kind.memory / 1e9:.2g} GB",
            "" if kind.measured else "about",
        )
        for kind in forecast.kinds
    ]
    say(screen, f"to do, measured on {forecast.device} (one worker; starting processes is not counted):")
    screen.print(table(("task", "number", "longest", "all", "memory", ""), rows))
    for workers, seconds in forecast.wall.items():
        share = forecast.seconds / (workers * seconds) if seconds else 1.0
        busy = "" if workers == 1 else f", busy {share:.0%} of the time"
        say(screen, f"{workers} worker{'' if workers == 1 else 's'}: {_time(seconds)}{busy}")


def _time(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
