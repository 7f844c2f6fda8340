"""Measured classifiers on the terminal: the headline and the main numbers, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from tangency.autodiff import CALIBRATED, Temperature
from tangency.cli.show.tangents import PROBE_NAMES
from tangency.cli.tables import DASH, console, entry_of, number, plus_minus, say, table
from tangency.evaluate.fitting.posterior import PosteriorAccuracy, bayes_rule_words
from tangency.measures.keys import FRACTION, MARGIN, TANGENT_CONTROLS, Key
from tangency.report.text.numbers import estimate

_TITLES = ("measure", "mean", "chance", "minus control")
# Families of the main numbers with their names; of σ the largest for a cosine, as in regimes, and the smallest for ρ₂.
_MAIN = {
    "accuracy": "accuracy",
    "tangent_fraction": "F², energy in tangent space",
    "kappa": "κ, energy off/on manifold",
    "alignment_cosine": "cosine with Bayes",
    "rho": "ρ₂, off manifold",
}
_UNCONTROLLED = {"kappa": "none: see F²"}  # any smooth gradient has κ < 1, whatever it knows
_ATTACKED = ("accuracy_", "certified_radius")  # how the families begin that attacks and smoothing add
_CLOSED = "bayes_gradient"
_WITHIN = "shuffled_class"  # the control of an alignment that has all class knowledge


def print_measured(summaries: Sequence[Mapping[str, Any]], *, everything: bool) -> None:
    """Each classifier, then the warnings, each once.

    Args:
        summaries: of the classifiers, as in summary.json.
        everything: whether all numbers are printed, not only the main ones.
    """
    screen = console()
    for summary in summaries:
        over = f"mean ± half the 95 % interval over {summary['measured']} test images of this one network"
        title = f"{summary['model']} on {summary['data']}: {over}"
        screen.print(f"[bold]{escape(title)}[/]", soft_wrap=not screen.is_terminal)
        say(screen, _headline(summary))
        if everything:
            _print_all(screen, summary)
        else:
            _print_main(screen, summary)
        for sentence in summary["reading"]:
            say(screen, f"model: {sentence}")
    for sentence in dict.fromkeys(sentence for summary in summaries for sentence in _warnings(summary)):
        say(screen, f"Warning: {sentence}")


def _headline(summary: Mapping[str, Any]) -> str:
    """The regime against the baseline; without one, whether F² is above its best control, and what that means."""
    regime, excess = summary["regime"], entry_of(summary["excess"].get(FRACTION))
    if regime["baseline"] is not None:
        return str(regime["text"]).partition("\n")[0]
    if excess is None or excess.low is None or excess.high is None:
        return "F² was not measured against controls; no regime without --baseline."
    if excess.low > 0:
        verb, meaning = (
            "is above",
            "its gradients are more in their own images' tangent spaces than any control explains",
        )
    elif excess.high < 0:
        verb, meaning = "is below", "a subspace that knows nothing of the image holds more of its gradients"
    else:
        verb, meaning = (
            "is not shown to differ from",
            "no sign that its gradients know the manifold at their own images",
        )
    best, few = summary["excess"][FRACTION]["best_control"], excess.n < summary["measured"]
    over = f" over the {excess.n} images that have every control" if few else ""
    said = f"F² {verb} its best control ({best}): {estimate(excess, signed=True)}{over}; {meaning}"
    return f"{said}. No regime without --baseline, a standard network of the same data."


def _warnings(summary: Mapping[str, Any]) -> Iterable[str]:
    return (*summary["check"]["warnings"], *summary["warnings"], *summary["regime"].get("warnings", ()))


def _print_main(screen: Console, summary: Mapping[str, Any]) -> None:
    measures, keys = summary["measures"], _main_keys(summary["measures"])
    screen.print(table(_TITLES, [row for key in keys for row in _main_rows(key, summary)]))
    if more := len(measures) - len(keys):
        say(screen, f"{more} more numbers: --all prints them, and --json with all digits.")


def _main_keys(measures: Mapping[str, Any]) -> list[Key]:
    """Accuracies, F² and κ, the cosine with the first target, and ρ₂; of each quantity, under the first estimator."""
    plain = [key for key in map(Key.parse, measures) if not key.control and not key.tangents and not key.part]
    attacked = [key for key in plain if key.family.startswith(_ATTACKED) and key.family != "accuracy_noise"]
    rows: list[Key] = []
    for family in _MAIN:
        own = [key for key in plain if key.family == family]
        if family == "alignment_cosine":
            own = [key for key in own if key.target == own[0].target]
            highest = max((key.value or 0.0 for key in own), default=0.0)
            own = [key for key in own if (key.value or 0.0) == highest]
        rows += own[:1] if family == "rho" else own
        rows += attacked if family == "accuracy" else []
    return rows


def _main_rows(key: Key, summary: Mapping[str, Any]) -> list[list[str]]:
    """A measure with its excess over its best control; of an alignment, its excess within the class too."""
    entry, excess = summary["measures"][str(key)], summary["excess"].get(str(key))
    best = _UNCONTROLLED.get(key.family, DASH)
    if excess is not None:
        best = f"{plus_minus(excess, signed=True)} {excess['best_control']}"
    few = f" ({entry['n']} images)" if entry["degenerate"] else ""
    rows = [[_name(key) + few, plus_minus(entry), number(entry["chance"]), best]]
    within = (excess or {}).get("controls", {}).get(_WITHIN) if key.target else None
    if within is not None:
        rows.append(["  within the class", "", "", plus_minus(within, signed=True)])
    return rows


def _name(key: Key) -> str:
    """A measure in a few words, with its quantity, σ and ε where they are needed."""
    if key.family not in _MAIN:
        return str(key)
    name = _MAIN[key.family] if key.target in ("", _CLOSED) else f"cosine with {key.target}"
    quantity = "" if key.quantity in ("", MARGIN, "logits") else f" of {key.quantity}"
    return name + quantity + (f", σ = {key.value:g}" if key.value is not None else "")


def _print_all(screen: Console, summary: Mapping[str, Any]) -> None:
    """Every measure with its interval, chance level and excess over its controls, and what they rest on."""
    rows = []
    for key, entry in summary["measures"].items():
        rows.append([key, plus_minus(entry), number(entry["chance"]), str(entry["degenerate"])])
        controls = summary["excess"].get(key, {}).get("controls", {})
        for name, other in controls.items():
            rows.append([f"  − {name}", plus_minus(other, signed=True), "0", str(other["degenerate"])])
    screen.print(table(("measure", "mean", "chance", "no value"), rows))
    _print_rests(screen, summary)
    say(screen, summary["regime"]["text"])


def _print_rests(screen: Console, summary: Mapping[str, Any]) -> None:
    """Shares of known directions in the tangent spaces, the accuracy of the Bayes rule, and the temperature."""
    rows = []
    for name, entry in summary.get("known_directions", {}).items():
        for probe in [probe for probe in PROBE_NAMES if probe in entry]:
            share, controls = entry[probe]["share"], entry[probe]["controls"]
            over = [plus_minus(controls.get(control), signed=True) for control in TANGENT_CONTROLS]
            rows.append([f"{name}, {PROBE_NAMES[probe]}", number(entry["rank"]), plus_minus(share), *over])
    if rows:
        images = max(entry["images"] for entry in summary["known_directions"].values())
        titles = ("share of known directions", "rank", "share", *(f"− {control}" for control in TANGENT_CONTROLS))
        title = f"\nWhat the tangent spaces of {images} images hold, and their excess over controls of equal rank"
        screen.print(table(titles, rows, title=title))
    accuracies = [PosteriorAccuracy(**entry) for entry in summary.get("posterior_accuracy", ())]
    if words := bayes_rule_words(summary["settings"]["score"]["kind"], accuracies):
        say(screen, f"\n{words}")
    if "temperature" in summary:
        say(screen, f"{CALIBRATED}: {Temperature(**summary['temperature']).sentence}.")
