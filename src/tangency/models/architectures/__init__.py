"""Networks of our own, and those of robustness papers under the names of their weights."""
