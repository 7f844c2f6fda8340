"""Whole causal studies of seconds: stages, resume after a kill, what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from cause_support import cause_content
from study_support import InProcess, tangency
from tangency.cause import CauseResult, load_cause, parse_cause, run_cause
from tangency.cause.match import chosen_strengths, misses
from tangency.cause.plan import plan_cause
from tangency.cause.spec import MatchSpec
from tangency.cause.stages import Stages
from tangency.cause.tables import markdown, tables
from tangency.cli.show.cause import print_cause
from tangency.errors import RunError
from tangency.files import write_json
from tangency.report import write_cause
from tangency.statistics import crossed_difference
from tangency.study import load_run

pytestmark = pytest.mark.processes  # a summary asks the system for its name
ARMS = ["none", "whole", "off-own", "on-own", "off-dct", "off-random"]
STRICT = {"radius": 1e-6, "accuracy": None}  # so that every arm is refined


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CauseResult]:
    """A study that nobody killed, in this process."""
    folder = tmp_path_factory.mktemp("cause")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tangency.study.run.open_engine", InProcess)
        return folder, run_cause(cause_content(match=STRICT), folder)


def test_each_stage_is_an_ordinary_study(finished: tuple[Path, CauseResult]) -> None:
    folder, result = finished
    assert result.studies == {name: name for name in ("calibration", "matched", "refined-1")}
    calibration, refined, matched = (load_run(folder / name) for name in ("calibration", "refined-1", "matched"))
    assert calibration.spec.seeds == refined.spec.seeds == (10,)
    assert matched.spec.seeds == (0, 1)
    assert [arm.arm for arm in result.arms] == ARMS
    assert len(matched.trials) == 2 * len(ARMS)
    first = [point for point in result.calibration if point.stage == "calibration"]
    assert {point.arm for point in first} == set(ARMS[1:])
    again = [point.arm for point in result.calibration if point.stage == "refined-1"]
    assert again == misses(first, "whole", MatchSpec(**STRICT))
    assert {"off-own", "off-random"} <= set(again)
    assert json.loads((folder / "cause.json").read_text()) == json.loads(json.dumps(result.to_json()))


def test_arms_are_trained_at_the_strengths_that_their_radii_ask_for(finished: tuple[Path, CauseResult]) -> None:
    folder, result = finished
    strengths = chosen_strengths(result.calibration, "whole", MatchSpec(**STRICT))
    assert {arm.arm: arm.strength for arm in result.arms} == {"none": 0.0} | strengths
    own = load_run(folder / "matched").spec.sweep
    found = {(e.options["part"], e.options["sham"]): e.strengths for e in own if e.options}
    assert found["off", "none"] == (strengths["off-own"],)
    assert found["on", "none"] == (strengths["on-own"],)
    assert found["off", "random"] == (strengths["off-random"],)
    assert found["whole", "none"] == (0.02,)
    # the refinement was trained where the calibration alone pointed to
    first = [point for point in result.calibration if point.stage == "calibration"]
    aims = chosen_strengths(first, "whole", MatchSpec(**STRICT))
    again = {point.arm: point.strength for point in result.calibration if point.stage == "refined-1"}
    assert again == {arm: aims[arm] for arm in again}


def test_numbers_are_those_of_the_rows(finished: tuple[Path, CauseResult]) -> None:
    folder, result = finished
    run = load_run(folder / "matched")
    arms = [(entry.options.get("part"), entry.options.get("sham")) for entry in run.spec.sweep]

    def values(part: str, sham: str, column: str) -> np.ndarray:
        made = []
        for seed in range(2):
            names = [name for name in run.trials if name.endswith(f"-s{seed}")]
            name = names[arms.index((part, sham))]  # trials of a seed stand in the order of the spec
            made.append(run.rows.filter(run.rows["trial"] == name).sort("image")[column].to_numpy())
        return np.stack(made)

    criterion = next(criterion for criterion in result.criteria if criterion.criterion == "bayes_gradient")
    own, random = (values("off", sham, criterion.column) for sham in ("none", "random"))
    each = next(each for each in criterion.differences if each.arm == "off-random")
    assert each.difference.mean == pytest.approx(crossed_difference(own, random).mean)
    assert criterion.levels["off-own"].mean == pytest.approx(own.mean())
    arm = next(arm for arm in result.arms if arm.arm == "off-own")
    medians = np.median(values("off", "none", "radius"), axis=1)
    assert (medians > 0).all()
    assert arm.radius == pytest.approx(np.exp(np.log(medians).mean()))


def test_run_again_nothing_is_trained_and_nothing_changes(
    finished: tuple[Path, CauseResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Idle(InProcess):
        def do(self, jobs: list, on_event: object) -> None:
            assert not jobs

    folder, result = finished
    monkeypatch.setattr("tangency.study.run.open_engine", Idle)
    assert run_cause(folder / "cause.yaml", folder).to_json() == result.to_json()


def test_a_folder_holds_one_causal_study(finished: tuple[Path, CauseResult], tmp_path: Path) -> None:
    folder, _ = finished
    with pytest.raises(RunError, match=r"another spec, .*, with match .*'radius': 1e-06.*; use --out with a folder"):
        run_cause(cause_content(), folder)
    with pytest.raises(RunError, match=r"with seeds \[1\] too; use --out with a folder of its own"):
        run_cause(cause_content(match=STRICT, seeds=[0, 2]), folder, extend=True)
    with pytest.raises(RunError, match="may only add to: use --extend"):
        run_cause(cause_content(match=STRICT, seeds=[0, 1, 2]), folder)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="got a file"):
        run_cause(cause_content(), tmp_path / "file")


def test_page_and_figure_say_what_the_result_says(
    finished: tuple[Path, CauseResult], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    _, result = finished
    print_cause(result)
    shown = capsys.readouterr().out
    assert all(line in shown for line in result.findings)
    assert all(arm in shown for arm in ARMS)
    page, picture = write_cause(result, tmp_path)
    assert picture.stat().st_size > 10_000
    text = page.read_text()
    assert text == markdown(result)
    assert text.startswith(f"# tiny: {result.verdict}")
    for line in result.findings:
        assert line in text
    for title, heads, rows in tables(result):
        assert f"## {title}" in text
        assert all(len(row) == len(heads) for row in rows)
    (arms, *criteria) = tables(result)
    assert [row[0] for row in arms[2]] == ARMS
    assert len(criteria) == len(result.criteria) == 2


def test_a_base_arm_that_diverges_is_an_error_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_cause(cause_content(), "spec")
    stages = Stages(spec, tmp_path, lambda *_: None)
    monkeypatch.setattr(Stages, "_points", lambda *_: [])
    with pytest.raises(RunError, match="lower base_strength"):
        stages.calibrate()


def test_the_plan_names_the_trials_of_both_studies(tmp_path: Path) -> None:
    spec = parse_cause(cause_content(), "spec")
    calibration, matched = plan_cause(spec, tmp_path, calibrated=False)
    assert (calibration.stage, matched.stage) == ("calibration", "matched")
    assert len(calibration.trials) == 1 + 1 + 4 * 2  # none, whole once, four arms at two strengths
    assert len(matched.trials) == 2 * len(ARMS)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("summary", [1, 2, 3])
def test_an_interrupted_run_goes_on(
    summary: int, finished: tuple[Path, CauseResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the summary of the calibration, of the refinement, of the matched study."""
    written: list[Path] = []

    def write(path: Path, content: object) -> None:
        written.append(path)
        if len(written) == summary:
            raise KeyboardInterrupt
        write_json(path, content)

    monkeypatch.setenv("TANGENCY_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    monkeypatch.setattr("tangency.study.run.write_json", write)
    with pytest.raises(KeyboardInterrupt):
        run_cause(cause_content(match=STRICT), tmp_path / "out")
    assert not (tmp_path / "out" / "cause.json").exists()
    assert run_cause(cause_content(match=STRICT), tmp_path / "out").to_json() == finished[1].to_json()
    assert trained(tmp_path / "journal") == networks(finished[1])


def trained(journal: Path) -> int:
    return journal.read_text().splitlines().count("train.finished")


def networks(result: CauseResult) -> int:
    """All of them, each once."""
    again = sum(point.stage == "refined-1" for point in result.calibration)
    return (1 + 1 + 4 * 2) + again + 2 * len(ARMS)


@pytest.mark.slow
def test_seeds_are_added_to_a_finished_study(
    finished: tuple[Path, CauseResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = finished
    out, more = shutil.copytree(folder, tmp_path / "out"), cause_content(match=STRICT, seeds=[0, 1, 2])
    monkeypatch.setenv("TANGENCY_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setattr("tangency.study.run.open_engine", InProcess)
    result = run_cause(more, out, extend=True)
    assert trained(tmp_path / "journal") == len(ARMS)
    assert result.calibration == before.calibration
    assert all(arm.seeds == [0, 1, 2] for arm in result.arms)
    kept = load_run(folder / "matched").rows.sort("trial", "image")
    rows = load_run(out / "matched").rows.filter(pl.col("trial").is_in(kept["trial"].unique().to_list()))
    assert rows.select(kept.columns).sort("trial", "image").equals(kept)
    assert load_cause(out / "cause.yaml").seeds == (0, 1, 2)
    assert run_cause(more, out).to_json() == result.to_json()
    with pytest.raises(RunError, match="holds the causal study of another spec"):
        run_cause(cause_content(match=STRICT), out, extend=True)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_command_line(finished: tuple[Path, CauseResult], tmp_path: Path) -> None:
    expected, spec = finished[1], tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(cause_content(match=STRICT)))
    out, journal = tmp_path / "out", tmp_path / "journal"
    command = ("cause", "run", spec, "--out", out, "--json")
    # in the middle of the matched study: the second summary is that of the refinement
    killed = tangency(*command, TANGENCY_JOURNAL=str(journal), TANGENCY_KILL="rename:summary.json#3")
    assert killed.returncode != 0
    assert (out / "refined-1" / "summary.json").exists()
    assert (out / "matched" / "rows.parquet").exists()
    assert not (out / "cause.json").exists()
    again = tangency(*command, TANGENCY_JOURNAL=str(journal))
    assert again.returncode == 0, again.stderr
    content = json.loads(again.stdout)
    assert {key: value for key, value in content.items() if key not in ("page", "figure")} == json.loads(
        json.dumps(expected.to_json())
    )
    assert trained(journal) == networks(expected)
    assert Path(content["page"]).read_text() == markdown(expected)
