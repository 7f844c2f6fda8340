"""What gradients can do: generation, denoising, inpainting, super-resolution, counterfactuals, and judges of them."""

from tangency.generation.conditional import Conditional, pixel_mixture
from tangency.generation.constraints import BallInBox, Both, Box, Consistent, free
from tangency.generation.counterfactuals import Counterfactual, counterfactual
from tangency.generation.energy import JointLogits, energy_denoise
from tangency.generation.engine import Ascent, Plan, ascend
from tangency.generation.fidelity import noise_cosine, psnr
from tangency.generation.judges import (
    diversity,
    frechet_distance,
    judged,
    last_features,
    nearest_distance,
    neighbour_distance,
    precision_recall,
)
from tangency.generation.masks import MASKS, make_mask
from tangency.generation.noise import estimate_noise
from tangency.generation.objectives import (
    OBJECTIVES,
    ClassObjective,
    WithLikelihood,
    WithoutVariation,
    total_variation,
)
from tangency.generation.operators import AveragePool, Mask
from tangency.generation.reference import ConsistentScore, ScoreSample, generate_by_score, restore_by_score
from tangency.generation.seeds import class_seed, noise_seed
from tangency.generation.steps import AdamStep, GradientStep, NormalisedStep
from tangency.generation.tasks.climb import RULES, Climb, default_radius, towards
from tangency.generation.tasks.denoise import denoise
from tangency.generation.tasks.feature import visualise
from tangency.generation.tasks.options import LABELS
from tangency.generation.tasks.restoration import Restored, first_guess, restore
from tangency.generation.tasks.sketch import sketch
from tangency.generation.units import unit_objective

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
