"""Scores in closed form: of a Gaussian, of a mixture, of a finite set of images."""
