"""`tangency measure`: any classifier, every measure, with its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from tangency.cli.options import Json, TrustCode
from tangency.cli.output import print_json
from tangency.cli.tangents import names, references

if TYPE_CHECKING:
    from tangency.evaluate.request import Rule
    from tangency.measures.config import Legacy

_NAMES = "NAME,NAME,…"
_SIGMAS = "σ,σ,…"


def measure(
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A classifier: run:RUN/trials/TRIAL, FILE.safetensors, onnx:FILE, torchvision:NAME, timm:NAME, "
            "hf:DIR, robustness:FILE.ckpt?arch=NAME, state_dict:FILE?arch=NAME, … Give the option several times to "
            "measure several on the same images.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DATA", help="Data set, for example fashion-mnist-5k; by default that of the model."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="Test images to measure, always the same random ones.")
    ] = 500,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="MODEL",
            help="A standard-trained network of the same data. With it the model gets a regime: against this network, "
            "and against it behind the best of 63 fixed filters, which are chosen on training images.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every number, not only the main ones.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for rows.parquet, summary.json and pictures. The same command continues a measurement there.",
        ),
    ] = None,
    as_json: Json = False,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N; auto by default.")
    ] = None,
    batch_size: Annotated[
        str,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Images at once; auto: as many as fit a quarter of the free memory.",
        ),
    ] = "auto",
    score: Annotated[
        str | None,
        typer.Option(
            "--score",
            metavar="SCORE",
            help="What gradients are compared with: mfa (a mixture fitted to the data, the default), gaussian, none, "
            "network:REF for a trained score (edm-fashion-mnist, FILE.safetensors, diffusers:DIR, …), or "
            "mfa,network:REF for both.",
        ),
    ] = None,
    tangents: Annotated[
        str | None,
        typer.Option(
            "--tangents",
            metavar="REF,REF,…",
            help="Estimators of tangent spaces. Measures under the first one have no tangents= in their keys.",
        ),
    ] = None,
    scalars: Annotated[
        str | None,
        typer.Option(
            "--scalars",
            metavar=_NAMES,
            help="Outputs whose gradients are measured: margin, logp_y, calibrated_logp_y, lse, logit_y, … The "
            "temperature of calibrated_logp_y is fitted to half of the test images, at most 2,000, which are then not "
            "measured.",
        ),
    ] = None,
    attributions: Annotated[
        str | None,
        typer.Option(
            "--attributions",
            metavar=_NAMES,
            help="Attribution methods to measure, too: gradient_x_input, smoothgrad, integrated_gradients.",
        ),
    ] = None,
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps", metavar="npz:FILE", help="Attribution maps, one for each test image, measured as gradients are."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar=_NAMES,
            help="How gradient and score are compared: cosine, band, spearman, ssim, lpips, dists, cka, retrieval, …",
        ),
    ] = None,
    normalisations: Annotated[
        str | None,
        typer.Option(
            "--normalisations",
            metavar=_NAMES,
            help="How gradients become pictures for metrics of pictures: max, p99.9, std3, rms.",
        ),
    ] = None,
    sigmas: Annotated[
        str | None,
        typer.Option("--sigmas", metavar=_SIGMAS, help="Noise levels of the scores, for pixels in [0, 1]."),
    ] = None,
    epsilons: Annotated[
        str | None,
        typer.Option(
            "--epsilons",
            metavar="ε,ε,…",
            help="l2 lengths of steps on and off the manifold, for pixels in [0, 1]; none for no steps.",
        ),
    ] = None,
    rho_sigmas: Annotated[
        str | None,
        typer.Option("--rho-sigmas", metavar=_SIGMAS, help="Noise levels of ρ₂; none leaves ρ₂ out."),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            "--attacks",
            metavar="NAME:ε:ε,…",
            help="Attacks to measure: pgd_l2, pgd_linf, worst_case, smoothing, autoattack; budgets, or noise levels of "
            "smoothing, follow colons, as in pgd_linf:2/255:8/255 or smoothing:0.25.",
        ),
    ] = None,
    stages: Annotated[
        int,
        typer.Option(
            "--cascade",
            metavar="STAGES",
            min=0,
            help="Control: measure again with more and more layers drawn at random, in so many stages.",
        ),
    ] = 0,
    working_size: Annotated[
        str | None,
        typer.Option(
            "--working-size",
            metavar="SIZE",
            help="Size at which scores and tangent spaces are fitted and gradients compared with them: pixels of the "
            "shorter side, or HxW, or own for that of the images; 64 by default for images above 128x128. Add "
            ":bilinear or :bicubic to resize otherwise than by area.",
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option("--rule", metavar="RULE", help="How the regime is judged: regimes, or kappa, the former rule."),
    ] = "regimes",
    legacy: Annotated[
        str | None,
        typer.Option("--legacy", metavar="pags", help="Also measure alignment as the paper's published code does."),
    ] = None,
    class_map: Annotated[
        str | None,
        typer.Option(
            "--class-map",
            metavar="MAP",
            help="Which outputs of a network with other classes are the data's: imagenet, order, indices or names "
            "with commas between, or a .txt, .csv or .json file. It is for all --model that need it; MODEL?class-map= "
            "is for one.",
        ),
    ] = None,
    trust_code: TrustCode = False,
    allow_random: Annotated[
        bool,
        typer.Option(
            "--allow-random", help="Accept models whose answers are random, and average 16 answers for each image."
        ),
    ] = False,
) -> None:
    """Measure a classifier: do its gradients lie along the data manifold, beyond what controls reach?

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
        _print(measured, out, everything=everything)


def _print(measured: list[dict[str, Any]], out: Path | None, *, everything: bool) -> None:
    """For a person, and where the files are."""
    from tangency.cli.show.measure import print_measured

    print_measured(measured, everything=everything)
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
