"""`tangency score`: train a score network, say how far a score can be believed, draw from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tangency.cli.output import print_json

score_app = typer.Typer(no_args_is_help=True, help="Scores of the data: train one, examine any, draw images from it.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Data = Annotated[str, typer.Option("--data", help="Data set, e.g. fashion-mnist-5k or world:linear.")]
Seed = Annotated[int, typer.Option("--seed", help="Of weights, noise, order and samples.")]
_SHEET = 256  # pictures of samples.png at most; all are in samples.safetensors
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
    out: Annotated[Path, typer.Option("--out", help="Output folder; running again continues what is there.")],
    size: Annotated[str, typer.Option("--size", help="tiny, small, medium, large or cifar.")] = "small",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images of a step.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Its peak; cosine to zero.")] = 2e-3,
    flip: Annotated[bool, typer.Option("--flip", help="Train on mirrored images too, marked as such.")] = False,
    sigma_data: Annotated[
        float | None, typer.Option("--sigma-data", help="Standard deviation of pixels on [-1, 1]; 0.5 by default.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a diffusion model of the images, conditional and unconditional in one, as Karras et al. (2022)."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.fitting.network import FitConfig, fit_network

    asked = FitConfig(size, epochs, batch_size, learning_rate, flip, 0.5 if sigma_data is None else sigma_data, seed)
    with advancing("training", quiet=as_json) as advance:
        result = fit_network(data, asked, out, resolve_device(device), advance)
    told = {
        "score": str(out / "score.safetensors"),
        "outcome": result.outcome,
        "seconds": round(result.seconds, 1),
        "history": result.history,
    }
    if as_json:
        print_json(told)
    else:
        typer.echo(f"{told['outcome']} after {told['seconds']} s: {told['score']}")
        typer.echo(f"Examine it before you believe it: tangency score eval {told['score']} --data '{data}'")


@score_app.command("eval")
def score_eval(
    score: Ref,
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for score.json and index.html.")] = None,
    sigmas: Annotated[
        str, typer.Option("--sigmas", help="Noise levels in [0, 1] pixel units.")
    ] = "0.05,0.125,0.25,0.5,1",
    images: Annotated[int | None, typer.Option("--images", help="Held-out images, 300 by default.")] = None,
    samples: Annotated[int, typer.Option("--samples", help="Images to draw; 1000 and more give a KID.")] = 64,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="More images and probes: narrower intervals, three times as long.")
    ] = False,
    baselines: Annotated[
        str, typer.Option("--baselines", help="Compare with these: identity, gaussian, empirical, mfa.")
    ] = "identity,gaussian,empirical,mfa",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """How far a score can be believed: against closed forms, identities of true scores, and its training images.

    Ends with a verdict in words and the noise levels at which it is better than every closed form.
    """
    from tangency.cli.progress import advancing
    from tangency.cli.show_score import print_trust
    from tangency.devices import resolve_device
    from tangency.evaluate.trust.config import THOROUGH, TrustConfig
    from tangency.evaluate.trust.score import evaluate_score
    from tangency.report.write import refuse_file, write_score

    against = tuple(name.strip() for name in baselines.split(",") if name.strip())
    sizes = (THOROUGH if thorough else {}) | ({} if images is None else {"images": images})
    config = TrustConfig(sigmas=_numbers(sigmas), samples=samples, baselines=against, seed=seed, **sizes)
    if out is not None:
        refuse_file(out)
    with advancing("examining", quiet=as_json) as advance:
        found = evaluate_score(score, data, config, resolve_device(device), advance)
    page = None if out is None else write_score(found.summary, found.arrays(), out)
    if as_json:
        print_json(found.summary | ({} if page is None else {"report": str(page)}))
        return
    print_trust(found.summary)
    if page is not None:
        typer.echo(f"report: {page}")


@score_app.command("sample")
def score_sample(
    score: Ref,
    out: Annotated[Path, typer.Option("--out", help="Folder for samples.png and samples.safetensors.")],
    data: Annotated[str | None, typer.Option("--data", help="Data set of a score that is fitted.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Images to draw.")] = 64,
    label: Annotated[int | None, typer.Option("--class", min=0, help="Class of all; each in turn by default.")] = None,
    unconditional: Annotated[bool, typer.Option("--unconditional", help="Draw without a class.")] = False,
    guidance: Annotated[float, typer.Option("--guidance", help="Classifier-free weight; 1 is none.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of Heun's method.")] = 18,
    churn: Annotated[float, typer.Option("--churn", min=0, help="Noise put back; 0 is deterministic.")] = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw images from a score. Image 17 of a seed is the same however many are drawn."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.samples import SampleConfig, sample_reference
    from tangency.report.draw.sheets import save_sheet
    from tangency.report.write import refuse_file

    refuse_file(out)
    asked = SampleConfig(count, label, unconditional, guidance, steps, churn, seed)
    with advancing("drawing", quiet=as_json) as advance:
        found = sample_reference(score, data, asked, out / "samples.safetensors", resolve_device(device), advance)
    files = [out / "samples.png", out / "samples.safetensors"]
    save_sheet(found.pictures[:_SHEET].numpy(), files[0], columns=8)
    told: dict[str, Any] = {"count": count, "seconds": found.seconds, "files": [str(path) for path in files]}
    if as_json:
        print_json(told)
    else:
        typer.echo(f"{count} images in {found.seconds:.1f} s: {out / 'samples.png'}, {out / 'samples.safetensors'}")


def _numbers(text: str) -> tuple[float, ...]:
    from tangency.errors import SpecError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"sigmas: got '{text}', expected numbers with commas between, such as 0.125,0.25.") from None
