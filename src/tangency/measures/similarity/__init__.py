"""How much a gradient looks like a target."""
