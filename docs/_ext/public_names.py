"""A page of the reference for every room with public names, written before each build from `__all__` and docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

FILES = ("types", "errors", "seeding", "numerics")  # rooms of one file without a list; what they define is public
KINDS = {"class": "autoclass", "exception": "autoexception", "function": "autofunction"}


def rooms() -> list[str]:
    """Modules with public names: the package, its rooms with `__all__`, folders and files, and those of `FILES`."""
    source = Path(str(importlib.import_module("tangency").__file__)).parent
    paths = [*source.glob("*/__init__.py"), *source.glob("[!_]*.py")]
    stems = {path: path.parent.name if path.stem == "__init__" else path.stem for path in paths}
    listed = [name for path, name in stems.items() if name in FILES or "__all__ = [" in path.read_text("utf-8")]
    return ["tangency", *(f"tangency.{name}" for name in sorted(listed))]


def names(module: ModuleType) -> list[str]:
    """What a module makes public."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    body = ast.parse(inspect.getsource(module)).body
    own = (node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return sorted(name for name in own if not name.startswith("_"))


def kind(value: object) -> str:
    """Which directive documents it."""
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isroutine(value) else "data"


def plain(text: str) -> str:
    """Docstrings are plain text with names in backticks: signs that reStructuredText would read otherwise, escaped."""
    parts = re.split(r"(`+[^`]*`+)", text)
    parts[::2] = (re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2])
    return "".join(parts)


def escape(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Every line of a docstring but those of its example."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else plain(line) for line in lines]


def first_line(value: object) -> str:
    """What a table says of it."""
    if kind(value) != "data":
        return plain((inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " "))
    if isinstance(value, (str, int, float)):
        return f"``{value!r}``"
    try:
        return "Of " + ", ".join(f"``{name}``" for name in value)  # type: ignore[attr-defined]
    except TypeError:
        return f"A ``{type(value).__name__}``."


def entry(module: str, name: str, value: object) -> list[str]:
    """The directive that documents one name."""
    if kind(value) == "data":
        return [f".. py:data:: {name}", f"   :module: {module}", "", f"   {first_line(value)}", ""]
    lines = [f".. {KINDS[kind(value)]}:: {module}.{name}"]
    if kind(value) == "class":
        lines += ["   :members:", "   :show-inheritance:"]
    return [*lines, ""]


def table(module: str, listed: dict[str, Any], home: dict[int, str]) -> list[str]:
    """Names and first lines, each a link to where it is documented."""
    lines = [".. list-table::", "   :class: names", ""]
    for name, value in listed.items():
        target = home.get(id(value), f"{module}.{name}")
        lines += [f"   * - :py:obj:`{name} <{target}>`", f"     - {first_line(value)}"]
    return [*lines, ""]


def page(module: str, home: dict[int, str]) -> str:
    """One page; an object that several rooms name is documented by the first."""
    room = importlib.import_module(module)
    listed = {name: getattr(room, name) for name in names(room)}
    lines = [module, "=" * len(module), "", (inspect.getdoc(room) or "").split("\n\n")[0], ""]
    lines += [f".. py:module:: {module}", "", *table(module, listed, home)]
    for name, value in listed.items():
        full = f"{module}.{name}"
        if kind(value) == "data" or home.setdefault(id(value), full) == full:
            lines += entry(module, name, value)
    return "\n".join(lines) + "\n"


def write(app: Sphinx) -> None:
    """The pages, where they are not already as they should be, and their list."""
    folder, home = Path(app.srcdir) / "reference", dict[int, str]()
    folder.mkdir(exist_ok=True)
    pages = {f"{module}.rst": page(module, home) for module in rooms()}
    title = "Every public name"
    listed = "\n".join(f"   {name.removesuffix('.rst')}" for name in pages)
    words = "From the docstrings. ``tangency`` is what a notebook needs; the rooms hold the rest.\n\n"
    pages["index.rst"] = f"{title}\n{'=' * len(title)}\n\n{words}.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    for stale in {path.name for path in folder.glob("*.rst")} - set(pages):
        (folder / stale).unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon, which writes reStructuredText
    return {"parallel_read_safe": True, "parallel_write_safe": True}
