"""Simulation of one scenario, once: results, manifest, warnings, trace, bench."""
