"""Similarity of pictures to a network that sees them: LPIPS and others."""

from tangency.perceptual.lpips import LPIPS

__all__ = ["LPIPS"]
