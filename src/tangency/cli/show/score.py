"""Tables of `tangency score eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from tangency.cli.tables import FittedTable, console, interval, number, say, table


def print_trust(summary: Mapping[str, Any]) -> None:
    """Denoising errors beside closed forms, identities, samples, and the verdict."""
    screen = console()
    levels = summary["noise_levels"]
    screen.print(f"[bold]{escape(summary['verdict']['words'])}[/]\n", soft_wrap=not screen.is_terminal)
    screen.print(
        f"[bold]{escape(summary['score']['kind'])}[/] on {escape(str(summary['data']))}: {summary['images']} held-out "
        "images; mean squared denoising error in squared [0, 1] pixels (95 % interval)"
    )
    for sentence in summary["score"]["reading"]:
        say(screen, f"read: {sentence}")
    screen.print(_errors(levels))
    screen.print("\nIdentities that a true score satisfies; at noisy images unless said otherwise")
    screen.print(_identities(levels))
    if any(level["bayes_gradient"] for level in levels):
        exact = "; ‖s − s*‖/‖s*‖ and cosines are against the exact law" if levels[0]["score_error"] else ""
        screen.print(f"\nClass gradients{exact}")
        screen.print(_gradients(levels))
    for name, reason in summary["unavailable"].items():
        say(screen, f"not compared with {name}: {reason}")
    for line in _sample_lines(summary["samples"]):
        say(screen, line)


def _errors(levels: list[Mapping[str, Any]]) -> FittedTable:
    names = list(levels[0]["baselines"])
    rows = []
    for level in levels:
        best = bool(level["gain"]) and set(level["better_than"]) == set(level["gain"])
        effective, given = level["effective_images"], level["mse_given_class"]
        rows.append(
            [
                f"{level['sigma']:g}",
                interval(level["mse"]),
                number(given["mean"]) if given else "–",
                *(number(level["baselines"][name]["mean"]) for name in names),
                number(level["identity"]),
                "all" if best else ", ".join(level["better_than"]) or "none",
                "–" if effective is None else f"{effective['median']:.0f}{'' if effective['trusted'] else ' (few)'}",
            ]
        )
    titles = ("σ", "this score", "given class", *names, "identity", "better than", "effective images")
    return table(titles, rows, wrapped=("better than",))


def _identities(levels: list[Mapping[str, Any]]) -> FittedTable:
    titles = ("−E[sᵀx]/d=1", "E[s]=0: |z|", "E[sxᵀ]=−I: |z|", "asymmetry", "SURE − error", "dimension (clean)")
    rows = []
    for level in levels:
        own = level["identities"]
        rows.append(
            [
                f"{level['sigma']:g}",
                interval(own["stein"]),
                *(number(own[name]) for name in ("mean_score_z", "score_image_z")),
                number(own["asymmetry"]["mean"]),
                *(interval(own[name]) for name in ("sure_minus_error", "dimension")),
            ]
        )
    return table(("σ", *titles), rows)


def _gradients(levels: list[Mapping[str, Any]]) -> FittedTable:
    titles = ("signal/noise ≤", "cosine, noisy", "cosine, clean", "score error, noisy", "score error, clean")
    rows = []
    for level in levels:
        bayes, error = level["bayes_gradient"] or {}, level["score_error"] or {}
        cosines = [interval(bayes.get(name)) for name in ("cosine_noisy", "cosine_clean")]
        errors = [interval(error.get(name)) for name in ("noisy", "clean")]
        rows.append([f"{level['sigma']:g}", _ratio(bayes), *cosines, *errors])
    return table(("σ", *titles), rows)


def _ratio(bayes: Mapping[str, Any]) -> str:
    """Signal over noise, over the images in which the signal is resolved, with their share if not all are."""
    if bayes.get("resolved") is None:
        return "no difference"
    share = "" if bayes["resolved"] == 1 else f" ({bayes['resolved']:.0%} resolved)"
    return f"{number(bayes['signal_to_noise'])}{share}"


def _sample_lines(samples: Mapping[str, Any]) -> list[str]:
    if not samples:
        return []
    near, copies = samples["nearest_training_image"], samples["copies"]
    lines = [
        f"\n{samples['count']} samples: median distance to the nearest training image {near['median']:.3g} (held-out "
        f"images {near['held_out']:.3g})"
    ]
    if copies:
        lines.append(f"{copies['share']:.0%} are nearer than most held-out images (chance {copies['chance']:.1%})")
    if kid := samples.get("kid"):
        train = kid["training_images"]
        lines.append(
            f"KID ({kid['features']}) {kid['value']:.2e} ± {kid['standard_error']:.1e}; training images "
            f"{train['value']:.2e} ± {train['standard_error']:.1e}"
        )
    return lines
