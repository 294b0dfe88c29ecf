"""Training: recipes, runs, checkpoints, callbacks and workers."""

from tfrecsession.training.checkpoint import Checkpoint
from tfrecsession.training.cluster import strategy
from tfrecsession.training.csv_log import CSVLog
from tfrecsession.training.decay import LinearDecay
from tfrecsession.training.growing import grow
from tfrecsession.training.progress import Progress
from tfrecsession.training.recipe import build, log_defaults, settings_of, space_of
from tfrecsession.training.run import fit, open_run, train
from tfrecsession.training.tensorboard import TensorBoard
from tfrecsession.training.workers import fit_in_step

__all__ = [
    "CSVLog",
    "Checkpoint",
    "LinearDecay",
    "Progress",
    "TensorBoard",
    "build",
    "fit",
    "fit_in_step",
    "grow",
    "log_defaults",
    "open_run",
    "settings_of",
    "space_of",
    "strategy",
    "train",
]
