"""Built-in batch files."""
