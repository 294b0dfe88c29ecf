"""Recipes and runs."""

from tfrecsession.training.cluster import strategy
from tfrecsession.training.decay import LinearDecay
from tfrecsession.training.recipe import build, settings_of, space_of
from tfrecsession.training.run import fit, open_run, train
from tfrecsession.training.workers import fit_in_step

__all__ = ["LinearDecay", "build", "fit", "fit_in_step", "open_run", "settings_of", "space_of", "strategy", "train"]
