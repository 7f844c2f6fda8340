"""How alike pictures are to a network that sees them: LPIPS and its kin."""

from tangency.perceptual.lpips import LPIPS

__all__ = ["LPIPS"]
