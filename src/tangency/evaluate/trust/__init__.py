"""How far scores and tangent spaces can be believed."""
