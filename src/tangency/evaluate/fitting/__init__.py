"""Scores and tangent spaces that are fitted to a data set."""
