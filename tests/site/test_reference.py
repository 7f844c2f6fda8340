"""The pages of the reference hold every public name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tangency

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The extension that writes the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENSIONS))
        module = importlib.import_module("public_names")
        sys.modules.pop("public_names")
    return module


def test_every_public_name_is_documented_once(reference: ModuleType) -> None:
    home: dict[int, str] = {}
    pages = {module: reference.page(module, home) for module in reference.rooms()}
    assert {f"tangency.{room}" for room in ("measures", "tangents", "worlds", "types")} < set(pages)
    for name in tangency.__all__:
        assert f":: tangency.{name}\n" in pages["tangency"]
    for module, text in pages.items():
        room = importlib.import_module(module)
        for name in reference.names(room):
            value = getattr(room, name)
            full = home.get(id(value), f"{module}.{name}")
            line = f":: {name}\n   :module: {module}\n" if reference.kind(value) == "data" else f":: {full}\n"
            assert sum(line in other for other in pages.values()) == 1, full
            assert f"<{full}>`" in text


def test_what_markup_would_read_otherwise_is_escaped(reference: ModuleType) -> None:
    assert reference.plain("|ρ| of network_* in `a_|b|`, λ*") == r"\|ρ\| of network\_\* in `a_|b|`, λ\*"
    lines = [">>> a * b", "Args:", "    **kwargs: |x|"]
    reference.escape(None, "function", "f", None, None, lines)
    assert lines == [">>> a * b", "Args:", r"    \*\*kwargs: \|x\|"]
