"""Autoencoders as estimators: the network, its files, and the tangent spaces of its decoder."""
