"""Bytes, tables and folders in and out, whole or not at all."""
