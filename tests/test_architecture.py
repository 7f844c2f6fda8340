"""docs/architecture.md is what the code is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WALKS = {part.split("**")[0]: part for part in PAGE.split("\n**")[1:4]}
HOP = re.compile(r"^(\d+)\. `([a-z_/]+\.py):(\w+)`", re.MULTILINE)


@pytest.mark.processes
def test_the_graph_is_drawn_from_the_code() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "draw_architecture.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_is_short_and_goes_through_code_that_is_there(walk: str) -> None:
    hops = HOP.findall(WALKS[walk])
    assert [int(number) for number, _, _ in hops] == list(range(1, len(hops) + 1))
    assert 8 <= len(hops) <= 12
    assert len({(file, name) for _, file, name in hops}) == len(hops)
    for _, file, name in hops:
        source = (ROOT / "src" / "tangency" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), f"{file}:{name}"
