"""Attention layers over packed rows of sessions."""
