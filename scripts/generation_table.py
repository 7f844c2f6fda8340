"""What networks make with their gradients, as the Markdown of docs/generate.md.

python scripts/generation_table.py runs/generation
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangency.report.text.generation import over_words

# Entry, measure, heading and digits of each column.
SHOWN = (
    ("generate", "judge_accuracy", "judge accuracy", 3),
    ("generate", "judge_confidence", "judge confidence", 3),
    ("generate", "kid", "KID", 2),
    ("denoise", "psnr_gain", "denoising σ = 0.25, dB", 2),
    ("denoise-2", "psnr_gain", "denoising σ = 0.5, dB", 2),
    ("inpaint", "psnr", "inpainting PSNR, dB", 2),
)
FRACTION = "tangent_fraction.margin"
REFERENCES = {
    "real": "test images",
    "input": "nothing done",
    "score": "score",
    "mixture": "mixture",
    "bayes": "Bayes rule",
}


def cell(entry: Mapping[str, Any] | None, digits: int) -> str:
    """Mean and 95 % interval."""
    if entry is None or entry["mean"] is None:
        return "–"
    mean, low, high = (f"{entry[name]:.{digits}f}".replace("-", "−") for name in ("mean", "low", "high"))
    return mean if low == high else f"{mean} [{low}, {high}]"


def _cells(sources: list[Mapping[str, Any]]) -> list[str]:
    """The cells of a row, from what holds the measures of each column."""
    columns = zip(sources, SHOWN, strict=True)
    return [cell(source["measures"].get(key), digits) for source, (_, key, _, digits) in columns]


def table(entries: Mapping[str, Mapping[str, Any]], alignment: str) -> None:
    """One row a reference and a cell, with what brackets are over."""
    unit = over_words(entries["generate"]["networks"])
    print(f"Brackets are 95 % intervals: of references over images, of recipes over {unit}.\n")
    heads = [*(head for _, _, head, _ in SHOWN), "F² − shuffled", "alignment − shuffled", "regime"]
    print(f"| | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for source, name in REFERENCES.items():
        cells = _cells([entries[entry]["references"].get(source, {"measures": {}}) for entry, *_ in SHOWN])
        print(f"| *{name}* | {' | '.join(cells)} | | | |")
    for place, first in enumerate(entries["generate"]["cells"]):
        cells = _cells([entries[entry]["cells"][place] for entry, *_ in SHOWN])
        cells += [cell(first["excess"].get(key), 3) for key in (FRACTION, alignment)]
        name = first["objective"] + (f" {first['strength']:g}" if first["strength"] else "")
        print(f"| {name} | {' | '.join(cells)} | {(first['regime'] or '').replace('_', '-')} |")


def correlations(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Rank correlations over all cells and within each objective."""
    named = dict.fromkeys((each["scope"], each["against"]) for each in entries["generate"]["correlations"])
    heads = [head.partition(",")[0] for *_, head, _ in SHOWN]
    unit = over_words(entries["generate"]["networks"])
    print(f"\nSpearman's ρ over recipes; brackets are 95 % intervals over recipes, and {unit}.")
    print(f"\n| recipes | with | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 2)}")
    for scope, against in named:
        cells = []
        for entry, key, _, _ in SHOWN:
            wanted = {"quality": key, "scope": scope, "against": against}
            match = next(c for c in entries[entry]["correlations"] if wanted.items() <= c.items())
            cells.append(cell({"mean": match["rho"], **match}, 2))
        print(f"| {scope} | {against.replace('_', ' ')} | {' | '.join(cells)} |")


def peaks(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Where each column is best, and whether alignment is largest there."""
    print()
    for entry, key, head, _ in SHOWN:
        for peak in entries[entry]["peaks"]:
            if peak["quality"] == key:
                print(f"- {head}, {peak['objective']}: {peak['words']}")


def main() -> None:
    """Print the tables of a run."""
    generation = json.loads((Path(sys.argv[1]) / "summary.json").read_text())["generation"]
    entries = {entry["name"]: entry for entry in generation["entries"]}
    table(entries, entries["generate"]["alignment"])
    correlations(entries)
    peaks(entries)


if __name__ == "__main__":
    main()
