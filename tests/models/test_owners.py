"""Checkpoints as robustness and RobustBench themselves make them give the logits that these give.

Both pin packages that fit nothing else, so they live in an environment of their own: `python -m venv OWNERS`, then
`OWNERS/bin/pip install torch torchvision robustness robustbench 'setuptools<80'`, and TANGENCY_OWNERS is its python.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from processes import run
from tangency.models import load_model
from tangency.models.foreign.trusted import ROBUSTBENCH

OWNERS = os.environ.get("TANGENCY_OWNERS", "")
# Data set, as a reference and as robustness name it, and architecture.
ROBUSTNESS = (
    *(("cifar", "CIFAR", name) for name in ("resnet18", "resnet50", "vgg11", "vgg16", "densenet121", "densenet161")),
    *(("restricted_imagenet", "RestrictedImageNet", name) for name in ("resnet50", "vgg16_bn", "densenet161")),
    ("imagenet", "ImageNet", "vgg11"),
)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(not OWNERS, reason="TANGENCY_OWNERS names no interpreter with robustness and robustbench")
@pytest.mark.parametrize("name", [*(f"robustness:{theirs}:{name}" for _, theirs, name in ROBUSTNESS), *ROBUSTBENCH])
def test_logits_are_those_of_the_package_that_owns_the_checkpoint(name: str, tmp_path: Path) -> None:
    side = 224 if "ImageNet" in name else 32
    images = np.random.default_rng(0).random((4, 3, side, side), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    script = Path(__file__).parent / "owners.py"
    run([OWNERS, "-W", "ignore", str(script), str(tmp_path), name], {"PYTHONPATH": ""})
    path, wanted = (tmp_path / f"{name.replace(':', '-')}{end}" for end in (".ckpt", ".npy"))
    known = {f"robustness:{theirs}:{name}": f"arch={name}&dataset={ours}" for ours, theirs, name in ROBUSTNESS}
    found = load_model(f"robustness:{path}?{known[name]}" if name in known else f"robustbench:{name}?weights={path}")
    with torch.no_grad():
        logits = found(torch.from_numpy(images)).numpy()
    path.unlink()
    expected = np.load(wanted)
    assert np.abs(expected).max() > 1e-3
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()
