"""What robust training minimises: a batch to one loss per image."""

from tangency.objectives.cost import declare
from tangency.objectives.registry import ALIASES, LEGACY, OBJECTIVES, Objective, make

__all__ = ["ALIASES", "LEGACY", "OBJECTIVES", "Objective", "declare", "make"]
