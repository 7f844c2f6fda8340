"""What gradients can do: generation, denoising, inpainting, super-resolution, counterfactuals, and judges of them."""
