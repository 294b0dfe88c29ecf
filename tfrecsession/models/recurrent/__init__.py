"""Recurrent session networks."""
