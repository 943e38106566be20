"""Option chain to book, levels and scenario."""
