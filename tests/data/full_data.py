"""The full data sets, for the tests that need them; absent, those tests are skipped and say so."""

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TANGENCY_DATA") or "TANGENCY_DATA-is-not-set")


def needs(*names):
    """Skip where one of the files or folders is not under $TANGENCY_DATA."""
    missing = [name for name in names if not (ROOT / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} under TANGENCY_DATA ({ROOT})")
