"""Shared fixtures: devices present, a toy mixture, small images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("tangency", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("tangency")
torch.set_num_threads(1)

DEVICES = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device of this machine."""
    return str(request.param)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the full data sets; tests that need it are skipped where it is absent."""
    root = os.environ.get("TANGENCY_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("TANGENCY_DATA names no folder with the full data sets")
    return Path(root)
