"""`tangency worlds`: laws whose truth is known; the theory and the estimators, tested on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tangency.cli.commands import App, as_typed
from tangency.cli.options import Extend, Json, Out, Replace, Seed, StudyEpochs
from tangency.cli.output import print_json, run_and_report
from tangency.errors import RunError

worlds_app = App("Worlds whose density, score, manifold and Bayes rule are known, to test theory and estimators.")
_WORLD = "NAME?option=value&…, e.g. sphere?rank=4; see `tangency worlds list`."


@worlds_app.command("list")
def worlds_list(as_json: Json = False) -> None:
    """List the worlds with their options, and what is undefined on clean images (σ = 0), and why."""
    from dataclasses import asdict

    from tangency.cli.show.worlds import print_worlds
    from tangency.worlds.registry import describe_worlds

    worlds = describe_worlds()
    if as_json:
        print_json([asdict(world) for world in worlds])
    else:
        print_worlds(worlds)


@worlds_app.command("check")
def worlds_check(
    world: Annotated[
        str | None, typer.Option("--world", metavar="WORLD", help=f"Check the identities of this world only: {_WORLD}")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check the theory: identities in every world, Theorems 1 and 2 and where they fail, chance, curvature, verdicts.

    Exit code 1 if a claim fails. Takes up to a minute.
    """
    import torch

    from tangency.cli.progress import advancing
    from tangency.cli.show.worlds import print_claims
    from tangency.theory import steps

    torch.set_num_threads(1)  # many small matrices: more threads only wait for each other
    parts = list(steps(world, seed))
    claims = []
    with advancing("checking", quiet=as_json) as advance:
        for done, (title, work) in enumerate(parts):
            advance(title, done / len(parts))
            claims += work()
        advance("done", 1.0)
    if as_json:
        print_json({"claims": [claim.to_json() for claim in claims], "pass": all(c.passed for c in claims)})
    else:
        print_claims(claims)
    if not all(claim.passed for claim in claims):
        raise typer.Exit(1)


@worlds_app.command("trial")
def worlds_trial(
    world: Annotated[str, typer.Option("--world", metavar="WORLD", help=_WORLD)] = "linear",
    tangents: Annotated[
        str,
        typer.Option(
            "--tangents", metavar="REF", help="exact, mfa, pca, local-pca, denoiser, …; options follow a question mark."
        ),
    ] = "mfa",
    score: Annotated[
        str,
        typer.Option(
            "--score", metavar="REF", help="exact, mfa, gaussian or empirical, with options after a ?; or a file."
        ),
    ] = "mfa",
    train: Annotated[
        int, typer.Option("--train", metavar="N", help="Training images that the estimators are fitted to.")
    ] = 5000,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Fresh images for angles and errors.")] = 500,
    datasets: Annotated[
        int,
        typer.Option("--datasets", metavar="N", help="Data sets in which intervals are counted as right or wrong."),
    ] = 300,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the numbers to a JSON file.")] = None,
    as_json: Json = False,
) -> None:
    """Test estimators of tangent spaces and scores in a world where the truth is known.

    Principal angles to the true tangent space, the ρ₁ measured for a truly tangent gradient (a floor for every ρ₁),
    errors of score and denoiser against σ, bias and interval coverage of every measure.
    """
    from tangency.cli.progress import advancing
    from tangency.cli.show.worlds import print_trial
    from tangency.files import write_json
    from tangency.theory import TrialConfig
    from tangency.theory import trial as run_trial

    if out is not None and out.is_dir():
        raise RunError(f"output '{out}': got a folder, expected the name of a file; use --out FILE.json.")
    with as_typed({"images": "--limit"}):
        config = TrialConfig(train=train, images=limit, datasets=datasets, seed=seed)
    with advancing("trial", quiet=as_json) as advance:
        result = run_trial(world, tangents, score, config, advance)
    if out is not None:
        write_json(out, result.to_json())
    if as_json:
        print_json(result.to_json())
    else:
        print_trial(result)


@worlds_app.command("distractor")
def worlds_distractor(
    data: Annotated[
        str, typer.Option("--data", metavar="DATA", help="Data set; the letter A is placed beside each of its images.")
    ] = "fashion-mnist-5k",
    out: Out = Path("runs/distractor"),
    epochs: StudyEpochs = None,
    extend: Extend = False,
    replace: Replace = False,
    as_json: Json = False,
) -> None:
    """The paper's Figure 5: do robust networks respond to the signal rather than to the distractor?

    Trains a standard and two robust networks on images beside a letter, and compares how noise on either half changes
    the softmax. A few minutes on two cores.
    """
    from tangency.cli.show.worlds import print_noise
    from tangency.study import shipped_spec

    changes: dict[str, Any] = {} if epochs is None else {"train": {"epochs": epochs}}
    spec = shipped_spec("distractor", data=f"distractor:{data}", **changes)
    run_and_report(spec, out, as_json, print_noise, extend=extend, replace=replace)
