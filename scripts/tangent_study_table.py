"""F² minus its best control by network and estimator, as Markdown: the second table of docs/tangents.md.

python scripts/tangent_study_table.py runs/tangents
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.measures.keys import FRACTION, Key


def cell(trials: list[Mapping[str, Any]], key: str) -> str:
    """Mean over seeds, and the range that holds each network's 95 % interval over images: no interval of the recipe."""
    excesses = [trial["excess"][key] for trial in trials]
    mean = sum(entry["mean"] for entry in excesses) / len(excesses)
    low, high = min(entry["low"] for entry in excesses), max(entry["high"] for entry in excesses)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]".replace("0.", ".").replace("-", "−")


def main() -> None:
    """Print the table of a run."""
    summary = json.loads((Path(sys.argv[1]) / "summary.json").read_text())
    names = [entry["name"] for entry in summary["tangents"]["estimators"]]
    keys = [str(Key.parse(FRACTION).at(tangents=name if place else "")) for place, name in enumerate(names)]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for trial in summary["trials"]:
        if trial["objective"] != "untrained":
            groups.setdefault(f"{trial['objective']} {trial['strength']:g}", []).append(trial)
    print(f"| network | accuracy | {' | '.join(names)} |")
    print(f"|{'---|' * (len(names) + 2)}")
    for name, trials in groups.items():
        accuracy = sum(trial["measures"]["accuracy"]["mean"] for trial in trials) / len(trials)
        cells = " | ".join(cell(trials, key) for key in keys)
        print(f"| {name} | {accuracy:.3f} | {cells} |".replace(" 0.", " ."))


if __name__ == "__main__":
    main()
