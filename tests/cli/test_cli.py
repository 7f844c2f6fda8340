"""The command line: help, JSON, and bad input as one paragraph with exit code 2 and nothing written."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tangency as tangency_package
from study_support import called, tiny_spec, write_data, write_spec
from tangency.cli.app import app
from tangency.study.layout import Layout

pytestmark = pytest.mark.processes

COMMANDS = [
    "quickstart",
    "study plan",
    "study run",
    "study status",
    "measure",
    "compare",
    "report",
    "doctor",
    "worlds list",
    "worlds check",
    "worlds trial",
    "worlds distractor",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
    assert len(result.output.splitlines()) > 8


def test_plan_prints_trials_and_trains_nothing(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)))
    result = CliRunner().invoke(app, ["study", "plan", str(spec), "--json"])
    assert result.exit_code == 0
    assert [t["id"] for t in json.loads(result.output)["trials"]] == [
        "untrained-s0",
        "standard-0-s0",
        "gradient_norm-0.1-s0",
        "filtered-s0",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spec.yaml", "tiny.npz"]
    assert json.loads(result.output)["forecast"]["kinds"][0]["kind"] == "initialise"
    text = CliRunner().invoke(app, ["study", "plan", str(spec), "--no-calibrate"]).output
    assert "learning_rate" in text
    assert "4 trials (1 of the sweep, 1 untrained, 1 standard, 1 filtered): untrained-s0, standard-0-s0" in text
    assert f"data npz:{tmp_path / 'tiny.npz'}: there" in text
    assert "judge to train" not in text
    assert "worker:" not in text


def test_a_plan_says_what_a_study_takes_and_what_is_there(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)))
    own = Layout(tmp_path / "run").run / "trials"
    plan = ["study", "plan", str(spec), "--out", str(tmp_path / "run")]
    first = json.loads(CliRunner().invoke(app, [*plan, "--json", "--no-calibrate"]).output)["trials"][1]["train_hash"]
    (own / first).mkdir(parents=True)
    (own / first / "trial.json").write_text('{"outcome": "diverged", "seconds": 1.0, "epochs": 2}')
    text = CliRunner().invoke(app, plan).output
    assert "already there: 1 trials trained, 0 of them measured" in text
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines() if "  " in line}
    assert "train standard" not in lines
    assert lines["train gradient_norm"][2] == "1"
    assert lines["measure"][-1] == "GB"
    ends = text.splitlines()[-3:]
    assert [line.split(":")[0] for line in ends] == ["1 worker", "8 workers", "64 workers"]


def test_a_plan_without_its_data_says_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TANGENCY_DATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = CliRunner().invoke(app, ["study", "plan", "paper/cifar10"]).output
    assert "(360 of the sweep, 3 untrained, 3 standard, 3 filtered): untrained-s0" in text
    assert "data cifar10: missing: cifar10: the full data set was not found" in text
    assert f"Put it at {tmp_path / 'edm-cifar10-32x32-uncond-vp.pkl'}" in text
    assert "pgd_l2: learning rate 0.0182 at strength 137.382 to 0.00025 at 10000 instead of 0.025, as published" in text
    small = CliRunner().invoke(app, ["study", "plan", "small/cifar10"]).output
    assert "gradient_norm: learning rate 0.0025 at strength 0.1 instead of 0.025, as published" in small
    told = json.loads(CliRunner().invoke(app, ["study", "plan", "paper/cifar10", "--json"]).output)
    assert {(t["train_hash"], t["measure_hash"]) for t in told["trials"]} == {(None, None)}
    assert list(tmp_path.iterdir()) == []


def test_a_plan_counts_the_judge_and_the_pictures(tmp_path: Path) -> None:
    generated = [{"task": "generate", "count": 9}, {"task": "denoise", "count": 6}]
    judge = {"options": {"width": 2}}
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path), generate=generated, judge=judge))
    told = json.loads(CliRunner().invoke(app, ["study", "plan", str(spec), "--json", "--no-calibrate"]).output)
    assert told["judge"] == "judge-s1000"
    assert told["pictures"] == {"generate": 27, "denoise": 18}
    assert "sigma" not in told["spec"]["generate"][0]
    text = CliRunner().invoke(app, ["study", "plan", str(spec), "--no-calibrate"]).output
    assert "1 judge to train: judge-s1000\ngenerate: 27 pictures, 9 by each trial\n" in text


def test_doctor_says_what_is_there() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.output)
    assert found["data"]["fashion-mnist-5k"].startswith("found: 5000")
    assert found["weights"]["lpips_alex"].startswith("found")
    text = CliRunner().invoke(app, ["doctor"]).output
    assert text.startswith("tangency is ready")
    assert "cores" in text


def hostile(folder: Path) -> str:
    class Evil:
        def __reduce__(self) -> tuple:
            return (open, (str(folder / "canary"), "w"))

    batches = folder / "cifar-10-batches-py"
    batches.mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (batches / name).write_bytes(pickle.dumps({b"data": Evil(), b"labels": [0]}, protocol=2))
    return f"cifar10:{folder}"


def truncated(folder: Path) -> str:
    for split, n in (("train", 60), ("t10k", 10)):
        images = (2051).to_bytes(4, "big") + n.to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + bytes(n * 784 - 5)
        labels = (2049).to_bytes(4, "big") + n.to_bytes(4, "big") + bytes(n)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return f"mnist:{folder}"


def negative_labels(folder: Path) -> str:
    np.savez(folder / "n.npz", images=np.zeros((6, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1, 0, -1]))
    return f"npz:{folder / 'n.npz'}"


def empty_folder(folder: Path) -> str:
    (folder / "pictures").mkdir()
    return f"folder:{folder / 'pictures'}"


DATA = {
    "unknown dataset": (lambda _: "fashion-mnst", "Did you mean 'fashion-mnist'"),
    "hostile pickle in a CIFAR batch": (hostile, "data_batch_1"),
    "truncated idx": (truncated, "train-images"),
    "labels out of range": (negative_labels, "-1"),
    "empty folder": (empty_folder, "pictures"),
}


@pytest.mark.parametrize("case", DATA)
def test_bad_data_is_refused(case: str, tmp_path: Path) -> None:
    make, words = DATA[case]
    folder = tmp_path / "data"
    folder.mkdir()
    spec = write_spec(tmp_path, tiny_spec(tmp_path / "x") | {"data": make(folder)})
    check_refused(tmp_path, ["study", "run", spec, "--out", tmp_path / "run"], words)


SPECS = {
    "unknown objective": (
        {"sweep": [{"objective": "gradient-norm", "strengths": [1]}]},
        "Did you mean 'gradient_norm'",
    ),
    "negative strength": ({"sweep": [{"objective": "gradient_norm", "strengths": [-3]}]}, "-3"),
    "unknown key": ({"measured_images": 5}, "unknown key 'measured_images'"),
    "unknown device": ({"device": "tpu"}, "expected auto, cpu, cuda"),
    "unknown architecture": ({"model": {"architecture": "resnet19"}}, "resnet18"),
}


@pytest.mark.parametrize("case", SPECS)
def test_bad_specs_are_refused(case: str, tmp_path: Path) -> None:
    changes, words = SPECS[case]
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)) | changes)
    check_refused(tmp_path, ["study", "run", spec, "--out", tmp_path / "run"], words)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    spec = write_spec(tmp_path, tiny_spec(write_data(tmp_path)))
    check_refused(tmp_path, ["study", "run", spec, "--out", tmp_path / "run"], "got a file")


def test_corrupt_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"<!DOCTYPE html><html>not here</html>")
    check_refused(
        tmp_path, ["measure", "--model", tmp_path / "net.safetensors", "--data", "fashion-mnist-5k"], "net.safetensors"
    )


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    check_refused(tmp_path, ["report", tmp_path / "nowhere"], "nowhere")


def check_refused(folder: Path, arguments: list, words: str) -> None:
    before = sorted(folder.rglob("*"))
    result = called(*arguments)
    assert result.returncode == 2, result.stderr
    assert words in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stdout == ""
    assert sorted(folder.rglob("*")) == before


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"tangency {tangency_package.__version__}\n")
