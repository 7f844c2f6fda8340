"""What the pages of docs/ promise: their Python runs, their pictures are there, their commands exist."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from typer.testing import CliRunner

from tangency.cli.app import app
from tangency.data import KINDS as DATA_KINDS
from tangency.data.registry import COUNTS
from tangency.engines import EngineConfig
from tangency.measures import ATTACKS, METRICS, describe
from tangency.models.references import KINDS
from tangency.score.references import FITTED, SHIPPED
from tangency.study import parse_spec
from tangency.tangents import SHAMS
from tangency.tangents.references import ESTIMATORS
from tangency.tangents.spectrum import RULES
from tangency.theory.check import TOPICS
from tangency.theory.kinds import SCORES, TANGENTS
from tangency.worlds import WORLDS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "theory.md").read_text()


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "theory.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([100, 1, 16, 16])" in printed
    assert "tensor(6.9" in printed or "tensor(7.0" in printed


def test_pictures_and_commands_exist() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", PAGE)
    assert len(pictures) >= 9
    for picture in pictures:
        assert (ROOT / "docs" / picture).stat().st_size > 10_000
    for command in re.findall(r"\$ tangency (worlds \w+|study run)", PAGE):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_every_world_kind_and_topic_is_explained() -> None:
    for name in (*WORLDS, *TANGENTS, *SCORES):
        assert f"`{name}`" in PAGE
    for topic in TOPICS:
        assert re.search(rf"^## .*{topic}", PAGE, re.I | re.M)


SCORE_PAGE = (ROOT / "docs" / "scores.md").read_text()


def test_the_python_example_of_scores_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SCORE_PAGE, re.S)
    exec(compile(code, "scores.md", "exec"), {})
    printed = capsys.readouterr().out
    assert float(re.findall(r"tensor\((0\.\d+)\) of 0\.0625", printed)[0]) < 0.01
    assert "torch.Size([8, 1, 28, 28])" in printed


def test_every_score_is_explained_and_every_command_exists() -> None:
    for name in (*FITTED, "exact", *SHIPPED):
        assert f"`{name}" in SCORE_PAGE
    for command in re.findall(r"`tangency (score \w+)", SCORE_PAGE):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", SCORE_PAGE):
        assert (ROOT / "docs" / picture).stat().st_size > 10_000


TANGENT_PAGE = (ROOT / "docs" / "tangents.md").read_text()


def test_the_python_example_of_tangents_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code, soft, training = re.findall(r"```python\n(.*?)```", TANGENT_PAGE, re.S)
    for each in (code, soft):
        exec(compile(each, "tangents.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "torch.Size([20, 784, 12])" in printed
    overlap, chance = map(float, re.findall(r"overlap tensor\((0\.\d+).*?chance tensor\((0\.\d+)", printed)[0])
    assert overlap > 10 * chance
    names: dict[str, Any] = {}
    exec(compile(training, "tangents.md", "exec"), names)
    assert names["objective"].bound["tangents"].kind == "sham_shuffled"


def test_the_guided_sweep_of_tangents_is_one() -> None:
    (sweep,) = re.findall(r"```yaml\n(.*?)```", TANGENT_PAGE, re.S)
    spec = parse_spec(yaml.safe_load(sweep), "tangents.md")
    assert [entry.options.get("sham") for entry in spec.sweep] == [None, None, "other"]
    assert {f"`{sham}`" for sham in SHAMS if sham != "none"} <= set(re.findall(r"`\w+`", TANGENT_PAGE))


def test_every_estimator_is_explained_and_every_command_exists() -> None:
    for name in ESTIMATORS:
        assert f"`{name}" in TANGENT_PAGE
    for rule in RULES:
        assert f"`{rule}`" in TANGENT_PAGE
    for command in re.findall(r"\$ tangency (tangents \w+|measure)", TANGENT_PAGE):
        assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", TANGENT_PAGE):
        assert (ROOT / "docs" / picture).stat().st_size > 10_000


MEASURE_PAGE = (ROOT / "docs" / "measure.md").read_text()


def test_the_python_example_of_measuring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", MEASURE_PAGE, re.S)
    exec(compile(code, "measure.md", "exec"), {})
    printed = [float(text) for text in re.findall(r"tensor\((-?0\.\d+)", capsys.readouterr().out)]
    assert len(printed) == 3
    assert 0 < printed[2] < 1


def test_every_metric_attack_and_kind_of_model_is_explained() -> None:
    for name in (*METRICS, *ATTACKS):
        assert f"`{name}" in MEASURE_PAGE
    for kind in KINDS:
        assert f"`{kind}:" in MEASURE_PAGE
    for options in re.findall(r"\$ tangency (?:measure|compare|report) (.*?)(?:  +#.*)?$", MEASURE_PAGE, re.M):
        for option in re.findall(r"--[a-z-]+", options):
            assert option in CliRunner().invoke(app, ["measure", "--help"], env={"COLUMNS": "400"}).output


def test_the_table_of_metrics_has_the_ranges_and_chances_of_the_registry() -> None:
    table = {
        name: (span, chance)
        for names, span, chance in re.findall(r"^\| (`.*?`) \| (.*?) \| (.*?) \|", MEASURE_PAGE, re.M)
        for name in re.findall(r"`(\w+)`", names)
    }
    for name in METRICS.own:
        scale, level = describe(f"alignment_{name}").scale, METRICS[name].chance
        assert table[name] == (str(scale).removeprefix(f"{scale.unit}, "), "–" if level is None else f"{level:g}"), name


DATA_PAGE = (ROOT / "docs" / "data.md").read_text()


def test_the_python_example_of_data_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DATA_PAGE, re.S)
    exec(compile(code, "data.md", "exec"), {})
    assert capsys.readouterr().out == "1000 100 (1, 28, 28) ()\n"


def test_every_kind_of_data_and_option_is_explained() -> None:
    rows = [line for line in DATA_PAGE.splitlines() if line.startswith("| `")]
    for name in DATA_KINDS:
        (row,) = [line for line in rows if f"`{name}`" in line or f"`{name}[" in line or f"`{name}:" in line]
        for option in DATA_KINDS[name].options:
            assert f"`{option}=" in row
    for option in COUNTS:
        assert f"`{option}=" in DATA_PAGE
    for options in re.findall(r"\$ tangency measure (.*)$", DATA_PAGE, re.M):
        for option in [*re.findall(r"--[a-z-]+", options), "--class-map"]:
            assert option in CliRunner().invoke(app, ["measure", "--help"], env={"COLUMNS": "400"}).output


def test_the_example_of_extending_is_the_package_that_the_tests_install() -> None:
    page, outside = (ROOT / "docs" / "extending.md").read_text(), ROOT / "tests" / "outside"
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert code == (outside / "acme_things.py").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    said = tomllib.loads(table)["project"]["entry-points"]
    installed = configparser.ConfigParser(delimiters="=")
    installed.read(outside / "acme_things-1.2.dist-info" / "entry_points.txt")
    assert said == {group: dict(installed[group]) for group in installed.sections()}


SCALING_PAGE, README = ((ROOT / name).read_text() for name in ("docs/scaling.md", "README.md"))


def test_every_command_of_the_page_on_scaling_and_of_the_readme_exists() -> None:
    commands = re.findall(r"^\$ tangency (study \w+) (.*?)(?:  +#.*)?$", SCALING_PAGE + README, re.M)
    assert {command for command, _ in commands} == {"study plan", "study run", "study status"}
    for command, options in commands:
        known = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "400"}).output
        for option in re.findall(r"--[a-z-]+", options):
            assert option in known, (command, option)
    for script in re.findall(r"python (scripts/\w+\.py)", SCALING_PAGE):
        assert (ROOT / script).exists()


def test_every_engine_is_explained_with_its_options() -> None:
    (text,) = re.findall(r"^engine: .*$", SCALING_PAGE, re.M)
    assert EngineConfig.model_validate(yaml.safe_load(text)["engine"]).kind == "slurm"
    for name in set(EngineConfig.model_fields) - {"kind"}:
        assert f"`--{name.replace('_', '-')}" in SCALING_PAGE
    for kind in get_args(EngineConfig.model_fields["kind"].annotation):
        assert f"`{kind}`" in SCALING_PAGE
