"""Do the input gradients of an image classifier lie along the data manifold, and why (not)?"""
