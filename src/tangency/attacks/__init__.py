"""Worst-case perturbations, one budget per image."""

from tangency.attacks.balls import NORMS
from tangency.attacks.pags import pags_pgd
from tangency.attacks.pgd import Attack, pgd

__all__ = ["NORMS", "Attack", "pags_pgd", "pgd"]
