"""What networks make with their gradients, as the Markdown tables of docs/generate.md.

python scripts/generation_table.py runs/generation
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOWN = {
    "judge_accuracy": ("judge", 1, 3),
    "judge_confidence": ("its confidence", 1, 3),
    "kid": ("KID × 100", 100, 1),
    "psnr_gain": ("PSNR gain, dB", 1, 2),
    "psnr": ("PSNR, dB", 1, 2),
}


def cell(found: Mapping[str, Any] | None, scale: float, digits: int) -> str:
    """Mean and 95 % interval."""
    if found is None or found["mean"] is None:
        return "–"
    mean, low, high = (f"{found[name] * scale:.{digits}f}".replace("-", "−") for name in ("mean", "low", "high"))
    return mean if low == high else f"{mean} [{low}, {high}]"


def columns(entry: Mapping[str, Any]) -> dict[str, tuple[str, float, int]]:
    """Measures of the entry that stand in the table."""
    wanted: tuple[str, ...] = ("psnr_gain",) if entry["task"] == "denoise" else ("psnr", "psnr_gain")
    if "psnr" not in entry["qualities"]:
        wanted = ("judge_accuracy", "judge_confidence", "kid")
    return {name: SHOWN[name] for name in wanted if name in entry["qualities"]}


def table(entry: Mapping[str, Any], excess: Mapping[str, str]) -> None:
    """One row a reference and a cell."""
    shown = columns(entry)
    print(f"| {entry['name']} | {' | '.join(what[0] for what in shown.values())} | {' | '.join(excess)} | regime |")
    print(f"|{'---|' * (len(shown) + len(excess) + 2)}")
    for source, told in entry["references"].items():
        cells = [cell(told["measures"].get(name), scale, digits) for name, (_, scale, digits) in shown.items()]
        print(f"| *{source}* | {' | '.join(cells)} |{' |' * (len(excess) + 1)}")
    for one in entry["cells"]:
        cells = [cell(one["measures"].get(name), scale, digits) for name, (_, scale, digits) in shown.items()]
        beside = [cell(one["excess"].get(key), 1, 3) for key in excess.values()]
        name = one["objective"] + (f" {one['strength']:g}" if one["strength"] else "")
        print(f"| {name} | {' | '.join(cells)} | {' | '.join(beside)} | {one['regime'] or ''} |")


def correlations(entry: Mapping[str, Any]) -> None:
    """Rank correlations of every quality, and where the first peaks."""
    for found in entry["correlations"]:
        if found["quality"] in columns(entry) and found["rho"] is not None:
            told = cell({"mean": found["rho"], "low": found["low"], "high": found["high"]}, 1, 2)
            about = f"{found['quality']} with {found['against']}, {found['scope']}"
            print(f"- {about}: {told}, p = {found['p']:.3g}, {found['n']} cells")
    for found in entry["peaks"]:
        if found["quality"] in columns(entry):
            print(f"- {found['objective']}, {found['quality']}: {found['words']}")


def main() -> None:
    """Print the tables of a run."""
    told = json.loads((Path(sys.argv[1]) / "summary.json").read_text())["generation"]
    for entry in told["entries"]:
        print()
        table(entry, {"F² − shuffled": "tangent_fraction.logp_y", "alignment − shuffled": entry["alignment"]})
        print()
        correlations(entry)


if __name__ == "__main__":
    main()
