"""Baselines without personal signal: popularity and chance."""
