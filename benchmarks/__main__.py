"""`python -m benchmarks [name …]`: run the cases, print the ratios, write results.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks import (
    cases,
    evaluation_cases,
    objective_cases,
    page_cases,
    penalty_cases,
    robustness_cases,
    score_cases,
    tangent_cases,
)
from benchmarks.case import Case, SkippedError, interleaved

CASES = cases.CASES | score_cases.CASES | tangent_cases.CASES | robustness_cases.CASES | evaluation_cases.CASES
CASES |= penalty_cases.CASES | objective_cases.CASES | page_cases.CASES

REPEATS = 5
RESULTS = Path(__file__).parent / "results.json"


def run(name: str, case: Case) -> dict[str, object]:
    """Check that both ways agree, then time them."""
    worst = float((case.ours() - case.other()).abs().max())
    if not worst <= case.tolerance:
        sys.exit(f"benchmark {name}: the two ways differ by {worst:.2g}, allowed {case.tolerance:.2g}")
    ours, other = interleaved({"ours": case.ours, "other": case.other}, REPEATS).values()
    print(f"{name:20} {other / ours:7.1f} times faster   ({ours:.4f} s against {other:.4f} s)   {case.what}")
    if other / ours < case.at_least:
        sys.exit(f"benchmark {name}: the ratio is {other / ours:.3g}, expected at least {case.at_least:g}")
    more = {} if case.more is None else case.more(ours)
    for key, value in more.items():
        print(f"{'':20} {key}: {value:.3g}")
    return {"ratio": other / ours, "ours_s": ours, "other_s": other, "what": case.what, **more}


def main() -> None:
    """Run the named cases, or all; results of cases not run now are kept."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or list(CASES)
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        sys.exit(f"unknown benchmarks {unknown}; known: {', '.join(CASES)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        try:
            results[name] = run(name, CASES[name]())
        except SkippedError as reason:
            print(f"{name:20} skipped: {reason}")
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
