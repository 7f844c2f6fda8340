"""Ratios against the obvious implementation and against peers, both timed in one run."""
