"""Recipes and runs."""

from tfrecsession.training.recipe import build, settings_of
from tfrecsession.training.run import fit, open_run, train

__all__ = ["build", "fit", "open_run", "settings_of", "train"]
