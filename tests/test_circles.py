"""Files import each other without circles, also inside functions; folders of a room import only lower ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tangency"
FOLDERS = ("read", "text", "draw", "page", "write", "__init__")  # of report/, from the lowest


def sources(folder: Path = SOURCE) -> dict[str, str]:
    """{dotted name: source} of every file; a package's name ends in .__init__."""
    root = folder.parent
    return {".".join(p.relative_to(root).with_suffix("").parts): p.read_text() for p in sorted(folder.rglob("*.py"))}


def nodes_below(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    """The nodes below this one, also inside functions; those under `if TYPE_CHECKING` where `types` is true."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING") and not types:
            child = ast.Module(child.orelse, [])
        yield child
        yield from nodes_below(child, types)


def imported_files(name: str, files: Mapping[str, str], types: bool) -> set[str]:
    """The files that a file imports by name, anywhere; the __init__ of folders on the way do not count."""
    package = name.rsplit(".", 1)[0]
    targets = []
    for node in nodes_below(ast.parse(files[name]), types):
        if isinstance(node, ast.Import):
            targets += [(alias.name, "") for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            targets += [(module, alias.name) for alias in node.names]
    found = set()
    for module, attribute in targets:
        candidates = (f"{module}.{attribute}", f"{module}.{attribute}.__init__", module, f"{module}.__init__")
        found |= {next((c for c in candidates if c in files), name)}
    return found - {name}


def reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """All that can be reached from a file, the file itself only by way of a circle."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def circles(files: Mapping[str, str], types: bool = False) -> set[frozenset[str]]:
    """The strongly connected components of more than one file."""
    graph = {name: imported_files(name, files, types) for name in files}
    reach = {name: reachable(name, graph) for name in files}
    return {frozenset(other for other in reach[name] if name in reach[other]) for name in files if name in reach[name]}


def test_files_import_each_other_without_circles() -> None:
    assert circles(sources()) == set()


def test_types_close_no_circles_either() -> None:
    assert circles(sources(), types=True) == set()


def upward(files: Mapping[str, str]) -> list[str]:
    """Imports between folders of report/ that do not go downwards."""
    level = {folder: i for i, folder in enumerate(FOLDERS)}
    own = {name: name.split(".")[2] for name in files if name.startswith("tangency.report.")}
    return [
        f"{name} imports {other}"
        for name, folder in own.items()
        for other in imported_files(name, files, types=True)
        if other in own and own[other] != folder and level[own[other]] > level[folder]
    ]


def test_folders_of_the_report_import_only_lower_ones() -> None:
    assert upward(sources()) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from tangency.a import x", True),
        ("from tangency import a", True),
        ("import tangency.a", True),
        ("from . import a", True),
        ("def f():\n    from tangency.a import x", True),
        ("if TYPE_CHECKING:\n    from tangency.a import x", False),
        ("if typing.TYPE_CHECKING:\n    pass\nelse:\n    from tangency.a import x", True),
        ("from tangency.c import x", False),
    ],
)
def test_the_check_of_circles_can_fail(line: str, found: bool) -> None:
    files = {"tangency.__init__": "", "tangency.a": "import tangency.b", "tangency.b": line, "tangency.c": ""}
    assert circles(files) == ({frozenset({"tangency.a", "tangency.b"})} if found else set())
    assert circles(files, types=True) == (
        {frozenset({"tangency.a", "tangency.b"})} if "c import" not in line else set()
    )


def test_a_circle_may_be_long_and_pass_through_a_package() -> None:
    files = {
        "tangency.__init__": "",
        "tangency.p.__init__": "from tangency.p.a import x",
        "tangency.p.a": "def f():\n    import tangency.b",
        "tangency.b": "from tangency.p import x",
        "tangency.c": "from tangency.p.a import x",
    }
    assert circles(files) == {frozenset({"tangency.p.__init__", "tangency.p.a", "tangency.b"})}


def test_the_check_of_folders_can_fail() -> None:
    files = {"tangency.report.read.run": "from tangency.report.page.html import x", "tangency.report.page.html": ""}
    assert upward(files) == ["tangency.report.read.run imports tangency.report.page.html"]
