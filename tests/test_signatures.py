"""Functions are short and take few arguments, no two classes share a name, and names say what they stand for."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tangency

SOURCE = Path(__file__).parent.parent / "src" / "tangency"
LINES, PARAMETERS = 40, 8
VAGUE = {"found", "told", "tell", "asked"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, ast.Module]:
    """{path in the package: syntax tree} of every file."""
    return {p.relative_to(SOURCE).as_posix(): ast.parse(p.read_text()) for p in sorted(SOURCE.rglob("*.py"))}


def functions(tree: ast.AST, of_class: bool = False) -> Iterator[tuple[Function, bool]]:
    """Every function, also inside others, and whether its first parameter is `self` or `cls`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Function):
            static = any(ast.unparse(decorator) == "staticmethod" for decorator in child.decorator_list)
            yield child, of_class and not static
        yield from functions(child, isinstance(child, ast.ClassDef))


def length(function: Function, command: bool = False) -> int:
    """Lines of a function without its docstring; of a command of the CLI, whose options are declared, of its body."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    first = body[0].lineno if body else function.end_lineno + 1
    return function.end_lineno + 1 - first + (0 if command else function.body[0].lineno - function.lineno)


def parameters(function: Function, method: bool, public: bool = False) -> int:
    """How many arguments a function takes, without `self` and `cls`, and of a public one without keyword-only ones."""
    arguments = function.args
    optional = 0 if public else len(arguments.kwonlyargs) + (arguments.kwarg is not None)
    return len(arguments.posonlyargs + arguments.args) + (arguments.vararg is not None) + optional - method


def public_functions() -> set[tuple[str, str]]:
    """(path in the package, name) of the functions in `tangency.__all__`."""
    objects = [getattr(tangency, name) for name in tangency.__all__]
    places = [(getattr(each, "__module__", "").split(".")[1:], getattr(each, "__name__", "")) for each in objects]
    return {(f"{'/'.join(parts)}{end}", name) for parts, name in places for end in (".py", "/__init__.py")}


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a file gives to something, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, Function | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias):
            yield node.asname or "", node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            yield node.name or "", node.lineno


def test_functions_are_short() -> None:
    long = {
        f"{path}:{function.lineno} {function.name}": lines
        for path, tree in sources().items()
        for function, _ in functions(tree)
        if (lines := length(function, path.startswith("cli/"))) > LINES
    }
    assert long == {}


def test_functions_take_few_arguments() -> None:
    public = public_functions()
    many = {
        f"{path}:{function.lineno} {function.name}": count
        for path, tree in sources().items()
        for function, method in functions(tree)
        if (count := parameters(function, method, (path, function.name) in public)) > PARAMETERS
        and not path.startswith("cli/")
    }
    assert many == {}


def test_no_two_classes_share_a_name() -> None:
    places = [
        (node.name.lstrip("_"), path)
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    counts = Counter(name for name, _ in places)
    assert {name: [path for other, path in places if other == name] for name in counts if counts[name] > 1} == {}


def test_names_say_what_they_stand_for() -> None:
    vague = [
        f"{path}:{line} {name}"
        for path, tree in sources().items()
        for name, line in names(tree)
        if name.strip("_") in VAGUE
    ]
    assert vague == []
    assert [path for path in sources() if Path(path).stem in VAGUE] == []


def test_the_checks_see_what_they_are_for() -> None:
    text = """
class Case:
    def method(self, a, b, *, c):
        \"\"\"Two

        lines.\"\"\"
        told = a

        return told

    @staticmethod
    def static(a, *b, **c):
        self.asked = a
"""
    tree = ast.parse(text)
    method, static = functions(tree)
    assert [length(method[0]), length(method[0], command=True)] == [4, 3]
    assert [parameters(*method), parameters(*method, public=True), parameters(*static)] == [3, 2, 3]
    assert [name for name, _ in names(tree) if name in VAGUE] == ["told", "asked"]
    assert ("training/loop.py", "train") in public_functions()
