"""Comparisons of the simulation with answers found in other ways."""
