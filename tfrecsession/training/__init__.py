"""Recipes and runs."""

from tfrecsession.training.checkpoint import Checkpoint
from tfrecsession.training.decay import LinearDecay
from tfrecsession.training.recipe import build, settings_of, space_of
from tfrecsession.training.run import fit, open_run, train

__all__ = ["Checkpoint", "LinearDecay", "build", "fit", "open_run", "settings_of", "space_of", "train"]
