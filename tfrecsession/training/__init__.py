"""Training: recipes, runs, checkpoints, callbacks and workers."""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.training.adding_items import add_items
    from tfrecsession.training.blending import blend
    from tfrecsession.training.checkpoint import Checkpoint
    from tfrecsession.training.cluster import strategy
    from tfrecsession.training.csv_log import CSVLog
    from tfrecsession.training.decay import LinearDecay
    from tfrecsession.training.growing import grow
    from tfrecsession.training.phases import Phases
    from tfrecsession.training.progress import Progress
    from tfrecsession.training.recipe import build, log_defaults, settings_of, space_of
    from tfrecsession.training.refitting import refit_run
    from tfrecsession.training.run import fit, train
    from tfrecsession.training.run_folder import open_run
    from tfrecsession.training.tensorboard import TensorBoard
    from tfrecsession.training.time_limit import TimeLimit
    from tfrecsession.training.two_stages import pipeline
    from tfrecsession.training.workers import fit_in_step

_NAMES = {
    "CSVLog": "csv_log",
    "Checkpoint": "checkpoint",
    "LinearDecay": "decay",
    "Phases": "phases",
    "Progress": "progress",
    "TensorBoard": "tensorboard",
    "TimeLimit": "time_limit",
    "add_items": "adding_items",
    "blend": "blending",
    "build": "recipe",
    "fit": "run",
    "fit_in_step": "workers",
    "grow": "growing",
    "log_defaults": "recipe",
    "open_run": "run_folder",
    "pipeline": "two_stages",
    "refit_run": "refitting",
    "settings_of": "recipe",
    "space_of": "recipe",
    "strategy": "cluster",
    "train": "run",
}
__all__ = [
    "CSVLog",
    "Checkpoint",
    "LinearDecay",
    "Phases",
    "Progress",
    "TensorBoard",
    "TimeLimit",
    "add_items",
    "blend",
    "build",
    "fit",
    "fit_in_step",
    "grow",
    "log_defaults",
    "open_run",
    "pipeline",
    "refit_run",
    "settings_of",
    "space_of",
    "strategy",
    "train",
]
__getattr__, __dir__ = lazy(__name__, _NAMES)
