"""Images of real size: what `tangency measure` costs beside the passes that its measures cannot do without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.processes]

ROOT = Path(__file__).parents[2]


def measured(kind: str, images: int, architecture: str, batch: str = "auto") -> dict[str, Any]:
    """In a process of its own, whose memory is nobody else's."""
    command = [sys.executable, "-m", "benchmarks.real_size", kind, str(images), architecture, batch]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", ["ten", "thousand"])
def test_a_residual_network_of_1000_classes(kind: str) -> None:
    """Memory; and passes, of which the seconds are benchmarks.real_size's to measure."""
    found = measured(kind, 20, "resnet50")
    assert found["peak_mib"] <= 4096
    passes = found["forward"] + 2 * found["with_graph"]
    assert passes <= 2 * (found["measures_forward"] + 2 * found["measures_with_graph"])
    for key in ("accuracy", "tangent_fraction.margin", "kappa.margin", "change_on.eps=0.5", "change_off.eps=0.5"):
        assert found["measures"][key][1] == 20, key
    for control in ("dct", "pca", "shuffled"):
        assert found["measures"][f"tangent_fraction.margin.{control}"][1] == 20, control


def test_memory_is_flat_in_the_number_of_images() -> None:
    """With as many at once: `auto` takes up to a gigabyte of them, and so more of 200 than of 20."""
    few, many = (measured("ten", images, "resnet18", "8")["peak_mib"] for images in (20, 200))
    assert many <= 1.1 * few
