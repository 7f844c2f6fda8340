"""A package of somebody else's, found by its entry points: in processes of a study and a notebook."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import tangency
from processes import run
from study_support import tangency as command
from study_support import tiny_spec, write_data, write_spec
from tangency.errors import SpecError
from tangency.measures import Metric
from tangency.measures.similarity.metrics import METRICS
from tangency.objectives import OBJECTIVES
from tangency.study import parse_spec
from tangency.study.preflight import checked_plan
from tangency.tangents.references import ESTIMATORS
from tangency.worlds import load_dataset

pytestmark = pytest.mark.processes
OUTSIDE = Path(__file__).parent.parent / "outside"
SOURCE = Path(tangency.__file__).parent.parent
TRIAL = "acme.smoothed_labels-0.3-e564-s0"


def paths(outside: Path = OUTSIDE) -> dict[str, str]:
    return {"PYTHONPATH": f"{SOURCE}:{outside}", "OMP_NUM_THREADS": "1"}


def notebook(code: str, outside: Path = OUTSIDE, **options: object) -> str:
    """What a process of its own prints that runs the code."""
    return run([sys.executable, "-c", code], paths(outside), **options).stdout


def spec(folder: Path) -> dict:
    """Two workers train two networks and measure them, by an objective, an estimator, a metric and a measure."""
    content = tiny_spec(
        write_data(folder),
        workers=2,
        untrained=False,
        sweep=[
            {"objective": "standard"},
            {"objective": "acme/smoothed_labels", "strengths": [0.3], "options": {"power": 2}},
        ],
        tangents=["mfa", "acme/axes?rank=2"],
    )
    return content | {"measures": content["measures"] | {"metrics": ["cosine", "acme/sign"], "extra": ["acme/doubt"]}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `spec`."""
    folder = tmp_path_factory.mktemp("outside")
    path = write_spec(folder, spec(folder))
    done = command("study", "run", path, "--out", folder / "run", **paths())
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_study_of_two_processes_has_the_objective_the_estimator_and_the_metric(study: Path) -> None:
    summary = json.loads((study / "summary.json").read_text())
    trials = {trial["id"]: trial for trial in summary["trials"]}
    assert set(trials) == {"standard-0-s0", TRIAL, "filtered-s0"}
    assert trials[TRIAL]["objective"] == "acme/smoothed_labels"
    for trial in trials.values():
        assert trial["outcome"] == "ok"
        assert 0 < trial["measures"]["tangent_fraction.margin.tangents=acme/axes"]["mean"] < 1
        assert 0 < trial["measures"]["acme/doubt"]["mean"] < trial["measures"]["acme/doubt"]["chance"] == 1 - 1 / 3
        assert -1 < trial["measures"]["alignment_acme/sign.margin.bayes_gradient.sigma=0.5"]["mean"] < 1
    page = (study / "report" / "index.html").read_text()
    assert "Agreement of signs" in page
    assert "1 − 1 / number of classes, for equal logits" in page
    assert "acme/axes" in page


@pytest.mark.slow
def test_a_trial_by_the_objective_is_measured_alone_by_its_id(study: Path, tmp_path: Path) -> None:
    reference = f"run:{study}/trials/{TRIAL}"
    done = command("measure", "--model", reference, "--limit", 12, "--json", "--out", tmp_path / "measured", **paths())
    assert done.returncode == 0, done.stderr
    assert "alignment_acme/sign.margin.bayes_gradient.sigma=0.5" in done.stdout


def hashes(folder: Path, outside: Path) -> dict[str, list[str]]:
    """Both identities of each trial, as a process with this package plans them."""
    code = (
        "import json, tangency\n"
        "from tangency.study.plan import plan_trials\n"
        f"spec = tangency.load_spec({str(folder / 'spec.yaml')!r})\n"
        "trials = plan_trials(spec, tangency.load_data(spec.data))\n"
        "print(json.dumps({t.id: [t.train_hash, t.measure_hash] for t in trials}))\n"
    )
    found: dict[str, list[str]] = json.loads(notebook(code, outside))
    return found


@pytest.mark.slow
def test_another_version_of_the_package_trains_and_measures_anew(study: Path, tmp_path: Path) -> None:
    other = shutil.copytree(OUTSIDE, tmp_path / "outside")
    (other / "acme_things-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-things\nVersion: 2\n"
    )
    before, after = hashes(study.parent, OUTSIDE), hashes(study.parent, other)
    assert json.loads((study / "trials" / before[TRIAL][0] / "trial.json").read_text())["id"] == TRIAL
    assert before[TRIAL][0] != after[TRIAL][0]
    assert before["standard-0-s0"][0] == after["standard-0-s0"][0]  # none of theirs trained it
    assert before["standard-0-s0"][1] != after["standard-0-s0"][1]  # but theirs measured it


NOTEBOOK = """
import multiprocessing, torch, tangency
from tangency.objectives import make
from tangency.seeding import Draw
from tangency.tangents import Ground, open_tangents
from tangency.measures import MeasureConfig, measure
from tangency.models import build

data = tangency.load_data("fashion-mnist-5k?train=200&test=20")
objective = make("acme/smoothed_labels", 0.5, power=2)
model = build("convnet", (1, 28, 28), 10, channels=(4, 4, 4))
x, y = data.test.images()[:6], data.test.labels[:6]
found = objective.losses(model, x, y, Draw(0, torch.arange(6), "test"))
logs = model(x).log_softmax(1)
wanted = -0.75 * logs.gather(1, y[:, None])[:, 0] - 0.25 * logs.mean(1)
assert torch.allclose(found, wanted, atol=1e-5)

axes = open_tangents("acme/axes?rank=5", Ground(data))
config = MeasureConfig(metrics=("cosine", "acme/sign"), sigmas=(0.5,), epsilons=(1.0,), directions=1)
rows = measure(model, x, y, score="gaussian", train_data=data.train, tangents=axes, config=config)
print(sorted(key for key in rows.columns if "acme" in key)[:1])


def child(pipe):
    pipe.send(make("acme/smoothed_labels", 0.5).identity["origin"])


if __name__ == "__main__":
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(theirs,))
        process.start()
        print(method, ours.recv())
        process.join()
"""


def test_it_works_in_a_notebook_process() -> None:
    """As `python -c`, whose children can only be forked, since they cannot import what stands in -c."""
    assert "fork acme-things 1.2" in notebook(NOTEBOOK.replace('("spawn", "fork")', '("fork",)'))


@pytest.mark.slow
def test_children_of_both_start_methods_find_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        NOTEBOOK[NOTEBOOK.index("def child") :].replace(
            "def child", "from tangency.objectives import make\nimport multiprocessing\n\n\ndef child"
        )
    )
    printed = run([sys.executable, str(script)], paths()).stdout
    assert printed.split("\n")[:2] == ["spawn acme-things 1.2", "fork acme-things 1.2"]


def test_what_is_registered_in_this_process_alone_is_no_part_of_a_study(tmp_path: Path) -> None:
    content = spec(tmp_path)
    given = (
        (OBJECTIVES, lambda model, x, y, draw, strength, *, power=1: model(x)[:, 0]),
        (ESTIMATORS, lambda ground, *, rank=3: ground),
        (METRICS, Metric("t", "u", -1, 1, 1, "same", 0, "", make=lambda shape, device: None)),
    )
    for number, (table, held) in enumerate(given):
        name = ("acme/smoothed_labels", "acme/axes", "acme/sign")[number]
        own = content | (
            {"sweep": [{"objective": "standard"}] if number else content["sweep"]}
            | {"tangents": content["tangents"] if number == 1 else []}
            | {
                "measures": tiny_spec(Path("x"))["measures"]
                | {"metrics": ["cosine", name] if number == 2 else ["cosine"]}
            }
        )
        table.register(name, held)
        try:
            asked = parse_spec(own, "spec")
            with pytest.raises(SpecError, match=f"'{name}': is registered in this process alone"):
                plan_and_refuse(asked)
        finally:
            table.forget(name)


def plan_and_refuse(asked: tangency.study.StudySpec) -> None:
    from tangency.study.plan import plan_trials

    data = load_dataset(asked.data)
    checked_plan(asked, data)
    plan_trials(asked, data)


def test_a_broken_entry_point_is_a_sentence_of_the_command_line(tmp_path: Path) -> None:
    sweep = [{"objective": "standard"}, {"objective": "broken/absent"}]
    done = command("study", "plan", write_spec(tmp_path, spec(tmp_path) | {"sweep": sweep}), **paths())
    assert done.returncode == 2
    assert "objective 'broken/absent': the entry point of broken-things 0.3 is broken_things.nowhere:loss" in " ".join(
        done.stderr.split()
    )
    assert "Traceback" not in done.stderr
