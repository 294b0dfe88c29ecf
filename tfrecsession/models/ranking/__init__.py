"""Rankers of candidate lists, and models of two stages."""
