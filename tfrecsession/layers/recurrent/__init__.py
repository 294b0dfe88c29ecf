"""Recurrent layers over packed rows of sessions."""
