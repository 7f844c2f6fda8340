"""How far a classifier's output moves: random steps, noise, attacks, smoothing."""
