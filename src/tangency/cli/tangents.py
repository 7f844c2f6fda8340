"""`tangency tangents`: train an autoencoder, say how far tangent spaces can be believed, store them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from tangency.cli.output import print_json

tangents_app = typer.Typer(no_args_is_help=True, help="Tangent spaces of the data: fit, examine, store.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Data = Annotated[str, typer.Option("--data", help="Data set, e.g. fashion-mnist-5k or world:torus.")]
Score = Annotated[
    str | None, typer.Option("--score", help="Score of denoiser tangents that name none; mfa by default.")
]
_REFS = "mfa, local-pca, denoiser, autoencoder, score-svd, exact, pca, dct, random, FILE.safetensors or diffusers:DIR"


@tangents_app.command("fit")
def tangents_fit(
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Output folder; running again continues what is there.")],
    latent: Annotated[int, typer.Option("--latent", min=1, help="Dimension of the code.")] = 128,
    width: Annotated[int, typer.Option("--width", min=1, help="Channels of the first halving.")] = 32,
    beta: Annotated[
        float, typer.Option("--beta", min=0, help="Weight of the KL term, the variance of a pixel; 0 for no VAE.")
    ] = 0.0,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")] = 20,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images of a step.")] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Its peak; cosine to zero.")] = 2e-3,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order and codes.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train an autoencoder, whose decoder's Jacobian spans the tangent space, as in the paper."""
    from tangency.cli.progress import advancing
    from tangency.devices import resolve_device
    from tangency.evaluate.fitting.tangents import AutoencoderFit, fit_autoencoder
    from tangency.numerics import check_rank
    from tangency.worlds import load_dataset

    asked, loaded = (
        AutoencoderFit(
            latent=latent,
            width=width,
            beta=beta,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        ),
        load_dataset(data),
    )
    check_rank(latent, math.prod(loaded.train.shape))
    with advancing("training", quiet=as_json) as advance:
        result = fit_autoencoder(loaded, asked, out, resolve_device(device), advance)
    told = {
        "autoencoder": str(out / "autoencoder.safetensors"),
        "outcome": result.outcome,
        "seconds": round(result.seconds, 1),
        "history": result.history,
    }
    if as_json:
        print_json(told)
        return
    error = result.history[-1].get("validation_error") if result.history else None
    about = "" if error is None else f", mean squared error {error:.3g} on held-out images"
    typer.echo(f"{told['outcome']} after {told['seconds']} s{about}: {told['autoencoder']}")
    typer.echo(f"Examine it before you believe it: tangency tangents eval {told['autoencoder']} --data '{data}'")


@tangents_app.command("eval")
def tangents_eval(
    tangents: Annotated[str, typer.Argument(help=f"Estimators with commas between: {_REFS}.", metavar="REF,REF,…")],
    data: Data,
    score: Score = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for tangents.json and trained ones.")] = None,
    images: Annotated[int, typer.Option("--images", min=2, help="Held-out images.")] = 200,
    floor: Annotated[
        int, typer.Option("--floor", min=0, help="Images of each world on which they meet the truth; 0 for none.")
    ] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Of the controls' partners.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """How far tangent spaces can be believed: known directions beside controls, each other, and worlds with a truth."""
    from tangency.cli.progress import advancing
    from tangency.cli.show_tangents import print_tangents
    from tangency.evaluate.trust.tangents import TangentTrustConfig, evaluate_tangents
    from tangency.files import write_json
    from tangency.report.write import refuse_file

    config, asked = TangentTrustConfig(images=images, floor=floor, seed=seed), references(tangents)
    if out is not None:
        refuse_file(out)
    with advancing("examining", quiet=as_json) as advance:
        found = evaluate_tangents(
            asked, data, score=score, config=config, device=device, folder=out, on_progress=advance
        )
    if out is not None:
        write_json(out / "tangents.json", found)
    if as_json:
        print_json(found)
    else:
        print_tangents(found)


@tangents_app.command("store")
def tangents_store(
    tangents: Annotated[str, typer.Argument(help=f"One of {_REFS}.", metavar="REF")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Output folder; running again continues what is there.")],
    score: Score = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however large it will be.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compute tangent spaces of the test images once and keep them, where that costs more than reading them back.

    Says how large they will be first. Read them as stored:DIR wherever an estimator is named.
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
        raise SpecError(f"'{out}': will take {size}; give --yes where that is meant.")
    with advancing("storing", quiet=as_json) as advance:
        store_tangents(estimator, images, out, device=place, on_progress=lambda share: advance("storing", share))
    if as_json:
        print_json({"folder": str(out), "images": plan.images, "bytes": plan.size, "shards": plan.shards})


_LARGE = 10_000_000_000


def references(text: str) -> tuple[str, ...]:
    """The references in a list with commas between."""
    found = names(text)
    if not found:
        from tangency.errors import SpecError

        raise SpecError("tangents: got none, expected at least one, such as mfa.")
    return found


def names(text: str | None) -> tuple[str, ...]:
    """The names in a list with commas between; none for no list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
