"""Readers of file formats: one function a format, from a path to a table."""
