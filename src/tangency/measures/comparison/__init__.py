"""What gradients are compared with: tangent spaces, scores and controls of each image, made once."""
