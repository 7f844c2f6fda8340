"""Notebooks: their outputs are those of their code, they use what is public, are small, and run."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import tangency
from processes import run

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from run_notebooks import LARGEST, code_digest, cover, cover_path  # noqa: E402

PATHS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
QUICK = "measure_your_own_model"
NUMBER = re.compile(r"[-+−]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(notebook: Any) -> list[str]:
    """What the notebook says in its outputs, without numbers, whose last digits are those of a machine."""
    texts = []
    for output in (output for cell in cells(notebook) for output in cell.outputs):
        data = output.get("data", {})
        texts.append(output.get("text", "") + data.get("text/markdown", data.get("text/plain", "")))
        texts.extend(sorted(kind for kind in data if kind.startswith("image/")))
    return [NUMBER.sub("#", text) for text in texts]


def test_there_are_notebooks_and_each_is_named_where_they_are_listed() -> None:
    assert len(PATHS) == 5
    for page in (ROOT / "notebooks" / "README.md", ROOT / "docs" / "notebooks.md"):
        assert set(re.findall(r"\b(\w+)\.ipynb", page.read_text(encoding="utf-8"))) == set(PATHS)


@pytest.mark.parametrize("name", PATHS)
def test_outputs_are_those_of_the_code(name: str) -> None:
    notebook = nbformat.read(PATHS[name], as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["tangency"]["code_sha256"] == code_digest(notebook), f"make notebooks ARGS={name}"
    assert [cell.execution_count for cell in cells(notebook)] == list(range(1, len(cells(notebook)) + 1))
    assert not [output for cell in cells(notebook) for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells(notebook) for output in cell.outputs if output.get("name") == "stderr"]
    assert cover_path(name).read_bytes() == cover(notebook)
    assert PATHS[name].stat().st_size <= LARGEST


def test_a_changed_cell_makes_outputs_stale() -> None:
    notebook = nbformat.read(PATHS[QUICK], as_version=4)
    before = code_digest(notebook)
    cells(notebook)[0].source += "\n"
    assert code_digest(notebook) != before


@pytest.mark.parametrize("name", PATHS)
def test_only_what_is_public_is_used(name: str) -> None:
    code = "\n".join(cell.source for cell in cells(nbformat.read(PATHS[name], as_version=4)))
    imported = [
        part
        for node in ast.walk(ast.parse(code))
        for part in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    ]
    assert [part for part in imported if part.startswith("tangency")] == ["tangency"]
    assert set(re.findall(r"\btangency\.(\w+)", code)) <= set(tangency.__all__)


@pytest.mark.parametrize("name", PATHS)
def test_numbers_in_the_text_are_none_of_a_result(name: str) -> None:
    """Text cells hold no decimals but settings: results are computed where they are said."""
    notebook = nbformat.read(PATHS[name], as_version=4)
    code = "\n".join(cell.source for cell in cells(notebook))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for number in re.findall(r"\d+\.\d+", cell.source):
                assert number in code or re.search(rf"σ = {number}", cell.source), (name, number)


def _run_again(name: str, folder: Path) -> None:
    """It runs from nothing, and says what it says in the shipped one."""
    run([sys.executable, str(ROOT / "scripts" / "run_notebooks.py"), name, "--out", str(folder)])
    shipped = nbformat.read(PATHS[name], as_version=4)
    again = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    assert words(again) == words(shipped)


@pytest.mark.slow
@pytest.mark.processes
def test_the_quickest_runs(tmp_path: Path) -> None:
    _run_again(QUICK, tmp_path)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", [name for name in PATHS if name != QUICK])
def test_all_others_run(name: str, tmp_path: Path) -> None:
    _run_again(name, tmp_path)
