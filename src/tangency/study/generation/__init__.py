"""The entries of `generate:` in a study: their plan, their pictures on disk, and their part of the summary."""
