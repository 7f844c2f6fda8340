"""The import graph of the source, by room and by file, drawn into docs/architecture.md from the code.

    python scripts/draw_architecture.py [--check]

What stands between the two marks of the page is replaced; with --check the page is only compared, exit code 1 if stale.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE, PAGE = ROOT / "src" / "tangency", ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by scripts/draw_architecture.py: begin -->", "<!-- end -->"
Graph = dict[str, set[str]]


def import_graph() -> Graph:
    """{file: files of tangency that it imports}, also inside functions; `room.file` or `room.folder.file`."""
    files = {".".join(p.relative_to(SOURCE).with_suffix("").parts): p for p in sorted(SOURCE.rglob("*.py"))}
    return {name: _imported(name, path, files) for name, path in files.items() if name not in ("__init__", "__main__")}


def _imported(name: str, path: Path, files: Mapping[str, Path]) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tangency":
            module = node.module.removeprefix("tangency").removeprefix(".")
            for alias in node.names:
                place = f"{module}.{alias.name}".removeprefix(".")
                options = (place, f"{place}.__init__", module, f"{module}.__init__")
                imported |= {next(option for option in options if option in files)}
    return imported - {name, "__init__"}


def room(name: str) -> str:
    """The first part of a file's name."""
    return name.split(".")[0]


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Height of each node above the lowest; exits if there is a circle."""
    known: dict[str, int] = {}

    def level(node: str, above: tuple[str, ...]) -> int:
        if node in above:
            sys.exit(f"a circle of imports: {' → '.join([*above[above.index(node) :], node])}")
        if node not in known:
            known[node] = 1 + max((level(other, (*above, node)) for other in sorted(graph[node])), default=-1)
        return known[node]

    for node in sorted(graph):
        level(node, ())
    return known


def between_rooms(graph: Mapping[str, set[str]]) -> Graph:
    """{room: rooms that it imports}."""
    rooms: Graph = {room(name): set() for name in graph}
    for name, others in graph.items():
        rooms[room(name)] |= {room(other) for other in others} - {room(name)}
    return rooms


def needed(graph: Mapping[str, set[str]]) -> Graph:
    """Without the arrows that longer paths imply."""
    reach: Graph = {}
    for node in sorted(graph, key=levels(graph).__getitem__):
        reach[node] = set().union(*(reach[other] | {other} for other in graph[node]), set())
    return {
        node: {other for other in others if not any(other in reach[third] for third in others - {other})}
        for node, others in graph.items()
    }


def mermaid(graph: Mapping[str, set[str]], labels: Mapping[str, str]) -> list[str]:
    """A flow chart; an arrow goes from what imports to what is imported."""
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'  {node.replace(".", "_")}["{labels[node]}"]' for node in sorted(graph)]
    lines += [f"  {a.replace('.', '_')} --> {b.replace('.', '_')}" for a in sorted(graph) for b in sorted(graph[a])]
    return [*lines, "```"]


def described(name: str) -> str:
    """The first line of a file's docstring."""
    path = SOURCE / Path(*name.split(".")).with_suffix(".py")
    path = path if path.exists() else SOURCE / Path(*name.split(".")) / "__init__.py"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def drawn() -> str:
    """Both graphs, as Markdown."""
    graph = import_graph()
    levels({name: others for name, others in graph.items() if not name.endswith("__init__")} | _ends(graph))
    rooms = between_rooms(graph)
    lines = [f"{len(rooms)} rooms, {len(graph)} files, no circle. An arrow goes from the room that imports.", ""]
    lines += [*mermaid(needed(rooms), {name: name for name in rooms}), ""]
    lines += ["| room | files | what it is | imports |", "|---|---|---|---|"]
    order = levels(rooms)
    for name in sorted(rooms, key=lambda name: (order[name], name)):
        count = sum(room(file) == name for file in graph)
        lines.append(f"| `{name}` | {count} | {described(name)} | {', '.join(sorted(rooms[name]))} |")
    for name in sorted(rooms, key=lambda name: (order[name], name)):
        own = {
            file: {other for other in others if room(other) == name and not other.endswith("__init__")}
            for file, others in graph.items()
            if room(file) == name and not file.endswith("__init__")
        }
        if len(own) > 1:
            labels = {file: file.removeprefix(f"{name}.") for file in own}
            lines += ["", f"<details><summary>files of <code>{name}</code></summary>", ""]
            lines += [*mermaid(needed(own), labels), "", "| file | what it is |", "|---|---|"]
            lines += [f"| `{labels[file]}` | {described(file)} |" for file in sorted(own)]
            lines += ["", "</details>"]
    return "\n".join(lines)


def _ends(graph: Mapping[str, set[str]]) -> Graph:
    """A room's `__init__` only names what its files define, so no path goes through it."""
    return {name: set() for name in graph if name.endswith("__init__")}


def main() -> None:
    """Write the page, or compare it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = f"{before}{BEGIN}\n{drawn()}\n{END}{after}"
    if "--check" in sys.argv[1:]:
        sys.exit("docs/architecture.md is not what the code is; run it without --check" if new != text else 0)
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
