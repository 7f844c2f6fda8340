"""Rows of a study to summary.json: numbers, regimes, the headline."""
