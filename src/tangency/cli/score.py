"""`tangency score`: train a score network, validate a score, draw images from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tangency.cli.commands import App, as_typed
from tangency.cli.options import BatchSize, Data, Device, Json, LearningRate, Out, Seed
from tangency.cli.output import print_json, print_training
from tangency.cli.tangents import names

score_app = App("Scores of the data: train, validate, draw images.")
_SHEET = 256  # images at most in samples.png; samples.safetensors has all
Ref = Annotated[
    str,
    typer.Argument(
        help="mfa, gaussian, empirical, exact, edm-fashion-mnist, FILE.safetensors, diffusers:DIR, edm:FILE.pkl or "
        "k-diffusion:FILE.safetensors.",
        metavar="REF",
    ),
]


@score_app.command("fit")
def score_fit(
    data: Data,
    out: Out,
    size: Annotated[
        str, typer.Option("--size", metavar="SIZE", help="Of the network: tiny, small, medium, large or cifar.")
    ] = "small",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the training images.")] = 10,
    batch_size: BatchSize = 64,
    learning_rate: LearningRate = 2e-3,
    flip: Annotated[
        bool, typer.Option("--flip", help="Train on mirrored images, too; the network is told which.")
    ] = False,
    sigma_data: Annotated[
        float,
        typer.Option("--sigma-data", metavar="SIGMA", help="Standard deviation of pixels in [-1, 1]."),
    ] = 0.5,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a diffusion model of the images, class-conditional and unconditional in one (Karras et al., 2022)."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.fitting.network import FitConfig, fit_network

    config = FitConfig(size, epochs, batch_size, learning_rate, flip, sigma_data, seed)
    with advancing("training", quiet=as_json) as advance:
        result = fit_network(data, config, out, resolve_device(device), advance)
    print_training("score", out / "score.safetensors", result, data, as_json)


@score_app.command("eval")
def score_eval(
    score: Ref,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for score.json and index.html.")
    ] = None,
    sigmas: Annotated[
        str, typer.Option("--sigmas", metavar="σ,σ,…", help="Noise levels, for pixels in [0, 1].")
    ] = "0.05,0.125,0.25,0.5,1",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Held-out images to validate on; 300 by default.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", metavar="N", help="Images to draw; 1,000 or more give a KID, too.")
    ] = 64,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Use more images: narrower intervals in three times the time.")
    ] = False,
    baselines: Annotated[
        str,
        typer.Option("--baselines", metavar="NAME,…", help="Compare with these: identity, gaussian, empirical, mfa."),
    ] = "identity,gaussian,empirical,mfa",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Validate a score against closed forms, identities that true scores satisfy, and its training images.

    Ends with a verdict and the noise levels at which it is better than every closed form.
    """
    from tangency.cli.progress import advancing
    from tangency.cli.show.score import print_trust
    from tangency.devices import resolve_device
    from tangency.evaluate.trust.config import THOROUGH, TrustConfig
    from tangency.evaluate.trust.score import evaluate_score
    from tangency.report.write import refuse_file, write_score

    sizes = (THOROUGH if thorough else {}) | ({} if limit is None else {"images": limit})
    with as_typed({"images": "--limit"}):
        config = TrustConfig(sigmas=_numbers(sigmas), samples=samples, baselines=names(baselines), seed=seed, **sizes)
    if out is not None:
        refuse_file(out)
    with advancing("examining", quiet=as_json) as advance:
        result = evaluate_score(score, data, config, resolve_device(device), advance)
    page = None if out is None else write_score(result.summary, result.arrays(), out)
    if as_json:
        print_json(result.summary | ({} if page is None else {"report": str(page)}))
        return
    print_trust(result.summary)
    if page is not None:
        typer.echo(f"report: {page}")


@score_app.command("sample")
def score_sample(
    score: Ref,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for samples.png and samples.safetensors.")],
    data: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Data set that a closed-form score is fitted to.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Images to draw.")] = 64,
    label: Annotated[
        int | None,
        typer.Option("--class", metavar="NUMBER", min=0, help="Class of all images; by default each class in turn."),
    ] = None,
    unconditional: Annotated[bool, typer.Option("--unconditional", help="Draw without a class.")] = False,
    guidance: Annotated[
        float, typer.Option("--guidance", metavar="WEIGHT", help="Weight of classifier-free guidance; 1 for none.")
    ] = 1.0,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Steps of Heun's method.")] = 18,
    churn: Annotated[
        float, typer.Option("--churn", metavar="NOISE", min=0, help="Noise added at each step; 0 adds none.")
    ] = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw images from a score. Image i of a seed does not depend on how many are drawn."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.samples import SampleConfig, sample_reference
    from tangency.report.draw.sheets import save_sheet
    from tangency.report.write import refuse_file

    refuse_file(out)
    config = SampleConfig(limit, label, unconditional, guidance, steps, churn, seed)
    with advancing("drawing", quiet=as_json) as advance:
        samples = sample_reference(score, data, config, out / "samples.safetensors", resolve_device(device), advance)
    files = [str(out / "samples.png"), str(out / "samples.safetensors")]
    save_sheet(samples.pictures[:_SHEET].numpy(), out / "samples.png", columns=8)
    if as_json:
        print_json({"count": limit, "seconds": samples.seconds, "files": files})
    else:
        typer.echo(f"{limit} images in {samples.seconds:.1f} s: {', '.join(files)}")


def _numbers(text: str) -> tuple[float, ...]:
    from tangency.errors import SpecError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"sigmas: got '{text}', expected numbers with commas between, such as 0.125,0.25.") from None
