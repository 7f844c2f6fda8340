"""Print the table of docs/theory.md: how often 95 % intervals hold the truth, on worlds where it is known.

python scripts/coverage_table.py --images 200000 --datasets 2000
"""

from __future__ import annotations

import argparse

from tangency.measures import MeasureConfig
from tangency.theory import TiltedBayes, coverage, truth_of
from tangency.theory.coverage import Coverage, excess_truths
from tangency.theory.population import measured_population, repairs
from tangency.worlds import make_world

WORLDS = {"W1": "linear", "W3": "fitted"}
SIZES = (200, 1000)
CONFIG = MeasureConfig(
    alignments=(("logp_y", "bayes_gradient"),),
    sigmas=(0.1,),
    rho_sigmas=(0.05,),
    epsilons=(1.0,),
    directions=1,
    metrics=("cosine",),
)
MEASURES = (
    "tangent_fraction.logp_y",
    "kappa.logp_y",
    "rho.logits.sigma=0.05",
    "change_on.eps=1",
    "change_off.eps=1",
    "alignment_cosine.logp_y.bayes_gradient.sigma=0.1",
)


def covered(reference: str, images: int, datasets: int, replicates: int = 2000) -> dict[int, dict[str, Coverage]]:
    """Coverage of every measure in one world, at each size of a data set."""
    world = make_world(reference)
    found = measured_population(world, TiltedBayes(world), images, CONFIG)
    numbers = truth_of(found.columns, world.dimension, world.classes)
    truths = {key: numbers.estimates[key].mean for key in MEASURES}
    excess = excess_truths(numbers, "tangent_fraction.logp_y")
    # Where all images share one subspace, another image's is as good: a difference of zero, rounding apart.
    trivial = found.fractions.shape[1] == 1
    truths |= {key: value for key, value in excess.items() if not trivial or key.endswith((".dct", ".pca"))}
    return {
        n: coverage(
            found.columns,
            truths,
            world.dimension,
            world.classes,
            n=n,
            datasets=datasets,
            replicates=replicates,
            repair=repairs(found),
        )
        for n in SIZES
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--datasets", type=int, default=2000)
    asked = parser.parse_args()
    print("| world | measure | truth | n = 200 | n = 1,000 | mean width at 1,000 |\n|---|---|---|---|---|---|")
    for name, reference in WORLDS.items():
        found = covered(reference, asked.images, asked.datasets)
        for key in found[SIZES[0]]:
            few, many = (found[n][key] for n in SIZES)
            cells = f"{few.truth:.4f} | {few.share:.1%} | {many.share:.1%} | {many.width:.4f}"
            print(f"| {name} | `{key}` | {cells} |", flush=True)


if __name__ == "__main__":
    main()
