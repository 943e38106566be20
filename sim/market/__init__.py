"""Market formulas whose numbers are the same on every machine."""
