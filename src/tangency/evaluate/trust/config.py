"""How a score is validated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tangency.errors import SpecError

SIGMAS = (0.05, 0.125, 0.25, 0.5, 1.0)
BASELINES = ("identity", "gaussian", "empirical", "mfa")


@dataclass(frozen=True)
class TrustConfig:
    """How a score is examined.

    Args:
        sigmas: noise levels, in [0, 1] pixel units.
        images: held-out images for the denoising error, a fixed random subset.
        probed: of them, those whose Jacobians and Bayes gradients are looked at.
        probes: random vectors an image for traces and asymmetry.
        samples: images drawn from the score, for the grid, memorisation and KID (which takes at least 1,000).
        steps: of the sampler.
        baselines: what it is compared with, of `BASELINES`: doing nothing, and closed forms fitted to the training
            images. One that cannot be fitted is named in the result, with the reason.
        seed: of noise, probes and samples.
        replicates: bootstrap resamples of the images.
    """

    sigmas: tuple[float, ...] = SIGMAS
    images: int = 300
    probed: int = 50
    probes: int = 2
    samples: int = 64
    steps: int = 18
    baselines: tuple[str, ...] = BASELINES
    seed: int = 0
    replicates: int = 2000

    def __post_init__(self) -> None:
        if not self.sigmas or not all(0 < s < math.inf for s in self.sigmas):
            raise SpecError(f"sigmas: got {list(self.sigmas)}, expected positive numbers in [0, 1] pixel units.")
        shown = [float(f"{sigma:g}") for sigma in self.sigmas]
        if shown != sorted(set(shown)):
            raise SpecError(f"sigmas: got {list(self.sigmas)}, expected numbers that rise, distinct in six digits.")
        for name, least in (("images", 2), ("probed", 2), ("probes", 1), ("samples", 0), ("steps", 1)):
            if getattr(self, name) < least:
                raise SpecError(f"{name}: got {getattr(self, name)}, expected at least {least}.")
        if unknown := [name for name in self.baselines if name not in BASELINES]:
            raise SpecError(f"baselines: got {unknown}, expected some of {', '.join(BASELINES)}.")


# More images and probes, for narrower intervals at about three times the cost.
THOROUGH = {"images": 500, "probed": 100, "probes": 4}
