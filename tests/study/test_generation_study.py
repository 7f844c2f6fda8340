"""`generate:` in a study: the same rows as by hand, whatever the workers; a kill loses one batch; bad specs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from study_support import tangency, tiny_spec, write_data, write_spec
from tangency.errors import RunError, SpecError, TangencyError
from tangency.evaluate.classifiers.saved import find_classifier
from tangency.evaluate.fitting.closed import estimators
from tangency.evaluate.generation.run import generate_with
from tangency.measures.keys import FRACTION
from tangency.models import read_classifier
from tangency.report import write_report
from tangency.report.draw.figures import drawings
from tangency.report.page.generated import generated_section
from tangency.report.read.run import read_run
from tangency.report.text.generation import quality_shown
from tangency.score import MixtureScore
from tangency.study import checked_plan, parse_spec, run_study, study_status
from tangency.study.layout import Layout
from tangency.study.plan import plan_judge, plan_trials, score_hash
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes

QUICK = {"steps": 3}
ENTRIES = [
    {"task": "generate", "count": 9, "climb": QUICK, "batch": 4},
    {"task": "denoise", "count": 6, "climb": QUICK},
    {"task": "inpaint", "count": 6, "climb": QUICK},
]
JUDGE = {"options": {"width": 2}}


def asked(data: Path, **changes: object) -> dict:
    return tiny_spec(data, generate=ENTRIES, judge=JUDGE, **changes)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A run of one worker, and its spec."""
    folder = tmp_path_factory.mktemp("generation")
    content = asked(write_data(folder))
    run_study(parse_spec(content, "test"), folder / "run")
    return folder / "run", content


def values(table: pl.DataFrame, **where: str) -> dict[str, np.ndarray]:
    for name, value in where.items():
        table = table.filter(pl.col(name) == value)
    parts = table.partition_by("measure", as_dict=True)
    return {str(name): part.sort("image")["value"].to_numpy() for (name,), part in parts.items()}


def test_figures_of_a_page_hold_the_numbers_of_the_summary(ran: tuple[Path, dict]) -> None:
    run = read_run(ran[0])
    section, generation = generated_section(run), run.summary.generation
    assert section is not None
    assert generation is not None
    for task, entry in zip(section.entries, generation.entries, strict=True):
        assert task.quality is not None
        assert task.alignment is not None
        quality, alignment = (
            [dict(zip(content["header"], row, strict=True)) for row in content["rows"]]
            for content in map(json.loads, (task.quality.numbers, task.alignment.numbers))
        )
        shown = quality_shown(entry)
        assert [row["quality"] for row in quality] == sorted((row["quality"] for row in quality), key=shown.index)
        made = {(row["quality"], row["objective"], row["strength"]): row for row in quality if row["network"] is None}
        for cell in entry.cells:
            for name in shown:
                row, own = made[name, cell.objective, cell.strength], cell.measures[name]
                assert (row["mean"], row["low"], row["high"]) == (own.mean, own.low, own.high)
        for source, reference in entry.references.items():
            for name in set(shown) & set(reference.measures):
                assert made[name, f"reference: {source}", None]["mean"] == reference.measures[name].mean
        assert [(row["objective"], row["strength"]) for row in alignment] == [
            (cell.objective, cell.strength) for cell in entry.cells
        ]
        for row, cell in zip(alignment, entry.cells, strict=True):
            assert row[shown[0]] == cell.measures[shown[0]].mean
            assert row["F2_minus_shuffled_low"] == (cell.excess[FRACTION].low if FRACTION in cell.excess else None)


@pytest.mark.parametrize("number", range(len(ENTRIES)))
def test_rows_are_those_of_a_task_by_hand(number: int, ran: tuple[Path, dict]) -> None:
    run, content = ran
    spec, layout = parse_spec(content, "test"), Layout(run)
    data = load_dataset(spec.data)
    trial = next(t for t in plan_trials(spec, data) if t.name == "gradient_norm")
    judge = plan_judge(spec, data)
    assert judge is not None
    score = estimators(spec.score, spec.data, data, layout.score(score_hash(spec, data)), "cpu")[0]
    assert isinstance(score, MixtureScore)
    by_hand = generate_with(
        read_classifier(layout.trial(trial) / "model.safetensors"),
        data,
        spec.generate[number],
        judge=find_classifier(f"run:{run}/trials/{judge.id}", "cpu").classifier,
        mixture=score.mixture,
    )
    table = pl.read_parquet(layout.generation)
    task = spec.generate[number].task
    for source, who in (("classifier", trial.id), ("mixture", ""), ("bayes", ""), ("input", "")):
        found = values(table, trial=who, task=task, source=source)
        expected = {name: column.double().numpy() for name, column in by_hand.columns[source].items()}
        assert set(found) == set(expected) - ({"own_confidence"} if not who else set())
        for name, column in found.items():
            np.testing.assert_array_equal(column, expected[name], err_msg=f"{source} {name}")


def test_references_are_made_once_and_by_no_trial(ran: tuple[Path, dict]) -> None:
    table = pl.read_parquet(Layout(ran[0]).generation)
    trials = table.filter(pl.col("trial") != "")
    assert set(trials["source"]) == {"classifier"}
    assert set(trials["trial"]) == {"untrained-s0", "standard-0-s0", "gradient_norm-0.1-s0"}
    references = table.filter(pl.col("trial") == "")
    assert not references.select("task", "image", "source", "measure").is_duplicated().any()
    assert set(references["source"]) == {"real", "truth", "input", "bayes", "mixture"}
    assert not list(ran[0].rglob("pictures-*.safetensors"))  # judged, so needed no more


def test_the_summary_and_the_page_tell_of_every_cell(ran: tuple[Path, dict]) -> None:
    run, _ = ran
    told = json.loads((run / "summary.json").read_text())["generation"]
    judge = told["judge"]
    accuracy = judge.pop("accuracy")
    warning = judge.pop("warning")
    assert judge == {"architecture": "resnet18", "options": {"width": 2}, "seed": 1000}
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]
    assert (accuracy["n"], accuracy["chance"]) == (30, pytest.approx(1 / 3))
    assert bool(warning) == (accuracy["low"] <= 1 / 3)
    assert [entry["name"] for entry in told["entries"]] == ["generate", "denoise", "inpaint"]
    for entry in told["entries"]:
        assert [cell["id"] for cell in entry["cells"]] == ["untrained", "standard-0", "gradient_norm-0.1"]
        for cell, trial in zip(entry["cells"], entry["trials"], strict=True):  # one seed: a cell is its trial
            for name, measure in cell["measures"].items():
                assert measure["mean"] == pytest.approx(trial["measures"][name]["mean"]), name
            assert set(cell["excess"]) == {"tangent_fraction.margin", entry["alignment"]}
    assert "1000 a side" in told["entries"][0]["unavailable"]["kid"]


@pytest.mark.slow
def test_neither_workers_nor_shards_change_a_row(ran: tuple[Path, dict], tmp_path: Path) -> None:
    run, content = ran
    spec = parse_spec(content | {"workers": 2, "shard": 5}, "test")
    run_study(spec, tmp_path / "run")
    assert pl.read_parquet(tmp_path / "run" / "generation.parquet").equals(pl.read_parquet(Layout(run).generation))
    a, b = (json.loads((folder / "summary.json").read_text()) for folder in (run, tmp_path / "run"))
    for one, other in zip(a["generation"]["entries"], b["generation"]["entries"], strict=True):
        assert all(one[kind] == other[kind] for kind in ("trials", "references", "unavailable"))
        assert [peak["peak"] for peak in one["peaks"]] == [peak["peak"] for peak in other["peaks"]]
    assert set(study_status(spec, tmp_path / "run").trials.values()) == {"generated"}


# The fifth batch is made when four are written; the third task is judged when the batches of two are judged and gone.
@pytest.mark.slow
@pytest.mark.parametrize(("point", "batches"), [("generate.batch#5", 1), ("generate.judged#3", 0)])
def test_a_kill_loses_one_batch(point: str, batches: int, ran: tuple[Path, dict], tmp_path: Path) -> None:
    run, content = ran
    spec, journal = write_spec(tmp_path, content), tmp_path / "journal"
    command = ("study", "run", spec, "--out", tmp_path / "run")
    first = tangency(*command, TANGENCY_JOURNAL=str(journal), TANGENCY_KILL=f"{point}@driver")
    assert first.returncode == -9, first.stderr
    again = tangency(*command, TANGENCY_JOURNAL=str(journal))
    assert again.returncode == 0, again.stderr
    tasks = len(ENTRIES) * 4  # three trials and the references
    lines = journal.read_text().splitlines()
    assert lines.count("generate.batch") == tasks + 2 * 4 + batches  # the first entry has three batches
    assert lines.count("generate.judged") == tasks + 1 - batches
    assert pl.read_parquet(tmp_path / "run" / "generation.parquet").equals(pl.read_parquet(Layout(run).generation))
    assert not list((tmp_path / "run").rglob("pictures-*.safetensors"))
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "What the gradients can make" in page
    assert "of seed 1000, trained by this study, with accuracy" in page
    judge = json.loads((tmp_path / "run" / "summary.json").read_text())["generation"]["judge"]
    assert ("The judge is not above chance" in page) == bool(judge["warning"])
    assert page.count('alt="Inpainting, ') == 6 * (4 + 3)  # truth, input, mixture, Bayes rule; three networks
    drawn = {drawing.name: drawing.draw for drawing in drawings(read_run(tmp_path / "run"))}
    assert drawn["generation-denoise"](read_run(tmp_path / "run")) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate": [{"task": "paint"}]}, "unknown task 'paint'"),
        ({"generate": [{"task": "feature", "unit": "module.features.0"}]}, r"generate\.0\.task"),
        (
            {"generate": [{"task": "inpaint"}, {"task": "denoise", "mask": "half"}]},
            r"generate\.1\.mask: no option of task",
        ),
        ({"generate": [{"task": "denoise", "sigm": 0.1}]}, r"generate\.0\.sigma"),
        ({"generate": [{"task": "denoise", "climb": {"step": 3}}]}, r"generate\.0\.climb\.steps"),
        ({"generate": [{"task": "denoise", "climb": {"frames": 3}}]}, r"generate\.0\.climb\.frames"),
        ({"generate": [{"task": "denoise", "count": "many"}]}, r"generate\.0\.count"),
        ({"generate": [{"task": "translate"}]}, r"generate\.0\.target"),
        ({"generate": [{"task": "denoise"}, {"task": "denoise"}]}, r"generate\.1: given more than once"),
        (
            {"generate": [{"task": "inpaint"}, {"count": 0}]},
            r"^test: generate\.1\.count: got 0, expected a number in \[1",
        ),
        ({"generate": [{"task": "inpaint", "share": 1.0}]}, r"test: generate\.0\.share: got 1\.0"),
        ({"generate": [{"task": "inpaint", "mask": "hal"}]}, r"test: generate\.0\.mask: unknown mask"),
        ({"generate": [{"references": ["bays"]}]}, r"test: generate\.0\.references: unknown reference"),
        ({"generate": [{"climb": {"steps": -1}}]}, r"test: generate\.0\.climb\.steps: got -1"),
        ({"generate": [{"climb": {"variation": float("nan")}}]}, r"generate\.0\.climb\.variation: got nan"),
        ({"generate": [{"count": True}]}, r"generate\.0\.count: got true"),
        ({"generate": [{"target": True}]}, r"generate\.0\.target: got true"),
        ({"judge": {"options": {"classes": 3}}}, r"judge\.options: 'classes'"),
        ({"judge": {"architecture": "convnet"}}, r"judge\.architecture"),
        ({"judge": {"seed": 0}}, r"judge\.seed: got 0, which a trial has"),
        ({"judge": {"reference": "net.safetensors", "architecture": "convnet"}}, r"judge\.reference"),
        ({"judge": {"width": 2}}, r"judge\.width"),
        ({"generate": []}, "judge: nothing is generated"),
    ],
)
def test_bad_specs_name_the_key(changes: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(asked(Path("none.npz")) | changes, "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generate": [{"task": "denoise", "count": 31}]}, r"generate\.0\.count: got 31"),
        ({"generate": [{"task": "generate", "target": "d"}]}, r"generate\.0\.target: unknown class"),
        ({"generate": [{"task": "superres", "count": 6, "factor": 3}]}, r"generate\.0: .*divisor"),
        (
            {"generate": [{"task": "generate", "target": target} for target in (1, "1")]},
            r"generate\.1: given more than once",
        ),
        ({"judge": {"options": {"wide": 2}}}, "judge: unknown option"),
        ({"generate": [{"start": "class", "rank": 100}]}, r"generate\.0\.rank: got 100 for images of 64 values"),
        ({"judge": {"reference": "absent.safetensors"}}, r"^judge\.reference: .*absent.safetensors"),
        ({"judge": {"reference": "py:nets:make"}}, "a study takes no judge that is code"),
    ],
)
def test_what_would_fail_late_is_refused_early(changes: dict, message: str, tmp_path: Path) -> None:
    spec = parse_spec(asked(write_data(tmp_path)) | changes, "test")
    with pytest.raises(TangencyError, match=message):
        checked_plan(spec, load_dataset(spec.data))


def test_a_judge_of_other_images_or_of_the_study_is_refused(ran: tuple[Path, dict], tmp_path: Path) -> None:
    from tangency.models import build, save_classifier

    run, content = ran
    path = tmp_path / "other.safetensors"
    save_classifier(build("convnet", (1, 12, 12), 3), path)
    spec = parse_spec(content | {"judge": {"reference": str(path)}}, "test")
    with pytest.raises(TangencyError, match=r"judge\.reference: takes images of shape \(1, 12, 12\)"):
        checked_plan(spec, load_dataset(spec.data))
    own = parse_spec(content | {"judge": {"reference": f"run:{run}/trials/standard-0-s0"}}, "test")
    with pytest.raises(SpecError, match=r"judge\.reference: .* is a trial of this study"):
        checked_plan(own, load_dataset(own.data))


@pytest.mark.slow
def test_a_saved_judge_says_what_the_trained_one_said(ran: tuple[Path, dict], tmp_path: Path) -> None:
    run, content = ran
    spec = parse_spec(
        content | {"judge": {"reference": f"run:{run}/trials/judge-s1000"}, "generate": ENTRIES[1:2]}, "t"
    )
    told = run_study(spec, tmp_path / "run")["generation"]
    assert told["judge"]["reference"] == f"run:{run}/trials/judge-s1000"
    assert (
        told["judge"]["accuracy"] == json.loads((run / "summary.json").read_text())["generation"]["judge"]["accuracy"]
    )
    by_one, by_other = (
        values(pl.read_parquet(Layout(folder).generation), task="denoise", trial="standard-0-s0")
        for folder in (run, tmp_path / "run")
    )
    np.testing.assert_array_equal(by_one["judge_confidence"], by_other["judge_confidence"])


def test_without_generate_nothing_of_a_study_changes(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    without = parse_spec(tiny_spec(data) | {"data": "npz:tiny.npz"}, "test")
    assert without.digest() == "d0c3e58a082413c9"  # keys of `generate` are no part of it
    assert plan_judge(without, load_dataset(f"npz:{data}")) is None
    assert parse_spec(asked(data), "test").digest() != without.digest()


@pytest.mark.slow
def test_a_world_with_its_bayes_rule(tmp_path: Path) -> None:
    world = "world:linear?rank=3&classes=2&shape=1x8x8&train=200&test=40&noise=0.001"
    content = tiny_spec(Path("none")) | {"data": world, "score": {"kind": "exact"}, "bayes": True, "judge": JUDGE}
    content |= {"sweep": content["sweep"][:1], "untrained": False}
    content |= {"generate": [{"task": "denoise", "count": 20, "sigma": 0.2, "climb": {"steps": 20}}]}
    (entry,) = run_study(parse_spec(content, "test"), tmp_path / "run")["generation"]["entries"]
    gains = {
        name: told["measures"]["psnr_gain"]["mean"] for name, told in entry["references"].items() if name != "truth"
    }
    assert gains["mixture"] > gains["bayes"] > 3  # the posterior mean has the least squared error
    assert "bayes" in [cell["objective"] for cell in entry["cells"]]
    assert torch.tensor(entry["cells"][0]["measures"]["psnr_gain"]["mean"]).isfinite()


@pytest.mark.slow
def test_entries_that_share_a_trials_pictures_and_a_batch_of_one(tmp_path: Path) -> None:
    one = {"task": "denoise", "count": 5, "batch": 4, "climb": {"steps": 2}}
    content = tiny_spec(write_data(tmp_path), judge=JUDGE, generate=[one, one | {"references": ["bayes"]}])
    content |= {"sweep": content["sweep"][:1], "untrained": False}
    told = run_study(parse_spec(content, "test"), tmp_path / "run")["generation"]["entries"]
    assert {"score", "bayes"} & set(told[1]["unavailable"]) == set()
    assert "no network_score" in told[0]["unavailable"]["score"]
    first, second = ([(t["id"], t["measures"]["psnr"]["mean"]) for t in entry["trials"]] for entry in told)
    assert first == second
    assert not list((tmp_path / "run").rglob("pictures-*.safetensors"))


def test_numbers_do_not_depend_on_what_else_is_asked_for(ran: tuple[Path, dict], tmp_path: Path) -> None:
    run = shutil.copytree(ran[0], tmp_path / "run")
    first = {e["name"]: e for e in json.loads((run / "summary.json").read_text())["generation"]["entries"]}
    fewer = ran[1] | {"generate": [ENTRIES[2], ENTRIES[1]]}
    for entry in run_study(parse_spec(fewer, "test"), run, replace=True)["generation"]["entries"]:
        assert entry["trials"] == first[entry["name"]]["trials"]
        assert entry["references"] == first[entry["name"]]["references"]


@pytest.mark.slow
def test_a_judge_that_diverged_is_told_right_after_training(tmp_path: Path) -> None:
    content = asked(write_data(tmp_path))
    content |= {"train": content["train"] | {"learning_rate": 1e30, "optimiser": "sgd"}}
    with pytest.raises(RunError, match=r"judge: its training ended as '.*' 3 of|judge: .*learning_rate"):
        run_study(parse_spec(content, "test"), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("generation"))
    assert not list((tmp_path / "run").rglob("rows"))


def test_what_a_spec_no_longer_asks_for_is_removed(ran: tuple[Path, dict], tmp_path: Path) -> None:
    run = shutil.copytree(ran[0], tmp_path / "run")
    left = [run / name for name in ("report/figures/generation-denoise.pdf", "generation.parquet")]
    left.append(run / "artefacts" / "generation.safetensors")
    left[0].parent.mkdir(parents=True)
    left[0].touch()
    fewer = {key: value for key, value in ran[1].items() if key not in ("generate", "judge")}
    run_study(parse_spec(fewer, "test"), run, replace=True)
    write_report(run)
    assert (run / "report" / "index.html").exists()
    assert not any(path.exists() for path in left)
