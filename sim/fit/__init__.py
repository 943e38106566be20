"""Market data to fragments of scenarios."""
