"""Versions, hashes, seeds and times of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.report.text.numbers import capital


def provenance(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, hashes, seeds and times as pairs of words."""
    source = summary["provenance"]
    data = summary["data"]
    out = [("Data", f"{data['name']}, {data['train']} training and {data['measured']} measured images")]
    out += [("Licence of the data", data["licence"]), ("Hash of the data", data["digest"])]
    out.append(("Hash of the spec", summary["spec_hash"]))
    for name, value in source.items():
        if isinstance(value, Mapping):
            kept = {
                key: item for key, item in value.items() if not key.startswith("trial ")
            }  # hashes of trials have a table of their own
            out += [(f"{capital(name.replace('_', ' '))}: {key}", str(item)) for key, item in kept.items()]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            out.append((capital(name.replace("_", " ")), text))
    return out
