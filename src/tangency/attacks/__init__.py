"""Worst-case perturbations, one budget per image."""

from tangency.attacks.autoattack import autoattack
from tangency.attacks.balls import NORMS
from tangency.attacks.masking import Fall, masking_check, success_falls
from tangency.attacks.pags import pags_pgd
from tangency.attacks.pgd import Attack, Threat, pgd
from tangency.attacks.restarts import Strongest, pgd_restarts

__all__ = [
    "NORMS",
    "Attack",
    "Fall",
    "Strongest",
    "Threat",
    "autoattack",
    "masking_check",
    "pags_pgd",
    "pgd",
    "pgd_restarts",
    "success_falls",
]
