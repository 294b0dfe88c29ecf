"""Readers of file formats: one function per format, from a path to a table."""
