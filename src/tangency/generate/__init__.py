"""What gradients can do: generation, denoising, inpainting, super-resolution, counterfactuals, and judges of them."""

from tangency.generate.conditional import Conditional, pixel_mixture
from tangency.generate.constraints import Ball, Both, Box, Consistent, free
from tangency.generate.counterfactuals import Counterfactual, counterfactual
from tangency.generate.energy import JointLogits, energy_denoise
from tangency.generate.engine import Ascent, Plan, ascend
from tangency.generate.fidelity import psnr
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
from tangency.generate.reference import ConsistentScore, Drawn, generate_by_score, restore_by_score
from tangency.generate.seeds import class_seed, noise_seed
from tangency.generate.steps import AdamStep, GradientStep, NormalisedStep
from tangency.generate.tasks import (
    LABELS,
    RULES,
    Climb,
    Restored,
    default_radius,
    denoise,
    first_guess,
    restore,
    sketch,
    towards,
    visualise,
)
from tangency.generate.units import unit_objective

__all__ = [
    "LABELS",
    "MASKS",
    "OBJECTIVES",
    "RULES",
    "AdamStep",
    "Ascent",
    "AveragePool",
    "Ball",
    "Both",
    "Box",
    "ClassObjective",
    "Climb",
    "Conditional",
    "Consistent",
    "ConsistentScore",
    "Counterfactual",
    "Drawn",
    "GradientStep",
    "JointLogits",
    "Mask",
    "NormalisedStep",
    "Plan",
    "Restored",
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
