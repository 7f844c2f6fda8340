"""The page's sentences, made from numbers: each says no more than its interval shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tangency.report.glossary import (
    BAYES,
    REFERENCES,
    REGIMES,
    STANDARD,
    UNTRAINED,
    control_name,
    describe,
    objective_name,
    parse,
    trained,
)

UNDEFINED = "undefined"
Estimate = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The head of the page: a claim, the sentences behind it, and whether "more tangent" was earned."""

    claim: str
    evidence: tuple[str, ...]
    more_tangent: bool


def number(value: float | None, decimals: int | None = None, signed: bool = False) -> str:
    """A number with three significant digits (or the given decimals) and a true minus sign."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    if decimals is None and value and not 1e-4 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    elif decimals is None:
        decimals = 0 if not value else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
    else:
        text = f"{value:.{decimals}f}"
    text = text.replace("-", "−")
    if text.startswith("−") and not any(digit in text for digit in "123456789"):
        text = text[1:]  # no "−0.00"
    return f"+{text}" if signed and value > 0 else text


def estimate(e: Estimate | None, signed: bool = False) -> str:
    """A mean with its interval, "0.314 [0.304, 0.324]", to one or two digits of the interval's half-width."""
    if e is None or e["mean"] is None:
        return UNDEFINED
    low, high = e.get("low"), e.get("high")
    if low is None or high is None or high <= low:
        return number(e["mean"], signed=signed)
    if max(abs(low), abs(high)) < 1e-4:
        return f"{number(e['mean'], signed=signed)} [{number(low)}, {number(high)}]"
    half = (high - low) / 2
    if half < 5e-7:
        return number(e["mean"], signed=signed)  # no digit shown would tell the ends apart
    exponent = math.floor(math.log10(half))
    decimals = min(6, max(0, -exponent + (half < 3 * 10.0**exponent)))  # a second digit after a leading 1 or 2
    return f"{number(e['mean'], decimals, signed)} [{number(low, decimals)}, {number(high, decimals)}]"


def entry(value: float | None, decimals: int | None = None, signed: bool = False) -> str:
    """A number as it stands in a table: a dash where there is none."""
    text = number(value, decimals, signed)
    return "–" if text == UNDEFINED else text


def strength_label(strength: float) -> str:
    """The strength as people write it."""
    return f"{strength:g}"


def trial_name(trial: Mapping[str, Any]) -> str:
    """A trial in words: "gradient norm 0.3"; the seed is left to the caller."""
    name = objective_name(trial["objective"])
    return f"{name} {strength_label(trial['strength'])}" if trial["strength"] else name


def capital(text: str) -> str:
    """First letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def above_zero(e: Estimate | None) -> bool:
    """Whether the whole interval is above zero."""
    return e is not None and e.get("low") is not None and e["low"] > 0


def below_zero(e: Estimate | None) -> bool:
    """Whether the whole interval is below zero."""
    return e is not None and e.get("high") is not None and e["high"] < 0


def verdict(summary: Mapping[str, Any]) -> Verdict:
    """What the study shows about its headline trial, against the standard network and against the controls.

    "More tangent" is said only where F² minus its best equal-rank control is positive and its paired rise over the
    standard network is too; otherwise the claim names the control that explains the rise.
    """
    headline = summary["headline"]
    if headline is None:
        return no_verdict(summary)
    trials = {trial["id"]: trial for trial in summary["trials"]}
    trial = trials[headline["trial"]]
    name = trial_name(trial)
    return Verdict(
        tangent_claim(name, headline),
        (
            tangent_evidence(headline),
            alignment_evidence(headline),
            cost(trial, trials[headline["baseline"]]),
            rule_sentence(headline),
        ),
        is_more_tangent(headline),
    )


def no_verdict(summary: Mapping[str, Any]) -> Verdict:
    """Why no rise can be claimed."""
    trials = trained(summary["trials"])
    standard = [trial for trial in trials if trial["objective"] == STANDARD]
    found = sorted({regime_label(trial) for trial in trials if trial["objective"] != STANDARD})
    if not standard:
        claim = "No standard-trained network in this run, so no rise can be claimed"
        text = "Add the objective “standard” to the spec for a paired comparison."
    elif all(trial["outcome"] != "ok" for trial in standard):
        claim = f"The standard network {standard[0]['outcome']}, so no rise can be claimed"
        text = "Every comparison is against it: lower the learning rate, or train for longer."
    elif not found:
        claim = "Only the standard network was trained, so no rise can be claimed"
        text = "Add a robust objective to the spec for a paired comparison."
    elif found == [REGIMES["undetermined"][0]]:
        claim = "The intervals do not settle the regime of any robust network, so no rise is claimed"
        text = f"{open_criteria(summary)}Raise “measured” in the spec, or add seeds."
    elif not {REGIMES["weak"][0], REGIMES["bayes_aligned"][0]} & set(found):
        claim = "No robust network stayed in the weak or the Bayes-aligned regime, so no rise is claimed"
        text = f"The others are {', '.join(found)}. Add smaller strengths to the spec."
    elif summary["score"]["kind"] == "none" and "network" not in summary["score"]:
        claim = "There is no score, so alignment was not measured and no rise is claimed"
        text = "Leave “score: none” out of the spec; no network is trained again for it."
    else:
        claim = "The headline's alignment was not measured, so no rise is claimed"
        text = "Add [logp_y, bayes_gradient] to measures.alignments in the spec; no network is trained again for it."
    return Verdict(claim, (f"The page shows levels only. {text}",), False)


def open_criteria(summary: Mapping[str, Any]) -> str:
    """Which criterion's band holds its threshold, and for which trials; nothing where no band was kept."""
    limits = summary["regimes"]["thresholds"]
    margin = limits["accuracy_margin"]
    criteria = (
        ("kappa_ratio", limits["kappa_ratio"], f"κ/κ₀ against {limits['kappa_ratio']:g}"),
        ("accuracy_difference", -margin, f"the accuracy difference against the margin {number(-margin, 2)}"),
        ("change_on_ratio", limits["change_on_ratio"], f"the on-manifold ratio against {limits['change_on_ratio']:g}"),
    )
    parts = []
    for name, limit, said in criteria:
        unsettled = [
            f"{trial_name(trial)} {band(bands[name])}"
            for trial in summary["trials"]
            if trial["regime"] == "undetermined" and (bands := trial.get("regime_bands"))
            if None not in bands[name] and bands[name][0] <= limit <= bands[name][1]
        ]
        if unsettled:
            parts.append(f"{said} ({', '.join(unsettled)})")
    return f"Open is {'; '.join(parts)}. " if parts else ""


def band(ends: Sequence[float]) -> str:
    """An interval alone, "[0.413, 0.562]"."""
    return f"[{number(ends[0])}, {number(ends[1])}]"


def rule_sentence(headline: Mapping[str, Any]) -> str:
    """How the trial was chosen, and what its intervals do not cover."""
    return (
        f"This trial was chosen by a rule: {headline['rule']}. "
        "The intervals are not corrected for choosing the largest of several."
    )


def is_more_tangent(headline: Mapping[str, Any]) -> bool:
    """F² beats its best control, and beats it by more than the standard network's does."""
    excess = headline["tangent_excess"]
    return bool(excess["positive"]) and above_zero(excess) and above_zero(headline["tangent_excess_rise"])


def tangent_claim(name: str, headline: Mapping[str, Any]) -> str:
    """The claim in one line."""
    excess, raw = headline["tangent_excess"], headline["raw_rise"]["tangent_fraction"]
    control = control_name(excess["best_control"])
    if is_more_tangent(headline):
        return f"With {name}, gradients are more tangent to the data manifold, and no control explains it"
    if above_zero(excess):
        return f"With {name}, gradients beat every control, but no rise over the standard network is shown"
    if above_zero(raw):
        return f"With {name}, the tangent fraction rises, but a control explains the rise: {control}"
    return f"With {name}, no rise of the tangent fraction is shown, and a control does as well: {control}"


def tangent_evidence(headline: Mapping[str, Any]) -> str:
    """Raw rise, excess over the best control, and the paired rise of that excess."""
    excess, rise, raw = (
        headline["tangent_excess"],
        headline["tangent_excess_rise"],
        headline["raw_rise"]["tangent_fraction"],
    )
    control = control_name(excess["best_control"])
    first = f"The tangent fraction F² {moved(raw)} over the standard network's."
    where = f"F² minus its best equal-rank control, {control}, is {estimate(excess, signed=True)}"
    if above_zero(excess):
        second = f"{where}, paired over {excess['n']} images: the gradient prefers this image's own tangent space."
    elif below_zero(excess):
        second = f"{where}: that subspace, which is not this image's own, holds more of the gradient."
    else:
        second = f"{where}: that subspace, which is not this image's own, holds as much of the gradient."
    nearer = above_zero(rise) and not above_zero(excess)
    third = f"That difference is {against_standard(rise)}{': nearer to the control, not past it' if nearer else ''}."
    return f"{first} {second} {third}"


def moved(e: Estimate) -> str:
    """Say "rises by 0.2 [0.1, 0.3]", "falls by …", or that no change is shown."""
    if above_zero(e):
        return f"rises by {estimate(e)}"
    if below_zero(e):
        return f"falls by {estimate(negated(e))}"
    return f"changes by {estimate(e, signed=True)}, not distinguishable from no change,"


def against_standard(e: Estimate) -> str:
    """Where a paired difference stands to the standard network's."""
    if above_zero(e):
        return f"{estimate(e)} above the standard network's"
    if below_zero(e):
        return f"{estimate(negated(e))} below the standard network's"
    return f"not distinguishable from the standard network's ({estimate(e, signed=True)})"


def negated(e: Estimate) -> Estimate:
    """The estimate of the opposite quantity."""
    return {"mean": -e["mean"], "low": -e["high"], "high": -e["low"]}


def alignment_evidence(headline: Mapping[str, Any]) -> str:
    """Alignment minus shuffled, and its paired rise."""
    title = describe(parse(headline["alignment"])).title
    excess, rise = headline["alignment_excess"], headline["alignment_excess_rise"]
    fit = "their own image's target better than" if above_zero(excess) else "their own image's target no better than"
    return (
        f"{title} minus its shuffled control is {estimate(excess, signed=True)}: the gradients fit {fit} another "
        f"image's. That difference is {against_standard(rise)}."
    )


def cost(trial: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """What the accuracy did."""
    now, before = (t["measures"].get("accuracy", {}).get("mean") for t in (trial, baseline))
    if now is None or before is None:
        return "The accuracy of one of the two networks is undefined."
    return f"Accuracy is {number(now, 3)}; the standard network's is {number(before, 3)}."


def seed_warning(seeds: Sequence[int]) -> str:
    """With one seed the intervals cover images only; nothing to say with several."""
    if len(set(seeds)) > 1:
        return ""
    return (
        "One seed. The intervals cover the choice of test images, not of the training run: differences between "
        "strengths may be training noise. Repeat with several seeds before you rely on them."
    )


def regime_sentences(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence per objective: which strengths are weak, Bayes-aligned, excessive, or fell out."""
    out = []
    for objective in dict.fromkeys(t["objective"] for t in trials if t["strength"]):
        strengths: dict[str, list[str]] = {}
        for trial in sorted((t for t in trials if t["objective"] == objective), key=lambda t: t["strength"]):
            found = strengths.setdefault(regime_label(trial), [])
            if (label := strength_label(trial["strength"])) not in found:
                found.append(label)
        parts = [f"{regime} at {', '.join(labels)}" for regime, labels in strengths.items()]
        out.append(f"{capital(objective_name(objective))}: {'; '.join(parts)}.")
    return out


def regime_label(trial: Mapping[str, Any]) -> str:
    """The regime in words; the outcome where there is no regime."""
    if trial["outcome"] != "ok":
        return str(trial["outcome"])
    regime = trial["regime"]
    without = REFERENCES.get(trial["objective"], ("", "no baseline"))[1]
    return REGIMES[regime][0] if regime in REGIMES else (regime or without)


def counted(trials: Sequence[Mapping[str, Any]]) -> str:
    """How many networks were trained, and what stands beside them for reference."""
    count = len(trained(trials))
    objectives = [trial["objective"] for trial in trials]
    controls = objectives.count(UNTRAINED)
    beside = [f"the {objective_name(BAYES)}"] if BAYES in objectives else []
    beside += [f"{controls} untrained control{'s' if controls > 1 else ''}"] if controls else []
    return f"{count} trained network{'s' if count != 1 else ''}{', beside ' if beside else ''}{' and '.join(beside)}"


def curve_text(title: str, points: Sequence[tuple[float, float | None]]) -> str:
    """What a screen reader says for a curve: its start, its end and its extremes."""
    known = [(s, m) for s, m in points if m is not None]
    if not known:
        return f"{title}: undefined at every strength."
    top, bottom = max(known, key=lambda p: p[1]), min(known, key=lambda p: p[1])
    return (
        f"{title}: {number(known[0][1])} at strength {strength_label(known[0][0])}, {number(known[-1][1])} at "
        f"{strength_label(known[-1][0])}; highest {number(top[1])} at {strength_label(top[0])}, "
        f"lowest {number(bottom[1])} at {strength_label(bottom[0])}."
    )


def outside_sentence(trials: Sequence[Mapping[str, Any]]) -> str:
    """How far the unclipped steps leave the range of images; the same for every trial, so the first tells it."""
    for trial in trials:
        found = {k: m["mean"] for k, m in trial["measures"].items() if k.startswith("outside_on.eps=")}
        shares = {key: mean for key, mean in found.items() if ".tangents=" not in key}
        steps = sorted(shares, key=lambda key: float(key.partition("=")[2]))
        if not steps:
            continue
        said = []
        for key in steps:
            off = trial["measures"].get(key.replace("_on", "_off"), {}).get("mean")
            if shares[key] is not None and off is not None:
                said.append(f"{shares[key]:.0%} and {off:.0%} at ε = {key.partition('=')[2]}")
        if said:
            shares_said = ", ".join(said)
            return (
                f"Steps are not clipped: on and off the manifold they put {shares_said} of the pixels outside [0, 1]."
            )
    return ""


def _beside_gaussian(denoising: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a single Gaussian denoises better: there the score says little that is its own."""
    known = [d for d in denoising if d.get("gaussian") is not None and d["mse"] is not None]
    worse = [d["sigma"] for d in known if d["mse"] > d["gaussian"]]
    if not known:
        return []
    if not worse:
        return ["It is better than one Gaussian at all of them."]
    return [f"One Gaussian is better at σ = {', '.join(f'{sigma:g}' for sigma in worse)}."]


def score_sentence(score: Mapping[str, Any]) -> str:
    """How good the score is where it is used."""
    parts = [f"{capital(score['cut'])}"] if score.get("cut") else []
    likelihood = score.get("log_likelihood") or {}
    if likelihood.get("train") is not None and likelihood.get("test") is not None:
        gap = likelihood["train"] - likelihood["test"]
        parts.append(
            f"Mean log-likelihood {number(likelihood['train'], 1)} nats per training image and "
            f"{number(likelihood['test'], 1)} per test image, a gap of {number(gap, 1)}."
        )
    better = [d for d in score.get("denoising") or [] if d["mse"] is not None and d["mse"] < d["identity"]]
    total = len(score.get("denoising") or [])
    if total:
        parts.append(f"It removes noise at {len(better)} of the {total} noise levels tried.")
        parts += _beside_gaussian(score["denoising"])
    return " ".join(parts)
