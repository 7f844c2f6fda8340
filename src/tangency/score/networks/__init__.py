"""Scores that are networks: ours, those of diffusers and of k-diffusion."""
