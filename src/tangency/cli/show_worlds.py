"""Tables of `tangency worlds`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tangency.theory import Claim

_WIDE = 150  # columns where the output is no terminal
_SIGMA = 0.5  # named before looking: where the robust and the standard network are compared


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def print_worlds(found: list[dict[str, Any]]) -> None:
    """The worlds, a paragraph each."""
    console = _console()
    for world in found:
        console.print(f"[bold]{world['name']}[/]  {world['title']}")
        options = ", ".join(f"{key}={value}" for key, value in world["options"].items())
        console.print(f"  options: {options}", markup=False)
        for quantity, reason in world["undefined"].items():
            console.print(f"  undefined at σ = 0: {quantity}; {reason}", markup=False)
        if not world["undefined"]:
            console.print("  everything is defined at every σ ≥ 0")


def print_claims(claims: Sequence[Claim]) -> None:
    """One line a claim, failures last and in red; identities that hold in all worlds are folded into one line each."""
    console = _console()
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("claim", overflow="fold")
    for title in ("expected", "measured", "± tolerance"):
        table.add_column(title, justify="right", no_wrap=True)
    for claim, count in _folded(claims):
        colour = "green" if claim.passed else "red"
        where = f"{count} cases, the widest: {claim.world}" if count > 1 else claim.world
        table.add_row(
            f"[{colour}]{'ok' if claim.passed else 'FAIL'}[/]",
            f"{escape(claim.claim)} [dim]({escape(where)})[/]",
            f"{claim.relation} {claim.expected:.6g}",
            f"{claim.measured:.6g}",
            f"{claim.tolerance:.2g}",
        )
    console.print(table)
    failed = sum(not claim.passed for claim in claims)
    console.print(f"{len(claims)} claims checked, {failed} failed.")


def _folded(claims: Sequence[Claim]) -> list[tuple[Claim, int]]:
    """The claims of one wording as one, that which used most of its tolerance; failures each on their own."""
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.claim if claim.passed else f"{claim.claim} {claim.world}", []).append(claim)
    found = [(max(group, key=_used), len(group)) for group in groups.values()]
    return sorted(found, key=lambda pair: not pair[0].passed)


def _used(claim: Claim) -> float:
    return abs(claim.measured - claim.expected) / claim.tolerance if claim.tolerance else 0.0


def _interval(entry: dict[str, Any], digits: int = 3) -> str:
    if entry["mean"] is None:
        return "–"
    return f"{entry['mean']:.{digits}g} [{entry['low']:.{digits}g}, {entry['high']:.{digits}g}]"


def print_trial(found: dict[str, Any]) -> None:
    """Angles, errors against σ, bias and coverage."""
    console = _console()
    about, kinds = found["about"], found["kinds"]
    console.print(
        f"world {found['world']}: d = {about['dimension']}, manifold of dimension {about['intrinsic_dimension']}; "
        f"tangents {kinds['tangents']}, score {kinds['score']}; means with 95 % intervals over images",
        markup=False,
    )
    words = {
        "rank": "estimated rank",
        "mean_angle_degrees": "mean principal angle, degrees",
        "largest_angle_degrees": "largest principal angle, degrees",
        "overlap": "overlap ‖U₁ᵀU₂‖²/min(k₁, k₂)",
        "overlap_chance": "  its chance level",
        "leakage_random": "ρ₁ given to a random tangent gradient (truth 0)",
        "leakage_worst": "ρ₁ given to the worst tangent gradient (truth 0)",
        "leakage_bayes": "ρ₁ given to the tangent part of the Bayes gradient (truth 0)",
    }
    for key, text in words.items():
        console.print(f"  {text}: {_interval(found['tangents'][key])}", markup=False)
    _print_scores(console, found["score"])
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("measure", "truth", "bias", "coverage of 95 % intervals"):
        table.add_column(title, overflow="fold")
    for key, entry in found["measures"].items():
        held = f"{_number(entry['coverage'], '.0%')} ± {_number(entry['coverage_error'], '.0%')}"
        table.add_row(key, _number(entry["truth"], ".4g"), _interval(entry["bias"], 2), held)
    console.print(table)
    config = found["config"]
    console.print(
        f"a fixed classifier on {config['population']} images with the estimators, against the exact ones; coverage "
        f"over {config['datasets']} data sets of {config['n']}."
    )


def _print_scores(console: Console, entries: list[dict[str, Any]]) -> None:
    table = Table(
        "σ",
        "σ² (doing nothing)",
        "error",
        "least possible",
        "‖ŝ−s‖²/‖s‖²",
        "cos scores",
        "cos Bayes",
        box=None,
        pad_edge=False,
        show_edge=False,
    )
    for entry in entries:
        table.add_row(
            f"{entry['sigma']:g}",
            f"{entry['identity']:.3g}",
            _interval(entry["mse"]),
            f"{entry['least_mse']['mean']:.3g}",
            f"{entry['score_error']:.2g}",
            f"{entry['score_cosine']['mean']:.3f}",
            f"{entry['bayes_cosine']['mean']:.3f}",
        )
    console.print(table)


def print_noise(summary: dict[str, Any]) -> None:
    """Relative noise robustness against σ, robust minus standard at the σ that was named before looking."""
    console = _console()
    curves = summary["noise_curves"]
    sigmas = curves["sigmas"]
    console.print(
        f"{summary['name']}: {summary['data']['measured']} test images; softmax change under noise of size σ on the "
        "signal over that on the distractor (chance 1), with a 95 % band that holds at all σ at once",
        markup=False,
    )
    trials = {trial["id"]: trial for trial in summary["trials"]}
    shown = curves["trials"]
    table = Table("", *shown, box=None, pad_edge=False)
    for title, key in (
        ("accuracy", "accuracy"),
        ("gradient energy on the signal, chance 0.5", "signal_fraction.logp_y"),
    ):
        table.add_row(title, *(_number(trials[name]["measures"][key]["mean"], ".3f") for name in shown))
    for i, sigma in enumerate(sigmas):
        cells = [[_number(curve[side][i], ".2f") for side in ("ratio", "low", "high")] for curve in shown.values()]
        table.add_row(f"ratio at σ = {sigma:g}", *(f"{ratio} [{low}, {high}]" for ratio, low, high in cells))
    console.print(table)
    at = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - _SIGMA))
    for name, curve in curves["trials"].items():
        if "minus_standard" in curve and trials[name]["objective"] != "untrained":
            mean, low, high = (curve["minus_standard"][side][at] for side in ("mean", "low", "high"))
            settled = low is not None and high is not None
            word = "above 0" if settled and low > 0 else "below 0" if settled and high < 0 else "not settled"
            shown = [_number(value, "+.2f") for value in (mean, low, high)]
            text = f"{name} minus standard at σ = {sigmas[at]:g}: {shown[0]} [{shown[1]}, {shown[2]}], {word}"
            console.print(text, markup=False)


def _number(value: float | None, form: str) -> str:
    """A number, or a dash where there is none (a ratio without a denominator, say)."""
    return "–" if value is None else format(value, form)
