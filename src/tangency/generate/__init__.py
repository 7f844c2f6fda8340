"""What gradients can do: generation, denoising, inpainting, super-resolution, counterfactuals, and judges of them."""

from tangency.generate.conditional import Conditional, pixel_mixture
from tangency.generate.constraints import BallInBox, Both, Box, Consistent, free
from tangency.generate.counterfactuals import Counterfactual, counterfactual
from tangency.generate.energy import JointLogits, energy_denoise
from tangency.generate.engine import Ascent, Plan, ascend
from tangency.generate.fidelity import noise_cosine, psnr
from tangency.generate.judges import (
    diversity,
    frechet_distance,
    judged,
    last_features,
    nearest_distance,
    neighbour_distance,
    precision_recall,
)
from tangency.generate.masks import MASKS, make_mask
from tangency.generate.noise import estimate_noise
from tangency.generate.objectives import (
    OBJECTIVES,
    ClassObjective,
    WithLikelihood,
    WithoutVariation,
    total_variation,
)
from tangency.generate.operators import AveragePool, Mask
from tangency.generate.reference import ConsistentScore, ScoreSample, generate_by_score, restore_by_score
from tangency.generate.seeds import class_seed, noise_seed
from tangency.generate.steps import AdamStep, GradientStep, NormalisedStep
from tangency.generate.tasks.climb import RULES, Climb, default_radius, towards
from tangency.generate.tasks.denoise import denoise
from tangency.generate.tasks.feature import visualise
from tangency.generate.tasks.options import LABELS
from tangency.generate.tasks.restoration import Restored, first_guess, restore
from tangency.generate.tasks.sketch import sketch
from tangency.generate.units import unit_objective

__all__ = [
    "LABELS",
    "MASKS",
    "OBJECTIVES",
    "RULES",
    "AdamStep",
    "Ascent",
    "AveragePool",
    "BallInBox",
    "Both",
    "Box",
    "ClassObjective",
    "Climb",
    "Conditional",
    "Consistent",
    "ConsistentScore",
    "Counterfactual",
    "GradientStep",
    "JointLogits",
    "Mask",
    "NormalisedStep",
    "Plan",
    "Restored",
    "ScoreSample",
    "WithLikelihood",
    "WithoutVariation",
    "ascend",
    "class_seed",
    "counterfactual",
    "default_radius",
    "denoise",
    "diversity",
    "energy_denoise",
    "estimate_noise",
    "first_guess",
    "frechet_distance",
    "free",
    "generate_by_score",
    "judged",
    "last_features",
    "make_mask",
    "nearest_distance",
    "neighbour_distance",
    "noise_cosine",
    "noise_seed",
    "pixel_mixture",
    "precision_recall",
    "psnr",
    "restore",
    "restore_by_score",
    "sketch",
    "total_variation",
    "towards",
    "unit_objective",
    "visualise",
]
