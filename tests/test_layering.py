"""Rooms import only rooms with a smaller number, and heavy packages only inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tangency"
LEVEL = {
    **dict.fromkeys(["errors", "notebook"], 0),
    **dict.fromkeys(["types", "seeding", "files", "devices", "validation"], 0.5),
    **dict.fromkeys(["tensors", "formats", "references"], 0.7),
    "engines": 0.9,
    "numerics": 1,
    **dict.fromkeys(["autodiff", "data", "mixtures"], 2),
    **dict.fromkeys(["worlds", "models", "attacks", "smoothing"], 3),
    "score": 4,
    "tangents": 5,
    "objectives": 5.5,
    **dict.fromkeys(["training", "perceptual"], 6),
    **dict.fromkeys(["measures", "generation", "statistics"], 7),
    "evaluate": 8,
    "study": 8.3,
    "cause": 8.4,
    "theory": 8.5,
    "report": 9,
    "plot": 9.5,
    "cli": 10,
    "__main__": 11,
}
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Rooms that a module imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module == "tangency":
            names = [f"tangency.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("tangency.")}
    return found


def violations(own: str, source: str) -> list[str]:
    return [other for other in imported_rooms(source) if other != own and not LEVEL[other] < LEVEL[own]]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_lower_rooms(path: Path) -> None:
    if room(path) == "__init__":
        return
    assert violations(room(path), path.read_text()) == []


def test_the_layering_check_can_fail() -> None:
    assert violations("numerics", "def f():\n    from tangency.measures.run import measure\n") == ["measures"]
    assert violations("score", "from tangency.objectives import make\n") == ["objectives"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_folders_stay_small() -> None:
    folders = [path.parent for path in FILES]
    assert {str(folder): folders.count(folder) for folder in folders if folders.count(folder) > 20} == {}


def test_there_is_no_room_without_a_level() -> None:
    assert {room(path) for path in FILES} - {"__init__"} <= set(LEVEL)
