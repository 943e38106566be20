"""Fits of market data, which become fragments of scenarios."""
