"""Every block of code on the pages runs here or says why not; every command exists; every page is in the navigation."""

from __future__ import annotations

import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from tangency.cli.app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = ("_build", "_static", "reference", "notebooks")
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in GENERATED)
NEW = [path for path in PAGES if path.parent != DOCS]  # guides of docs/ itself have tests of their own
OWN_TESTS = {
    "cause.md": "tests/cause/test_spec.py",
    "data.md": "tests/test_docs.py",
    "extending.md": "tests/test_docs.py",
    "measure.md": "tests/test_docs.py",
    "objectives.md": "tests/objectives/test_page.py",
    "python.md": "tests/test_api.py",
    "scores.md": "tests/test_docs.py",
    "tangents.md": "tests/test_docs.py",
    "theory.md": "tests/test_docs.py",
}
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<in> *)```(?P<of>\w+)\n(?P<code>.*?)^(?P=in)```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block, with the comment that stands above it."""

    mark: str
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["mark"] or "", one["of"], textwrap.dedent(one["code"])) for one in found]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `$ tangency …`, without what the comment behind it says."""
    for line in re.findall(r"^\$ tangency (.*)$", text, re.M):
        yield shlex.split(line, comments=True)


def run_python(page: Path) -> None:
    """The page's Python, one block after the other."""
    scope: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page)):
        if block.language == "python" and not block.mark:
            exec(compile(block.code, f"{page.name} block {number}", "exec"), scope)


SLOW = [page for page in NEW if any(block.mark == "slow" for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        if block.mark:
            assert block.mark == "slow" or re.fullmatch(r"(not run: .+|runs in \.ci/run)", block.mark), block.mark
        elif block.language == "yaml":
            assert yaml.safe_load(block.code)
        elif block.language == "toml":
            assert tomllib.loads(block.code)
        elif block.language == "python" and page not in NEW:
            assert f'"{page.name}"' in (ROOT / OWN_TESTS[page.name]).read_text(encoding="utf-8").replace("docs/", "")
        elif page in NEW:
            assert block.language in ("python", "text"), "a command is marked: slow, not run: why, or runs in .ci/run"
        else:
            assert block.language in ("console", "text", "mermaid")


@pytest.mark.parametrize(
    "page",
    [page for page in NEW if any(block.language == "python" for block in blocks(page))],
    ids=lambda page: page.stem,
)
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(page)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=lambda page: page.stem)
def test_commands_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_python(page)
    for block in blocks(page):
        for arguments in commands(block.code) if block.mark == "slow" else ():
            found = CliRunner().invoke(app, arguments)
            assert found.exit_code == 0, (arguments, found.output, found.exception)


def test_every_command_and_option_exists() -> None:
    root = get_command(app)
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for arguments in commands(page.read_text(encoding="utf-8")):
            command = root
            while isinstance(command, TyperGroup) and arguments:
                name = arguments.pop(0)
                assert name in command.commands, (page.name, name)
                command = command.commands[name]
            known = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
            given = {one.partition("=")[0] for one in arguments if one.startswith("--")}
            assert given <= {*known, "--help"}, (page.name, command.name, given - known)


def test_every_page_is_in_the_navigation() -> None:
    lists = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), re.S)
    listed = [line for text in lists for line in text.splitlines() if line and not line.startswith(":")]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES}
    assert sorted(listed) == sorted((pages | {"reference/index"}) - {"index"})


def test_pictures_of_the_concepts_are_drawn_by_the_script() -> None:
    script = (ROOT / "scripts" / "draw_concepts.py").read_text(encoding="utf-8")
    for page in (DOCS / "concepts").glob("*.md"):
        for picture in re.findall(r"!\[.+?\]\((.*?)\)", page.read_text(encoding="utf-8")):
            name = (page.parent / picture).resolve(strict=True).name
            assert name.startswith("theory-") or f'"{name[8:-4]}": ' in script
