"""Tables of `tangency score eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE = 140  # columns where the output is no terminal


def print_trust(summary: Mapping[str, Any]) -> None:
    """Denoising errors beside closed forms, identities, samples, and the verdict."""
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=_WIDE)
    levels = summary["noise_levels"]
    console.print(
        f"[bold]{escape(summary['score']['kind'])}[/] on {escape(str(summary['data']))}: {summary['images']} held-out "
        "images; mean squared denoising error in squared [0, 1] pixels (95 % interval)"
    )
    for sentence in summary["score"]["reading"]:
        console.print(f"read: {sentence}", markup=False, soft_wrap=True)
    console.print(_errors(levels))
    console.print("\nIdentities that a true score keeps; at noisy images unless said otherwise")
    console.print(_identities(levels))
    if any(level["bayes_gradient"] for level in levels):
        exact = "; ‖s − s*‖/‖s*‖ and cosines are against the exact law" if levels[0]["score_error"] else ""
        console.print(f"\nClass gradients{exact}")
        console.print(_gradients(levels))
    for name, reason in summary["unavailable"].items():
        console.print(f"not compared with {name}: {reason}", markup=False)
    for line in _sample_lines(summary["samples"]):
        console.print(line)
    console.print(f"\n[bold]{escape(summary['verdict']['words'])}[/]", soft_wrap=True)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in titles:
        table.add_column(escape(title), justify="right", no_wrap=title != "better than")
    return table


def _errors(levels: list[Mapping[str, Any]]) -> Table:
    names = list(levels[0]["baselines"])
    table = _table("σ", "this score", "given class", *names, "identity", "better than", "effective images")
    for level in levels:
        mse, given = level["mse"], level["mse_given_class"]
        best = bool(level["gain"]) and set(level["better_than"]) == set(level["gain"])
        effective = level["effective_images"]
        table.add_row(
            f"{level['sigma']:g}",
            f"{_short(mse['mean'])} [{_short(mse['low'])}, {_short(mse['high'])}]",
            _short(given["mean"]) if given else "–",
            *(_short(level["baselines"][name]["mean"]) for name in names),
            _short(level["identity"]),
            "all" if best else ", ".join(level["better_than"]) or "none",
            "–" if effective is None else f"{effective['median']:.0f}{'' if effective['trusted'] else ' (few)'}",
        )
    return table


def _identities(levels: list[Mapping[str, Any]]) -> Table:
    titles = ("−E[sᵀx]/d = 1", "E[s] = 0: |z|", "E[sxᵀ] = −I: |z|", "asymmetry", "SURE − error", "dimension (clean)")
    table = _table("σ", *titles)
    for level in levels:
        told = level["identities"]
        table.add_row(
            f"{level['sigma']:g}",
            _open(told["stein"]),
            _short(told["mean_score_z"]),
            _short(told["score_image_z"]),
            _short(told["asymmetry"]["mean"]),
            _open(told["sure_minus_error"]),
            _open(told["dimension"]),
        )
    return table


def _gradients(levels: list[Mapping[str, Any]]) -> Table:
    table = _table("σ", "signal/noise ≤", "cosine, noisy", "cosine, clean", "score error, noisy", "score error, clean")
    for level in levels:
        bayes, error = level["bayes_gradient"] or {}, level["score_error"] or {}
        table.add_row(
            f"{level['sigma']:g}",
            _ratio(bayes),
            *(_open(bayes.get(name)) for name in ("cosine_noisy", "cosine_clean")),
            *(_open(error.get(name)) for name in ("noisy", "clean")),
        )
    return table


def _ratio(bayes: Mapping[str, Any]) -> str:
    """Signal over noise: of the images in which the signal is resolved, with their share where it is not all."""
    if bayes.get("resolved") is None:
        return "no difference"
    share = "" if bayes["resolved"] == 1 else f" ({bayes['resolved']:.0%} resolved)"
    return f"{_short(bayes['signal_to_noise'])}{share}"


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
    if found := samples.get("kid"):
        train = found["training_images"]
        lines.append(
            f"KID ({found['features']}) {found['value']:.2e} ± {found['standard_error']:.1e}; training images "
            f"{train['value']:.2e} ± {train['standard_error']:.1e}"
        )
    return lines


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _open(value: Mapping[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "–"
    return f"{_short(value['mean'])} [{_short(value['low'])}, {_short(value['high'])}]"
