"""Session neighbours: k nearest past sessions."""
