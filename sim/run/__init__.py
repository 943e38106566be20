"""One scenario, simulated once: manifest, warnings, results, trace, bench."""
