"""Integer counts to probabilities with errors."""
