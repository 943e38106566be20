"""Engines: each turns (plan, seed, range of paths) into the same integer counts, and the same record of each path."""
