"""Answers found another way."""
