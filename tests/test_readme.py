"""What the README promises: its Python runs, its YAML is a valid spec, its pictures are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tangency.data import load
from tangency.study import parse_spec
from tangency.study.plan import plan_trials

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_python_example_runs_and_prints_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(re.findall(r"tensor\(-?0\.\d+", printed)) == 4
    assert len(code.strip().splitlines()) <= 12


def test_the_spec_is_valid() -> None:
    (text,) = blocks("yaml")
    spec = parse_spec(yaml.safe_load(text), "README")
    trials = [trial.id for trial in plan_trials(spec, load(spec.data))]
    assert len(trials) == 24  # a filtered standard network for each seed among them
    assert re.search(r"run:runs/my-study/trials/(\S+)", README)[1] in trials


def test_pictures_and_commands_exist() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / picture).stat().st_size > 10_000
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\$ make ([a-z-]+)", README)) <= targets
    assert "@" not in re.sub(r"@[a-z]+\(", "", README)
