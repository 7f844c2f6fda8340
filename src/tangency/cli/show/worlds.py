"""Tables of `tangency worlds`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape

from tangency.cli.tables import FittedTable, console, interval, number, say, table
from tangency.evaluate.entries import plain_number
from tangency.statistics import Estimate
from tangency.theory import Claim, EstimatorTrial
from tangency.worlds.registry import WorldDescription

_SIGMA = 0.5  # named before looking: where the robust and the standard network are compared


def print_worlds(worlds: Sequence[WorldDescription]) -> None:
    """The worlds, a paragraph each."""
    screen = console()
    for world in worlds:
        screen.print(f"[bold]{world.name}[/]  {world.title}")
        options = ", ".join(f"{key}={value}" for key, value in world.options.items())
        say(screen, f"  options: {options}")
        for quantity, reason in world.undefined.items():
            say(screen, f"  undefined at σ = 0: {quantity}; {reason}")
        if not world.undefined:
            screen.print("  everything is defined at every σ ≥ 0")


def print_claims(claims: Sequence[Claim]) -> None:
    """One line a claim, failures last and in red; claims that hold in several worlds take one line together."""
    rows = []
    for claim, count in _folded(claims):
        where = f"{count} cases, the widest: {claim.world}" if count > 1 else claim.world
        rows.append(
            [
                "[green]ok[/]" if claim.passed else "[red]FAIL[/]",
                f"{escape(claim.claim)} [dim]({escape(where)})[/]",
                f"{claim.relation} {claim.expected:.6g}",
                f"{claim.measured:.6g}",
                f"{claim.tolerance:.2g}",
            ]
        )
    screen = console()
    screen.print(table(("", "claim", "expected", "measured", "± tolerance"), rows, wrapped=("claim",), markup=True))
    failed = sum(not claim.passed for claim in claims)
    screen.print(f"{len(claims)} claims checked, {failed} failed.")


def _folded(claims: Sequence[Claim]) -> list[tuple[Claim, int]]:
    """Of the claims of one wording the one that used most of its tolerance, and their number; failures one by one."""
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.claim if claim.passed else f"{claim.claim} {claim.world}", []).append(claim)
    widest = [(max(group, key=_used), len(group)) for group in groups.values()]
    return sorted(widest, key=lambda pair: not pair[0].passed)


def _used(claim: Claim) -> float:
    return abs(claim.measured - claim.expected) / claim.tolerance if claim.tolerance else 0.0


_TANGENT_WORDS = {
    "rank": "estimated rank",
    "mean_angle_degrees": "mean principal angle, degrees",
    "largest_angle_degrees": "largest principal angle, degrees",
    "overlap": "overlap ‖U₁ᵀU₂‖²/min(k₁, k₂)",
    "overlap_chance": "  its chance level",
    "leakage_random": "ρ₁ measured for a random tangent gradient (truth 0)",
    "leakage_worst": "ρ₁ measured for the worst tangent gradient (truth 0)",
    "leakage_bayes": "ρ₁ measured for the tangent part of the Bayes gradient (truth 0)",
}


def _of(estimate: Estimate) -> str:
    return interval({name: plain_number(value) for name, value in asdict(estimate).items()})


def print_trial(trial: EstimatorTrial) -> None:
    """Angles, errors against σ, bias and coverage."""
    screen = console()
    screen.print(
        f"world {trial.world}: d = {trial.dimension}, manifold of dimension {trial.intrinsic_dimension}; "
        f"tangents {trial.tangents}, score {trial.score}; means with 95 % intervals over images",
        markup=False,
    )
    for key, text in _TANGENT_WORDS.items():
        screen.print(f"  {text}: {_of(trial.angles[key])}", markup=False)
    screen.print(_score_table(trial))
    rows = []
    for key, entry in trial.measures.items():
        share, error = (number(plain_number(v), ".0%") for v in (entry.coverage.share, entry.coverage.error))
        rows.append([key, number(plain_number(entry.truth), ".4g"), _of(entry.bias), f"{share} ± {error}"])
    titles = ("measure", "truth", "bias", "coverage of 95 % intervals")
    screen.print(table(titles, rows))
    config = trial.config
    screen.print(
        f"Bias: a fixed classifier on {config.population} images, with the estimators against the exact ones. "
        f"Coverage: over {config.datasets} data sets of {config.n}."
    )


def _score_table(trial: EstimatorTrial) -> FittedTable:
    rows = []
    for errors in trial.scores:
        means = errors.means
        cosines = (f"{means[name].mean:.3f}" for name in ("score_cosine", "bayes_cosine"))
        least = f"{means['least_mse'].mean:.3g}"
        sigmas = f"{errors.sigma:g}", f"{errors.sigma**2:.3g}"
        rows.append([*sigmas, _of(means["mse"]), least, f"{errors.score_error:.2g}", *cosines])
    titles = ("σ", "σ² (doing nothing)", "error", "least possible", "‖ŝ−s‖²/‖s‖²", "cos scores", "cos Bayes")
    return table(titles, rows)


def print_noise(summary: Mapping[str, Any]) -> None:
    """Relative noise robustness against σ, and robust minus standard at a σ that was chosen beforehand."""
    screen = console()
    sigmas, curves = summary["noise_curves"]["sigmas"], summary["noise_curves"]["trials"]
    screen.print(
        f"{summary['name']}: {summary['data']['measured']} test images; softmax change under noise of size σ on the "
        "signal over that on the distractor (chance 1), with a 95 % band that holds at all σ at once",
        markup=False,
    )
    trials = {trial["id"]: trial for trial in summary["trials"]}
    words = {
        "accuracy": "accuracy, chance 1 / classes",
        "signal_fraction.margin": "gradient energy on the signal, chance 1/2",
    }
    rows = [[title, *(interval(trials[name]["measures"][key]) for name in curves)] for key, title in words.items()]
    for i, sigma in enumerate(sigmas):
        rows.append([f"ratio at σ = {sigma:g}", *(_at(curve, "ratio", i) for curve in curves.values())])
    screen.print(table(("", *curves), rows))
    at = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - _SIGMA))
    for name, curve in curves.items():
        if "minus_standard" in curve and trials[name]["objective"] != "untrained":
            difference = curve["minus_standard"]
            low, high = difference["low"][at], difference["high"][at]
            settled = low is not None and high is not None
            word = "above 0" if settled and low > 0 else "below 0" if settled and high < 0 else "not settled"
            shown = _at(difference, "mean", at, signed=True)
            screen.print(f"{name} minus standard at σ = {sigmas[at]:g}: {shown}, {word}", markup=False)


def _at(curve: Mapping[str, Any], middle: str, i: int, signed: bool = False) -> str:
    """A point of a curve with its band."""
    return interval({"mean": curve[middle][i], "low": curve["low"][i], "high": curve["high"][i]}, signed=signed)
