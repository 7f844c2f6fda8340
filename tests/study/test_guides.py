"""Studies whose objectives are given tangent spaces and scores, fitted to images that no network is trained on."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
import torch

import tangency.study.run
from study_support import InProcess, tiny_spec, write_data, write_spec
from study_support import tangency as command_line
from tangency.cli.show.plan import plan_json, print_plan
from tangency.engines import EngineConfig
from tangency.errors import DataError, ModelError, SpecError
from tangency.study import checked_plan, parse_spec, run_study
from tangency.study.forecast.foresee import foresee
from tangency.study.guides import Guide, guide_data, load_study_data
from tangency.study.layout import Layout
from tangency.study.phases import phases
from tangency.study.work.bench import Workbench
from tangency.study.work.jobs import study_jobs
from tangency.study.work.needs import Needs
from tangency.tangents import Ground
from tangency.tensors import read_tensors

MFA = "mfa?components=1&rank=3"
WORLD = "world:linear?rank=2&classes=2&shape=1x8x8&train=80&test=20"
PENALTY = "projected_gradient_norm"


def entry(**options):
    return {"objective": PENALTY, "strengths": [0.1], "options": options}


def arms(reference=MFA):
    own = [entry(tangents=reference, part=part) for part in ("off", "on")]
    shams = [entry(tangents=reference, part="off", sham=sham) for sham in ("random", "other")]
    return [{"objective": "standard"}, *own, *shams]


def guided_spec(data, **changes):
    return tiny_spec(data, **({"sweep": arms(), "guide_fraction": 0.25} | changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(tangency.study.run, "open_engine", InProcess)


def planned(content):
    spec = parse_spec(content, "spec")
    loaded = load_study_data(spec.data, spec.guide_fraction)
    return checked_plan(spec, loaded), loaded


def test_guide_images_are_a_share_of_each_class_that_no_network_is_trained_on(data):
    spec = parse_spec(guided_spec(data), "spec")
    whole, part = load_study_data(spec.data, 0.0), load_study_data(spec.data, 0.25)
    assert whole.guide is None
    assert guide_data(whole) is whole
    assert part.guide.class_counts.tolist() == [round(0.25 * n) for n in whole.train.class_counts.tolist()]
    together = torch.cat([part.train.pixels, part.guide.pixels])
    assert torch.equal(together.flatten(1).sum(1).sort().values, whole.train.pixels.flatten(1).sum(1).sort().values)
    again = load_study_data(spec.data, 0.25)
    assert (again.train.digest, again.guide.digest) == (part.train.digest, part.guide.digest)
    assert guide_data(part).train is part.guide
    assert torch.equal(part.test.pixels, whole.test.pixels)
    with pytest.raises(DataError, match="is none in every class"):
        load_study_data(spec.data, 1e-4)


def test_the_identity_of_a_trial_holds_guide_sham_and_guide_images(data):
    def hashes(**changes):
        return {trial.id: trial.train_hash for trial in planned(guided_spec(data, **changes))[0].trials}

    base = hashes()
    assert len(set(base.values())) == len(base)
    assert not set(base.values()) & set(hashes(guide_fraction=0.5).values())  # in every arm: the same training images
    other = hashes(sweep=arms("mfa?components=1&rank=2"))
    assert other["standard-0-s0"] == base["standard-0-s0"]
    assert len(set(base.values()) & set(other.values())) == 3  # standard, filtered and untrained


def test_a_study_without_guides_is_the_study_that_it_was(data):
    spec = parse_spec(tiny_spec(data), "spec")
    assert "guide_fraction" in spec.model_dump()
    zero = parse_spec(tiny_spec(data, guide_fraction=0.0), "spec")
    assert spec.digest() == zero.digest()
    plan, _ = planned(tiny_spec(data))
    assert (plan.guides, plan.shams) == ([], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guide_fraction": 0.0}, r"guide_fraction: got 0 with tangents 'mfa.*which are fitted, expected the share"),
        ({"guide_fraction": 1.0}, "guide_fraction"),
        ({"sweep": [entry(tangents="mfaa")]}, "Did you mean 'mfa'"),
        ({"sweep": [entry(tangents="mfa?rank=0")]}, "rank"),
        ({"sweep": [entry(tangents="mfa?components=40")]}, "raise guide_fraction, or ask for fewer components"),
        ({"sweep": [entry(tangents="mfa?components=0")]}, "components is 0, expected at least 1"),
        ({"sweep": [entry(tangents="exact")]}, "is no world"),
        ({"sweep": [entry(tangents="denoiser?score=exact")]}, "exact"),
        ({"sweep": [entry(tangents="denoiser-differences?score=exact")]}, "exact"),
        ({"sweep": [entry(tangents="stored:somewhere")]}, "expected the estimator itself as a guide"),
        (
            {"sweep": [entry(tangents="denoiser")]},
            "of a score that nothing fits, expected score=exact or a trained one",
        ),
        ({"sweep": [entry(tangents="denoiser?score=mfa")]}, "of a score that nothing fits"),
        ({"sweep": [entry(tangents="denoiser-differences")]}, "of a score that nothing fits"),
        ({"sweep": [entry(tangents="dct", part="whole", sham="random")]}, "got sham random with part whole"),
        ({"sweep": [entry(part="off")]}, "got no tangents, expected tangents by reference"),
    ],
)
def test_what_cannot_guide_is_refused_before_anything_is_written(data, changes, message):
    with pytest.raises(SpecError if "components=40" not in str(changes) else DataError, match=message):
        planned(guided_spec(data, **changes))


def test_on_the_linear_world_shams_that_are_the_own_space_are_refused_at_once(tmp_path):
    for sham, message in (("other", "no other image with another space"), ("pca", "is the own space and no control")):
        content = tiny_spec(tmp_path, sweep=[entry(tangents="exact", sham=sham)]) | {"data": WORLD, "score": "exact"}
        with pytest.raises(SpecError, match=message):
            planned(content)
    content = tiny_spec(tmp_path, sweep=[entry(tangents="exact", sham="dct")]) | {"data": WORLD, "score": "exact"}
    assert [guide.reference for guide in planned(content)[0].guides] == ["exact"]  # exact: no guide_fraction is needed


@pytest.mark.processes
def test_a_study_with_guides(data, tmp_path, in_process):
    """Fitted once by a job of its own, compared with its shams, then trained with."""
    seen = []
    summary = run_study(guided_spec(data), tmp_path / "run", lambda *happened: seen.append(happened))
    begun = [(phase, [job.name for job in jobs]) for phase, jobs, event in seen if event is None]
    assert begun[0] == ("fitting guides", [f"fit tangents {MFA}"])
    assert begun[1] == ("comparing shams", [f"compare sham {sham} with {MFA}" for sham in ("random", "other")])
    assert begun[2][0] == "training"
    assert {trial["outcome"] for trial in summary["trials"]} == {"ok"}
    assert len({trial["id"] for trial in summary["trials"]}) == len(summary["trials"]) == 7

    plan, loaded = planned(guided_spec(data))
    layout = Layout(tmp_path / "run")
    about = summary["guides"]
    assert (about["fraction"], about["images"]) == (0.25, len(loaded.guide))
    assert about["references"] == {"tangents": [MFA]}
    assert [(sham["sham"], 0 <= sham["overlap"] < 0.95) for sham in about["shams"]] == [
        ("random", True),
        ("other", True),
    ]
    (guide,) = plan.guides
    file = guide.file(loaded.guide.digest, layout.artefacts)
    assert file.exists()
    for trial in plan.trials:
        if trial.objective is None or not trial.objective.guides:
            continue
        _, header = read_tensors(layout.trial(trial) / "model.safetensors")
        record = header["provenance"]["training"]
        assert record["objective"]["guides"] == {"tangents": MFA}
        assert record["data"]["digest"] == loaded.train.digest
        bound = Workbench(plan, layout.run, "cpu").objective(trial.objective, trial.seed)
        assert record["objective"]["cards"] == bound.identity["cards"]
    assert not [tasks for _, tasks in phases(plan, loaded, layout) if tasks], "nothing is left to do"


class Apart(InProcess):
    """Every job in an empty folder with copies of its inputs alone, as on a node without a shared folder."""

    def __init__(self, config, work, run, workers, device):
        self.work, self.run = work, run

    def do(self, jobs, on_event):
        for job in jobs:
            with TemporaryDirectory() as folder:
                copied(job.inputs, self.run, Path(folder))
                before = set(Path(folder).rglob("*"))
                self.work.open(Path(folder), "cpu")(job.payload, lambda _: None)
                made = {path for path in Path(folder).rglob("*") if path.is_file()} - before
                assert all(any(path.is_relative_to(Path(folder) / out) for out in job.outputs) for path in made), job
                copied(job.outputs, Path(folder), self.run)


def copied(names, source, target):
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target / name)


@pytest.mark.processes
def test_without_a_shared_folder_guides_travel_as_inputs_and_are_fitted_once(data, tmp_path, monkeypatch):
    """A job that fitted a guide anew would leave a file that is none of its outputs."""
    monkeypatch.setattr(tangency.study.run, "open_engine", Apart)
    sweep = [{"objective": "standard"}, arms()[1], arms()[4]]
    summary = run_study(guided_spec(data, sweep=sweep), tmp_path / "run")
    assert {trial["outcome"] for trial in summary["trials"]} == {"ok"}
    assert len(list((tmp_path / "run" / "artefacts").glob("mixture-*.safetensors"))) == 1


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("rename:mixture-*#1", "artefacts/.mixture-*.tmp"),
        ("rename:sham-*#2", "artefacts/sham-*.json"),
        ("train.step#9", "trials/*/checkpoint.safetensors"),
    ],
)
def test_killed_at_any_point_it_goes_on_in_other_processes(point, left, data, tmp_path, in_process):
    """Rows of two workers, killed and begun again, are bit for bit those of one process that nobody stopped."""
    content = guided_spec(data, workers=2)
    run_study(content, tmp_path / "whole")
    spec = write_spec(tmp_path, content)
    command = ("study", "run", spec, "--out", tmp_path / "run")
    killed = command_line(*command, TANGENCY_KILL=f"{point}@driver", TANGENCY_JOURNAL=str(tmp_path / "journal"))
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "run").glob(left))
    done = command_line(*command)
    assert done.returncode == 0, done.stderr
    frames = [pl.read_parquet(tmp_path / name / "rows.parquet") for name in ("whole", "run")]
    assert frames[0].equals(frames[1])


def test_jobs_name_the_guides_that_they_read(data, tmp_path):
    plan, loaded = planned(guided_spec(data))
    layout, needs = Layout(tmp_path), Needs.of(plan, loaded, EngineConfig())
    planned_phases = phases(plan, loaded, layout)
    tasks = {name: next(planned_phases)[1] for name in ("fit", "compare", "train")}
    fit = study_jobs(tasks["fit"], needs, layout)
    (made,) = (job.outputs[:1] for job in fit)  # behind it what making it cost
    for job in study_jobs(tasks["compare"], needs, layout):
        assert job.inputs == made
    read = {job.name: job.inputs for job in study_jobs(tasks["train"], needs, layout)}
    assert sum(inputs == made for inputs in read.values()) == 4
    assert read["train standard-0-s0"] == ()


@pytest.mark.processes
def test_a_sham_that_turns_out_to_be_the_own_space_ends_the_study_before_training(data, tmp_path, in_process):
    """Spaces that are one for all images are found out when they are fitted."""
    sweep = [{"objective": "standard"}, entry(tangents="mfa?components=1&rank=2", sham="pca")]
    with pytest.raises(SpecError, match="it is the own space and no control of it"):
        run_study(guided_spec(data, sweep=sweep) | {"data": WORLD, "score": "exact"}, tmp_path / "run")
    assert not list((tmp_path / "run" / "trials").glob("*/model.safetensors"))


def test_the_forecast_times_fits_and_guided_trainings(data, tmp_path):
    forecast = foresee(parse_spec(guided_spec(data), "spec"), tmp_path / "none").forecast
    kinds = {kind.kind: kind for kind in forecast.kinds}
    assert kinds["guide"].tasks == 1
    assert kinds["sham"].tasks == 2
    assert kinds["guide"].seconds > 0
    assert sum(name.startswith(f"train {PENALTY}") for name in kinds) == 4


def test_what_a_guide_lacks_is_named_by_the_plan_and_refused_by_the_study(data, tmp_path):
    sweep = [{"objective": "standard"}, entry(tangents="denoiser?score=nowhere.safetensors")]
    spec = parse_spec(guided_spec(data, sweep=sweep), "spec")
    foreseen = foresee(spec, tmp_path / "none", calibrated=False)
    (want,) = (want for want in foreseen.forecast.wants if want.key == "sweep.options")
    assert "nowhere.safetensors" in want.missing
    assert foreseen.plan is None
    assert [trial.id[:8] for trial in foreseen.trials] == ["untraine", "standard", "projecte", "filtered"]
    with pytest.raises(ModelError, match=r"nowhere\.safetensors"):
        planned(guided_spec(data, sweep=sweep))


def test_the_plan_says_what_guides_are_fitted_to(data, tmp_path, capsys):
    spec = parse_spec(guided_spec(data), "spec")
    foreseen = foresee(spec, tmp_path / "none", calibrated=False)
    text = "fitted to 25% of the training images, which no network is trained on"
    assert plan_json(spec, foreseen)["guides"] == {MFA: text}
    print_plan(spec, foreseen)
    assert f"tangents {MFA} of objectives: {text}" in capsys.readouterr().out


def test_scores_are_guides_too(data, tmp_path):
    """Of a mixture the score has the file that tangent spaces of its reference have."""
    spec = parse_spec(guided_spec(data), "spec")
    loaded = load_study_data(spec.data, 0.25)
    score, spaces = Guide("score", MFA), Guide("tangents", MFA)
    assert score.file("digest", tmp_path) == spaces.file("digest", tmp_path)
    assert score.fitted
    assert not Guide("score", "exact").fitted
    assert not Guide("score", "net.safetensors").fitted
    ground = Ground(guide_data(loaded))
    x = loaded.test.images(slice(0, 3))
    opened = score.open(ground, tmp_path)
    assert len(list(tmp_path.glob("mixture-*.safetensors"))) == 1
    assert opened.score(x, 0.25).shape == x.shape
    assert spaces.open(ground, tmp_path).at(x).rank.tolist() == [3, 3, 3]
    assert Guide("score", "gaussian").file("digest", tmp_path) is None
    assert Guide("score", "gaussian").open(ground, tmp_path).kind == "gaussian"
