"""The tasks of generation, one module each: what a task can be asked for, how it is performed, and with what."""
