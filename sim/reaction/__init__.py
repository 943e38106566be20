"""The clearing map and its look-up tables."""
