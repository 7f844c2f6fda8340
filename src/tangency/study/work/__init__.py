"""The work of a study: its tasks, what a process needs for them, and the same as jobs of an engine."""
