"""Engines: each turns (plan, seed, range of paths) into the same integer counts."""
