"""`tangency measure`: any classifier, every measure, with its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from tangency.cli.options import Json
from tangency.cli.output import print_json
from tangency.cli.tangents import names, references

if TYPE_CHECKING:
    from tangency.evaluate.request import Rule
    from tangency.measures.config import Legacy

_HELP = "Names with commas between: "


def measure(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            help="run:RUN/trials/TRIAL, FILE.safetensors, onnx:FILE, torchvision:NAME, timm:NAME, hf:DIR, "
            "robustness:FILE.ckpt?arch=NAME, state_dict:FILE?arch=NAME, …; several share scores and directions.",
        ),
    ],
    data: Annotated[str | None, typer.Option("--data", help="Data set, e.g. fashion-mnist-5k.")] = None,
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            help="What gradients are compared with: mfa (the default), gaussian, none, network:REF (a trained score "
            "alone: edm-fashion-mnist, FILE.safetensors, diffusers:DIR, …), or mfa,network:REF.",
        ),
    ] = None,
    tangents: Annotated[
        str | None,
        typer.Option(
            "--tangents", help="Tangent estimators, separated by commas; the keys of the first get no suffix."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            help="A standard-trained network of the same data; the regime is against it, and against it behind the "
            "best of 63 fixed filters, which are tried on training images first.",
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option("--rule", help="Of the regime: regimes, or kappa for the former rule, which needs no filters."),
    ] = "regimes",
    scalars: Annotated[
        str | None,
        typer.Option(
            "--scalars",
            help=f"{_HELP}margin, logp_y, calibrated_logp_y, lse, logit_y, …, in place of the study's. The temperature "
            "of calibrated_logp_y is fitted to a fixed half of the test images, 2,000 at most, which is not measured.",
        ),
    ] = None,
    attributions: Annotated[
        str | None,
        typer.Option("--attributions", help=f"{_HELP}gradient_x_input, smoothgrad, integrated_gradients, added."),
    ] = None,
    maps: Annotated[
        str | None, typer.Option("--maps", help="npz:FILE, a map for each test image, measured as a gradient is.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", help=f"{_HELP}cosine, band, spearman, ssim, lpips, dists, cka, retrieval, …"),
    ] = None,
    normalisations: Annotated[
        str | None, typer.Option("--normalisations", help=f"{_HELP}max, p99.9, std3, rms, for metrics of pictures.")
    ] = None,
    sigmas: Annotated[
        str | None, typer.Option("--sigmas", help="Noise levels of the scores, in [0, 1] pixel units.")
    ] = None,
    epsilons: Annotated[
        str | None, typer.Option("--epsilons", help="Lengths of on- and off-manifold steps, or none, in [0, 1] units.")
    ] = None,
    rho_sigmas: Annotated[str | None, typer.Option("--rho-sigmas", help="Noise levels of ρ₂, or none.")] = None,
    legacy: Annotated[
        str | None,
        typer.Option("--legacy", help="pags: the alignment of the paper's published code, beside ours."),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            "--attacks",
            help="Of pgd_l2, pgd_linf, worst_case, smoothing and autoattack, with commas between; budgets or noise "
            "levels behind colons: pgd_linf:2/255:8/255,smoothing:0.25.",
        ),
    ] = None,
    stages: Annotated[
        int, typer.Option("--cascade", min=0, help="Stages of cascading randomisation, a control of the network.")
    ] = 0,
    limit: Annotated[int, typer.Option("--limit", help="Test images to measure (a fixed random subset).")] = 500,
    working_size: Annotated[
        str | None,
        typer.Option(
            "--working-size",
            help="Pixels at which score and tangent spaces live, gradients resized to them: the shorter side or HxW, "
            ":bilinear or :bicubic behind for another filter than area; own for the images'. 64 for more than 128x128.",
        ),
    ] = None,
    batch_size: Annotated[
        str, typer.Option("--batch-size", help="Images at once, or auto: what a quarter of the free memory holds.")
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for rows.parquet, summary.json, pictures; running again goes on there."),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = None,
    class_map: Annotated[
        str | None,
        typer.Option(
            "--class-map",
            help="Which outputs are the data's classes, where these are some of the network's: imagenet, order, "
            "indices or names with commas between, or a .txt, .csv or .json file. Files of ours that have the data's "
            "classes and --baseline do not get it; ?class-map= behind a reference is for that model alone.",
        ),
    ] = None,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Let models that bring code run it; only for sources you trust.")
    ] = False,
    allow_random: Annotated[
        bool,
        typer.Option("--allow-random", help="Average models that are random in eval mode over 16 passes."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure any classifier: F² and its controls, κ, ρ₂, on/off robustness, alignment, with intervals.

    Examples: [bold]tangency measure --model onnx:net.onnx --data cifar10 --limit 1000 --out runs/net[/];
    [bold]tangency measure --model run:runs/quickstart/trials/standard-0-s0 --attacks pgd_l2:0.5,worst_case[/].
    """
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate import MeasureRequest, measure_models
    from tangency.measures import parse_attacks, parse_working

    size, filtered = parse_working(working_size) if working_size else (None, None)
    request = MeasureRequest(
        tuple(model),
        data,
        score=score,
        tangents=references(tangents) if tangents else (),
        baseline=baseline,
        rule=cast("Rule", rule),  # checked there
        limit=limit,
        out=out,
        device=resolve_device(device or "auto"),
        trust_code=trust_code,
        class_map=class_map,
        allow_random=allow_random,
        scalars=names(scalars),
        attributions=names(attributions),
        metrics=names(metrics),
        normalisations=names(normalisations),
        maps=maps,
        stages=stages,
        robustness=parse_attacks(attacks) if attacks else None,
        sigmas=_numbers("--sigmas", sigmas),
        epsilons=_numbers("--epsilons", epsilons),
        rho_sigmas=_numbers("--rho-sigmas", rho_sigmas),
        legacy=cast("Legacy | None", legacy),  # checked there
        working_size=size,
        working_filter=filtered,
        batch_size=_batch(batch_size),
    )
    with advancing("measuring", quiet=as_json) as advance:
        measured = [one.to_json() for one in measure_models(request, advance)]
    if as_json:
        print_json(measured[0] if len(measured) == 1 else {"models": measured})
    else:
        _print(measured, out)


def _print(measured: list[dict[str, Any]], out: Path | None) -> None:
    from tangency.cli.show.study import print_measures

    for summary in measured:
        print_measures(summary)
    if out is not None:
        typer.echo(f"rows, numbers and pictures: {out}")


def _batch(text: str) -> int | Literal["auto"]:
    """A number of images, or "auto"."""
    from tangency.errors import SpecError

    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise SpecError(f"--batch-size: got '{text[:40]}', expected auto, or at least 1 image.")
    return int(text)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between; () for "none", None where the option was not given."""
    from tangency.errors import SpecError

    if text is None or text == "none":
        return None if text is None else ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"{option}: got '{text}', expected numbers with commas between, or none.") from None
