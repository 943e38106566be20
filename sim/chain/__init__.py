"""Dealers' book, gamma levels and scenario of an option chain."""
