"""Under which estimators of the tangent space the claim holds, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def claim_sentence(tangents: Mapping[str, Any]) -> str:
    """Under which estimators F² minus its best control rises over the standard network's, and is above 0."""
    claim = tangents["claim"]
    if not claim:
        return "No trial is robust and accurate enough for the claim to be tested."
    ups = [e["name"] for e in claim if e["rise"]["low"] is not None and e["rise"]["low"] > 0]
    above = [e["name"] for e in claim if e["excess"]["low"] is not None and e["excess"]["low"] > 0]
    robust, count = claim[0]["trial"], len(claim)
    rises = f"under {_listed(ups, count)}" if ups else "under none of the estimators"
    beats = f"under {_listed(above, count)}" if above else "under none"
    return (
        f"From the standard network to {robust}, F² minus its best control of equal rank rises {rises} (95 % "
        f"intervals); in {robust} it is above 0 {beats}."
    )


def _listed(names: list[str], count: int) -> str:
    return f"all {count} estimators" if len(names) == count else ", ".join(names)
