"""`import tangency` costs next to nothing, and its public names are all there."""

from __future__ import annotations

import sys

import pytest

import tangency
from processes import run

pytestmark = pytest.mark.processes


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    return set(run([sys.executable, "-c", code]).stdout.split())


def test_the_package_alone_loads_no_heavy_package() -> None:
    assert not loaded_by("import tangency") & {"torch", "numpy", "polars", "scipy", "pydantic", "matplotlib", "typer"}


def test_the_command_line_answers_help_without_torch() -> None:
    assert "torch" not in loaded_by("import tangency.cli.app")


def test_measures_load_no_optional_heavyweights() -> None:
    heavy = {"matplotlib", "polars", "scipy", "torchvision", "accelerate", "jinja2", "typer", "pandas", "diffusers"}
    assert not loaded_by("import tangency.measures") & heavy


def test_every_public_name_resolves() -> None:
    for name in tangency.__all__:
        assert getattr(tangency, name) is not None
    assert "measure" in dir(tangency)
    assert not hasattr(tangency, "nothing_of_that_name")
