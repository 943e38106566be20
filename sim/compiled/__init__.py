"""Kernels' numbers and sources, and the native library."""
