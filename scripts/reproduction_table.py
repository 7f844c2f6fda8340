"""Write reproduction/claims/*.json, reproduction/curves.json and docs/reproduction.md from the shipped rows alone.

`--check` compares instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction_claims import Claim, claim_json, sweep_claims
from reproduction_curves import curve_lines, curve_rows
from reproduction_others import (
    cause_claims,
    distractor_claims,
    foreign_claims,
    generation_claims,
    onnx_claims,
    world_claims,
)
from reproduction_rows import ROWS, read_study, read_table

ROOT = Path(__file__).parents[1]
CLAIMS, PAGE = ROOT / "reproduction" / "claims", ROOT / "docs" / "reproduction.md"
ABSTRACT = {
    "A": "robust networks have perceptually-aligned gradients",
    "B": "robust networks are off-manifold robust",
    "C": "Bayes-optimal models are off-manifold robust",
    "D": "off-manifold robustness correlates with alignment",
    "E": "three regimes: weak, Bayes-aligned, excessive",
    "F": "off-manifold robustness is the explanation (cause)",
    "G": "generative capabilities",
    "H": "robust networks respond to the signal, not the distractor",
}
SWEEPS = {  # part to the claims that its sweep speaks to
    "fashion": "ABDE",
    "fashion-long": "ABDE",
    "fashion-more": "ABDE",
    "fashion-pags": "ABD",
    "cifar10-5k": "AB",
    "cifar10-20k": "AB",
    "cifar10": "ABDE",
    "cifar10-pags": "AB",
}
CAUSES = ("linear", "offset", "fitted", "fashion")
OTHERS = {"foreign": "AB", "onnx": "B", "worlds": "C", "distractor": "H", "generation": "G"} | {
    f"cause-{name}": "F" for name in CAUSES
}
FIGURES = {
    "fashion": "[regimes](images/regimes-effective.png)",
    "worlds": "[Theorem 2](images/theory-theorem2.png)",
    "distractor": "[noise](images/theory-noise.png)",
    "cause-fashion": "[arms](images/cause-fashion.png)",
    "generation": "[quality](images/generation-pictures.png)",
}


@dataclass(frozen=True)
class Part:
    """A part with its claims; none where it was not run."""

    name: str
    letters: str
    claims: list[Claim]


def parts(folder: Path = ROWS) -> list[Part]:
    """Every part, from the rows in a folder."""
    made = []
    for name, letters in SWEEPS.items():
        sweep = read_study(name, folder)
        made.append(Part(name, letters, [] if sweep is None else sweep_claims(name, sweep, letters)))
    others = [
        *foreign_claims(folder),
        *onnx_claims(folder),
        *world_claims(folder),
        *distractor_claims(folder),
        *generation_claims(folder),
        *cause_claims(CAUSES, folder),
    ]
    made += [Part(name, letters, [c for c in others if c.part == name]) for name, letters in OTHERS.items()]
    return made


def claims_json(made: Sequence[Part]) -> dict[str, list[dict[str, Any]]]:
    """Claim to its rows in all parts."""
    return {
        letter: [claim_json(claim) for part in made for claim in part.claims if claim.claim == letter]
        for letter in ABSTRACT
    }


def number(value: float | None) -> str:
    """Three digits."""
    return "–" if value is None else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"


def spoken(estimate: dict[str, Any]) -> str:
    """Name, mean and interval."""
    ends = "" if estimate["low"] is None else f" [{number(estimate['low'])}, {number(estimate['high'])}]"
    return f"{estimate['name']} {number(estimate['mean'])}{ends}"


def page(
    claims: dict[str, list[dict[str, Any]]],
    made: Sequence[Part],
    curves: Sequence[dict[str, Any]],
    folder: Path = ROWS,
) -> str:
    """docs/reproduction.md."""
    lines = [_HEAD, *_summary(claims, made), ""]
    for letter, words in ABSTRACT.items():
        lines += [f"## {letter}: {words}", ""]
        missing = [part.name for part in made if letter in part.letters and not part.claims]
        if claims[letter]:
            lines += ["| part | definition | measure | estimates, 95 % | verdict |", "|---|---|---|---|---|"]
            lines += [_row(row) for row in claims[letter]]
            lines += [""] if missing else []
        if missing:
            lines += [f"Not run yet: {', '.join(f'`{name}`' for name in missing)}."]
        lines.append("")
    lines += ["## How verdicts hang on accuracy", "", *_by_accuracy(made), ""]
    if curves:
        lines += ["## Do all objectives fall on one curve?", "", *curve_lines(curves), ""]
    lines += ["## What was run", "", *_runs(made, folder), ""]
    return "\n".join(lines)


def _summary(claims: dict[str, list[dict[str, Any]]], made: Sequence[Part]) -> list[str]:
    lines = [
        "| claim of the abstract | part | verdict | as published | figure | command |",
        "|---|---|---|---|---|---|",
    ]
    for letter, words in ABSTRACT.items():
        for part in (part for part in made if letter in part.letters):
            own = [row for row in claims[letter] if row["part"] == part.name]
            ours = next((_verdict(row) for row in own if row["definition"] == "ours"), "not run yet")
            published = next((_verdict(row) for row in own if row["definition"] == "pags"), "–")
            figure, command = FIGURES.get(part.name, "–"), f"`make reproduce ARGS={part.name}`"
            lines.append(f"| {letter}: {words} | `{part.name}` | {ours} | {published} | {figure} | {command} |")
    return lines


def _by_accuracy(made: Sequence[Part]) -> list[str]:
    """The best of each objective in every sweep that was run, beside the accuracy of its standard networks."""
    lines = ["| part | accuracy of the standard networks | L − standard | log F²/control |", "|---|---|---|---|"]
    for part in made:
        if part.name not in SWEEPS:
            continue
        rows = [claim_json(claim)["estimates"] for claim in part.claims if claim.definition == "ours"]
        estimates = {own["name"]: own for row in rows for own in row}
        columns = [
            [own for name, own in estimates.items() if words in name]
            for words in ("accuracy of the standard", ": L − standard", ": log F²/")
        ]
        spoken_of = ["<br>".join(spoken(own) for own in each) or "not run yet" for each in columns]
        lines.append(f"| `{part.name}` | {' | '.join(spoken_of)} |".replace("accuracy of the standard networks ", ""))
    return lines


def _verdict(row: dict[str, Any]) -> str:
    return f"{row['verdict']} (without the gate: {row['ungated']})" if row["ungated"] else str(row["verdict"])


def _row(row: dict[str, Any]) -> str:
    note = f"; {row['note']}" if row["note"] else ""
    estimates = "<br>".join(spoken(each) for each in row["estimates"])
    return f"| `{row['part']}` | {row['definition']} | {row['measure']} | {estimates} | {_verdict(row)}{note} |"


def _runs(made: Sequence[Part], folder: Path) -> list[str]:
    lines = ["| part | data | networks | seconds of the run | spec |", "|---|---|---|---|---|"]
    for part in made:
        table = read_table(part.name, folder)
        if table is None:
            lines.append(f"| `{part.name}` | not run yet | | | |")
            continue
        about = table[1]
        data, networks = about.get("data", {}), sum(len(own["seeds"]) for own in about.get("recipes", []))
        images = f"{data['name']}, {data['measured']} measured" if data else about.get("what", "")
        seconds, spec = about.get("seconds") or "–", about.get("spec_hash", "–")
        lines.append(f"| `{part.name}` | {images} | {networks or '–'} | {seconds} | {spec} |")
    return lines


_HEAD = """# The paper's claims, one by one, from rows that ship

<!-- Written by scripts/reproduction_table.py from reproduction/rows; do not edit. -->

Every claim of the abstract of arXiv 2305.19101 has a hypothesis, a measure and a rule in
[preregistration.md](preregistration.md), committed before the runs. Here is what came out. All numbers are computed
from `reproduction/rows` by `python scripts/reproduction_table.py`, and a test computes them anew in another way.
`make reproduce` runs every part (`ARGS=PART` one of them; hours stand in the preregistration), goes on where it was
killed, and writes this page again; parts on CIFAR-10, MNIST and all of Fashion-MNIST want `TANGENCY_DATA`. Intervals
are 95 %, networks crossed with images; of the best of m strengths at level 1 − .05/m.

*Ours* are the definitions of tangency; *as published* are those of the paper's code (`legacy: pags`). *Without the
gate* is what would be said if networks were taken to have converged though they have not. A part that was not run says
so.
"""


def main(arguments: Sequence[str]) -> int:
    """Write, or compare."""
    made = parts()
    claims = claims_json(made)
    curves = curve_rows(list(SWEEPS))
    texts = {PAGE: page(claims, made, curves)}
    for letter, rows in claims.items():
        texts[CLAIMS / f"{letter}.json"] = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    texts[CLAIMS.parent / "curves.json"] = json.dumps(curves, indent=1, ensure_ascii=False) + "\n"
    if "--check" in arguments:
        stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
        print("\n".join(f"not up to date: {path}" for path in stale) or "up to date")
        return 1 if stale else 0
    CLAIMS.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
