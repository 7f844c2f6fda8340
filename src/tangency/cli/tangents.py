"""`tangency tangents`: train an autoencoder, validate tangent spaces, store them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from tangency.cli.commands import App
from tangency.cli.options import BatchSize, Data, Device, Json, LearningRate, Out, Seed
from tangency.cli.output import print_json, print_training

tangents_app = App("Tangent spaces of the data: fit, validate, store.")
Score = Annotated[
    str | None,
    typer.Option("--score", metavar="REF", help="Score for estimators that need one and name none; mfa by default."),
]
_REFS = (
    "mfa, local-pca, denoiser, denoiser-differences, autoencoder, score-svd, exact, pca, dct, random, FILE.safetensors "
    "or diffusers:DIR"
)


@tangents_app.command("fit")
def tangents_fit(
    data: Data,
    out: Out,
    latent: Annotated[
        int, typer.Option("--latent", metavar="K", min=1, help="Dimension of the code, and of the tangent spaces.")
    ] = 128,
    width: Annotated[
        int, typer.Option("--width", metavar="N", min=1, help="Channels after the first downsampling.")
    ] = 32,
    beta: Annotated[
        float,
        typer.Option(
            "--beta",
            metavar="WEIGHT",
            min=0,
            help="Weight of the KL term of a variational autoencoder; 0 for none.",
        ),
    ] = 0.0,
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the training images.")] = 20,
    batch_size: BatchSize = 64,
    learning_rate: LearningRate = 2e-3,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train an autoencoder, whose decoder's Jacobian spans the tangent space, as in the paper."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.fitting.tangents import AutoencoderFit, fit_autoencoder
    from tangency.numerics import check_rank
    from tangency.worlds import load_dataset

    loaded = load_dataset(data)
    config = AutoencoderFit(
        latent=latent,
        width=width,
        beta=beta,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    check_rank(latent, math.prod(loaded.train.shape))
    with advancing("training", quiet=as_json) as advance:
        result = fit_autoencoder(loaded, config, out, resolve_device(device), advance)
    print_training("tangents", out / "autoencoder.safetensors", result, data, as_json)


@tangents_app.command("eval")
def tangents_eval(
    tangents: Annotated[str, typer.Argument(help=f"Comma-separated estimators: {_REFS}.", metavar="REF,REF,…")],
    data: Data,
    score: Score = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for tangents.json and trained estimators.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=2, help="Held-out images to validate on.")] = 200,
    floor: Annotated[
        int,
        typer.Option(
            "--floor", metavar="N", min=0, help="Images of each world whose tangent spaces are known; 0 for no worlds."
        ),
    ] = 100,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Validate tangent spaces: known directions against controls, agreement, and worlds where the truth is known."""
    from tangency.cli.progress import advancing
    from tangency.cli.show.tangents import print_tangents
    from tangency.evaluate.trust.tangents import TangentTrustConfig, evaluate_tangents
    from tangency.files import write_json
    from tangency.report.write import refuse_file

    config, estimators = TangentTrustConfig(images=limit, floor=floor, seed=seed), references(tangents)
    if out is not None:
        refuse_file(out)
    with advancing("examining", quiet=as_json) as advance:
        summary = evaluate_tangents(
            estimators, data, score=score, config=config, device=device, folder=out, on_progress=advance
        )
    if out is not None:
        write_json(out / "tangents.json", summary)
    if as_json:
        print_json(summary)
    else:
        print_tangents(summary)


@tangents_app.command("store")
def tangents_store(
    tangents: Annotated[str, typer.Argument(help=f"One of {_REFS}.", metavar="REF")],
    data: Data,
    out: Out,
    score: Score = None,
    yes: Annotated[bool, typer.Option("--yes", help="Store them even if they take more than 10 GB.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compute the tangent spaces of the test images once and store them, for estimators that are slow.

    Prints their size first. Use them as stored:DIR wherever an estimator is named.
    """
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.errors import SpecError
    from tangency.evaluate.fitting.tangents import check_tangents, fitted_tangents
    from tangency.tangents import Ground, plan_store, store_tangents
    from tangency.worlds import load_dataset

    place, loaded = resolve_device(device), load_dataset(data)
    images = loaded.test
    check_tangents((tangents,), loaded)
    estimator = fitted_tangents(tangents, Ground(loaded, place, reference=score or "mfa"), out / "trained")
    plan = plan_store(estimator, images)
    size = f"{plan.size / 1e9:.2f} GB" if plan.size > 1e8 else f"{plan.size / 1e6:.1f} MB"
    if not as_json:
        typer.echo(f"{plan.images} images at rank ≤ {estimator.max_rank}: {size} in {plan.shards} files in {out}")
    if plan.size > _LARGE and not yes:
        raise SpecError(f"'{out}': would take {size}; give --yes to store them.")
    with advancing("storing", quiet=as_json) as advance:
        store_tangents(estimator, images, out, device=place, on_progress=advance)
    if as_json:
        print_json({"folder": str(out), "images": plan.images, "bytes": plan.size, "shards": plan.shards})


_LARGE = 10_000_000_000


def references(text: str) -> tuple[str, ...]:
    """The references in a comma-separated list, which has at least one."""
    from tangency.errors import SpecError

    if not names(text):
        raise SpecError("tangents: got none, expected at least one, such as mfa.")
    return names(text)


def names(text: str | None) -> tuple[str, ...]:
    """The names in a comma-separated list; none for no list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
