"""The tasks of generation: their options, how each is performed, and what it is performed with."""
