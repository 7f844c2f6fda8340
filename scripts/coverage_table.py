"""Print the table of docs/theory.md: how often 95 % intervals hold the truth, on worlds where it is known.

python scripts/coverage_table.py --images 200000 --datasets 2000
"""

from __future__ import annotations

import argparse

from tangency.measures import MeasureConfig
from tangency.statistics import Interval
from tangency.theory import Repetition, TiltedBayes, coverage, truth_of
from tangency.theory.coverage import Coverage, excess_truths
from tangency.theory.population import measured_population, repairs
from tangency.worlds import make_world

WORLDS = {"W1": "linear", "W3": "fitted"}
SIZES = (200, 1000)
CONFIG = MeasureConfig(
    alignments=(("margin", "bayes_gradient"),),
    sigmas=(0.1,),
    rho_sigmas=(0.05,),
    epsilons=(1.0,),
    directions=1,
    metrics=("cosine",),
)
MEASURES = (
    "tangent_fraction.margin",
    "kappa.margin",
    "rho.logits.sigma=0.05",
    "change_on.eps=1",
    "change_off.eps=1",
    "alignment_cosine.margin.bayes_gradient.sigma=0.1",
)
INTERVALS: tuple[Interval, ...] = ("percentile", "bca")


def covered(reference: str, images: int, repetitions: list[Repetition]) -> dict[Repetition, dict[str, Coverage]]:
    """Coverage of every measure in one world, by each kind of interval at each size of a data set."""
    world = make_world(reference)
    population = measured_population(world, TiltedBayes(world), images, CONFIG)
    numbers = truth_of(population.columns, world.dimension, world.classes)
    truths = {key: numbers.estimates[key].mean for key in MEASURES}
    excess = excess_truths(numbers, "tangent_fraction.margin")
    # Where all images share one subspace, no other image has another one, and the shuffled controls are absent.
    trivial = population.fractions.shape[1] == 1
    truths |= {key: value for key, value in excess.items() if not trivial or key.endswith((".dct", ".pca"))}
    sizes, repair = (world.dimension, world.classes), repairs(population)
    return {each: coverage(population.columns, truths, *sizes, each, repair) for each in repetitions}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=2000)
    arguments = parser.parse_args()
    counts = arguments.datasets, arguments.replicates
    repetitions = [Repetition(counts[0], n, counts[1], interval) for n in SIZES for interval in INTERVALS]
    heads = " | ".join(f"n = {each.n:,}, {each.interval}" for each in repetitions)
    print(f"| world | measure | truth | {heads} | mean width at 1,000 |\n|---|---|---|{'---|' * len(repetitions)}---|")
    for name, reference in WORLDS.items():
        table = covered(reference, arguments.images, repetitions)
        for key in table[repetitions[0]]:
            cells = [table[each][key] for each in repetitions]
            shares = " | ".join(f"{cell.share:.1%}" for cell in cells)
            width = cells[-len(INTERVALS)].width
            print(f"| {name} | `{key}` | {cells[0].truth:.4f} | {shares} | {width:.4f} |", flush=True)


if __name__ == "__main__":
    main()
