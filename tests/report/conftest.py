"""Synthetic runs and their reports."""

import pytest

from report.synthetic_run import build_run
from tangency.report import write_report


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """A run with its page, which no test changes."""
    run = build_run(tmp_path_factory.mktemp("reported") / "run")
    return run, write_report(run)


@pytest.fixture(scope="session")
def page(reported):
    """The text of that page."""
    return reported[1].read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    """A run to change."""
    return build_run(tmp_path / "run")


@pytest.fixture(scope="session")
def world_run(tmp_path_factory):
    """A run on a world with signal and distractor, the Bayes rule and noise curves; no test changes it."""
    return build_run(tmp_path_factory.mktemp("world") / "run", world=True)


@pytest.fixture(scope="session")
def world_page(world_run):
    """The text of its page."""
    return write_report(world_run).read_text(encoding="utf-8")
