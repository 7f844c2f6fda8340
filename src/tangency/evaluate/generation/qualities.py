"""What the numbers of pictures mean: unit, direction, description and chance level."""

from __future__ import annotations

from dataclasses import dataclass

KID = "kid"
FRECHET = ("frechet_judge", "frechet_alexnet")  # of the judge's features, and of LPIPS' where there is no judge
COUNTED = ("stalled", "diverged", "stopped", "reached")  # columns that are counted, not averaged


@dataclass(frozen=True)
class Quality:
    """What a number means: its unit, which way is better (or neither), and in words."""

    unit: str
    better: str
    words: str


ABOUT: dict[str, Quality] = {
    "psnr": Quality("dB", "higher", "peak signal-to-noise ratio against the truth"),
    "psnr_gain": Quality("dB", "higher", "PSNR less that of the input, of the same image; 0 for doing nothing"),
    "ssim": Quality("", "higher", "structural similarity to the truth, 1 for equal"),
    "lpips": Quality("", "lower", "perceptual distance (LPIPS-Alex) to the truth, 0 for equal"),
    "direction_cosine": Quality("", "higher", "cosine of what was changed with what should have been; 0 for chance"),
    "judge_accuracy": Quality("", "higher", "share that a held-out classifier puts into the class that was meant"),
    "judge_confidence": Quality("", "higher", "its probability of that class"),
    "own_confidence": Quality("", "neither", "the same of the classifier whose gradients were followed: no judge"),
    "mixture_accuracy": Quality("", "higher", "share that the Bayes rule of the mixture puts into that class"),
    "log_density": Quality("nats", "higher", "log density under the mixture of all classes"),
    "nearest_distance": Quality("l2", "neither", "distance to the nearest training image; 0 is a copy"),
    "diversity": Quality(
        "l2", "neither", "mean distance to the other pictures of the class; read it against real ones"
    ),
    "among_real": Quality("", "higher", "precision: share that lies among the real images in feature space"),
    "distance": Quality("l2", "lower", "distance from the image that was started from"),
    "evaluations": Quality("passes", "lower", "passes of a network for an image"),
    "assumed_sigma": Quality("", "neither", "noise level that was assumed"),
    "activation": Quality("", "higher", "mean activation of the unit"),
}


def chance(measure: str, classes: int) -> float | None:
    """What a measure gives by chance, where that means something."""
    level = {"judge_accuracy": 1 / classes, "mixture_accuracy": 1 / classes, "direction_cosine": 0.0, "psnr_gain": 0.0}
    return level.get(measure)
