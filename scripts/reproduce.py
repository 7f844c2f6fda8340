"""Run parts of the reproduction, pack their rows, write docs/reproduction.md: `reproduce.py [PART …] --out DIR`.

Each part goes on where it was killed. Without names all parts are run; hours stand in docs/preregistration.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import yaml

import reproduction_table
from reproduction_others import FOREIGN_COLUMNS
from reproduction_rows import ROWS, pack_frame, pack_study, read_table, write_table
from reproduction_seeds import add_seed, registered, shipped_seeds
from tangency.evaluate.numbers import best_constant
from tangency.measures import MeasureConfig, measure
from tangency.measures.definition import rank_key
from tangency.measures.keys import Key
from tangency.score import load_network, save_score
from tangency.study import StudySpec, load_spec, run_study
from tangency.study.guides import load_study_data
from tangency.study.plan import cell_of, plan_trials
from tangency.study.spec import parse_spec
from tangency.tangents import WorldTangents
from tangency.worlds import BayesClassifier, drawn, make_world

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "reproduction" / "specs"
SCORE = ROOT / "reproduction" / "scores" / "cifar10.safetensors"
SHIPPED = {"fashion": "regimes", "generation": "generation"}
WORLDS = (
    "linear?shape=1x12x12&rank=4",
    "sphere?rank=7&classes=4",
    "torus",
    "fitted?size=14&rank=6&images=2000",
    "offset?shape=1x12x12&rank=4&classes=4",
    "rotated?shape=1x12x12&rank=4&classes=4",
)
SIZED, SIZE = "cifar10", 0.75  # the part whose first standard network has at least this accuracy
WORLD_SIGMA, WORLD_IMAGES = 0.25, 500


def spec_of(part: str, changes: dict[str, Any] | None = None) -> StudySpec:
    """The spec of a part, with the trained score that ships, and with changes."""
    if part in SHIPPED:
        return load_spec(SHIPPED[part])
    content = yaml.safe_load((SPECS / f"{part}.yaml").read_text(encoding="utf-8"))
    if "network_score" in content:
        content["network_score"] = content["network_score"].replace("{score}", SCORE.as_posix())
    return parse_spec(content | (changes or {}), part)


def study(part: str, out: Path) -> None:
    """Run a study and pack its rows."""
    run_study(checked(part, spec_of(part)), out / part)
    pack_study(out / part, part)


def by_seed(part: str, out: Path) -> None:
    """Run a study a seed at a time, without the seeds whose rows ship; each ends with rows."""
    spec = checked(part, spec_of(part))
    digest = registered(spec, SCORE)
    shipped = shipped_seeds(part, digest)
    for seed in (seed for seed in spec.seeds if seed not in shipped):
        say(f"{part}: seed {seed}")
        if part == SIZED and not shipped:
            alone = {"seeds": [seed], "sweep": [{"objective": "standard"}]}
            check_size(part, run_study(spec_of(part, alone), out / part, replace=True))
        run_study(spec_of(part, {"seeds": [seed]}), out / part, replace=True)
        add_seed(out / part, part, digest)


def checked(part: str, spec: StudySpec) -> StudySpec:
    """The spec, once its trained score is there."""
    if spec.network_score == SCORE.as_posix() and not SCORE.exists():
        raise SystemExit(f"{part}: {SCORE} does not exist; run the part cifar10-score first.")
    return spec


def check_size(part: str, summary: Mapping[str, Any]) -> None:
    """The size rule of docs/preregistration.md, from the accuracy of the standard networks alone."""
    accuracy = min(t["measures"]["accuracy"]["mean"] for t in summary["trials"] if t["objective"] == "standard")
    say(f"{part}: the standard network has an accuracy of {accuracy:.3f}")
    if accuracy < SIZE:
        raise SystemExit(
            f"{part}: expected at least {SIZE}; set width 16 in reproduction/specs/{part}.yaml, and say so."
        )


def score(out: Path) -> None:
    """The score network of CIFAR-10, which the CIFAR-10 parts compare with, in half precision."""
    if SCORE.exists():
        say(f"cifar10-score: {SCORE.relative_to(ROOT)} ships; delete it to train it anew")
        return
    folder = out / "cifar10-score"
    options = {"data": "cifar10", "size": "small", "epochs": "5", "out": folder.as_posix()}
    tangency("score", "fit", "--flip", *(word for key, value in options.items() for word in (f"--{key}", value)))
    save_score(load_network(folder / "score.safetensors", kind="edm-cifar10"), SCORE, half=True)


def foreign(out: Path) -> None:
    """Published means of eleven networks, from `foreign-cifar10-measures.json` in TANGENCY_DATA."""
    content = json.loads((data_folder() / "foreign-cifar10-measures.json").read_text(encoding="utf-8"))
    networks = content["networks"]
    columns: dict[str, Any] = {"network": list(networks), "robust": [own["robust"] for own in networks.values()]}
    columns |= {key: [own["measures"][key] for own in networks.values()] for key in FOREIGN_COLUMNS}
    about = {"kind": "foreign", "what": "CIFAR-10, means over 500 test images", "networks": len(networks)}
    write_table(pl.DataFrame(columns).cast(dict.fromkeys(FOREIGN_COLUMNS, pl.Float32)), "foreign", about)


def worlds(out: Path) -> None:
    """The exact Bayes rule of each world, with exact score and tangent spaces."""
    config = MeasureConfig(metrics=("cosine",), sigmas=(WORLD_SIGMA,), directions=1, rho_sigmas=(), epsilons=(1.0,))
    frames, about = [], {}
    for reference in WORLDS:
        world = make_world(reference)
        train, test = drawn(world, 2000, seed=0), drawn(world, WORLD_IMAGES, seed=1)
        rule = BayesClassifier(world, WORLD_SIGMA)
        exact = WorldTangents(world)
        rows = measure(rule, test.images(), test.labels, train_data=train, score=world, tangents=exact, config=config)
        name = reference.split("?")[0]
        columns = {key: values.cpu().double().numpy() for key, values in rows.columns.items()}
        frames.append(pl.DataFrame({"trial": [name] * len(test), "image": rows.ids.tolist(), **columns}))
        about[name] = {"reference": reference, "constant": best_constant(test.labels), "dimension": rows.dimension}
        say(f"worlds: {name}")
    frame = pack_frame(pl.concat(frames, how="diagonal"))
    write_table(
        frame,
        "worlds",
        {"kind": "worlds", "what": f"{WORLD_IMAGES} images of each, σ = {WORLD_SIGMA}", "worlds": about},
    )


def onnx(out: Path) -> None:
    """Two published ONNX networks, both trained in the standard way."""
    for name, data in (("cifar10_small", "cifar10"), ("mnist-net_256x2", "mnist")):
        model = f"onnx:{data_folder() / 'onnx' / f'{name}.onnx'}"
        options = {"model": model, "data": data, "limit": 500, "tangents": "mfa,local-pca?rank=12", "sigmas": 0.25}
        options["out"] = out / "onnx" / name
        tangency("measure", *(str(word) for key, value in options.items() for word in (f"--{key}", value)))
    frames, about = [], {}
    for name in ("cifar10_small", "mnist-net_256x2"):
        frame = pl.read_parquet(out / "onnx" / name / "rows.parquet")
        own = frame.select(pl.lit(name).alias("trial"), *(c for c in frame.columns if c != "trial"))
        frames.append(own)
        summary = json.loads((out / "onnx" / name / "summary.json").read_text(encoding="utf-8"))
        about[name] = {key: summary[key] for key in ("data", "shape")}
    what = "500 test images of CIFAR-10 and of MNIST"
    write_table(
        pack_frame(pl.concat(frames, how="diagonal")), "onnx", {"kind": "onnx", "what": what, "networks": about}
    )


def cause(name: str, out: Path) -> None:
    """A causal study, the rows of its matched networks, and which recipe each arm is."""
    from tangency.cause.spec import load_cause
    from tangency.cause.stages import trials_of

    folder = out / f"cause-{name}"
    tangency("cause", "run", name, "--out", str(folder))
    pack_study(folder / "matched", f"cause-{name}")
    table = read_table(f"cause-{name}")
    assert table is not None
    spec, study = load_cause(folder / "cause.yaml"), load_spec(folder / "matched" / "spec.yaml")
    planned = plan_trials(study, load_study_data(study.data, study.guide_fraction))
    result = json.loads((folder / "cause.json").read_text(encoding="utf-8"))
    arms = {}
    for arm, own in zip(spec.arms, result["arms"], strict=True):
        if own["seeds"]:
            recipe = cell_of(trials_of(arm, spec.guide, own["strength"], planned)[0])
            arms[arm.name] = {"recipe": recipe, "sham": arm.is_sham, "matched": own["matched"]}
    kept = [{key: own[key] for key in ("criterion", "column", "held_out", "verdict")} for own in result["criteria"]]
    match = {"radius": spec.match.radius, "accuracy": spec.match.accuracy}
    about = {"kind": "cause", "cause": {"arms": arms, "criteria": kept, "verdict": result["verdict"], "match": match}}
    columns = [Key.parse(own["column"]) for own in kept]
    ranks = [rank_key(key) for key in columns if key.family == "tangent_fraction"]
    wanted = ["trial", "image", "accuracy", "radius", *dict.fromkeys(map(str, [*columns, *ranks]))]
    write_table(table[0].select(wanted), f"cause-{name}", table[1] | about)


def generation(out: Path) -> None:
    """What networks make with their gradients: a number for each network and task."""
    summary = run_study(spec_of("generation"), out / "generation")
    chosen = {"generate": "judge_accuracy", "denoise": "psnr_gain", "inpaint": "psnr"}
    recipes = {trial["id"]: trial for trial in summary["trials"]}
    rows = [
        {"task": task["name"], **{key: recipes[own["id"]][key] for key in ("objective", "strength", "seed")}}
        | {"value": own["measures"][chosen[task["name"]]]["mean"]}
        for task in summary["generation"]["entries"]
        if task["name"] in chosen
        for own in task["trials"]
        if recipes[own["id"]]["objective"] in ("standard", "gradient_norm", "pgd_l2")
    ]
    frame = pl.DataFrame(rows)
    frame = frame.with_columns(pl.col("value").cast(pl.Float32))
    about = {"kind": "generation", "what": summary["data"]["name"], "seconds": round(summary["seconds"])}
    write_table(frame, "generation", about | {"spec_hash": summary["spec_hash"]})


PARTS: dict[str, Callable[[Path], None]] = {
    "worlds": worlds,
    "foreign": foreign,
    "onnx": onnx,
    "fashion": partial(study, "fashion"),
    "fashion-more": partial(study, "fashion-more"),
    "fashion-pags": partial(study, "fashion-pags"),
    "distractor": partial(study, "distractor"),
    **{f"cause-{name}": partial(cause, name) for name in reproduction_table.CAUSES},
    "generation": generation,
    "cifar10-score": score,
    "cifar10-5k": partial(study, "cifar10-5k"),
    **{part: partial(by_seed, part) for part in ("cifar10-20k", "cifar10", "cifar10-pags")},
    "fashion-long": partial(study, "fashion-long"),
}


def tangency(*arguments: str) -> None:
    """The command line, in a process of its own."""
    subprocess.run([sys.executable, "-m", "tangency", *arguments], check=True)


def data_folder() -> Path:
    """Where full data lie."""
    if not (named := os.environ.get("TANGENCY_DATA")):
        raise SystemExit("TANGENCY_DATA: not set, expected the folder of the full data sets.")
    return Path(named)


def say(words: str) -> None:
    """A line at once."""
    print(words, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduction"), help="folder of the runs")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"part '{unknown[0]}': expected one of {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        say(f"part {name}")
        PARTS[name](options.out.absolute())
    ROWS.mkdir(parents=True, exist_ok=True)
    return reproduction_table.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
