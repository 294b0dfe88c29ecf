"""Exact evaluation, how sure its numbers are, and what to hold them against."""

from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.measures import Evaluation, measure, metrics_of
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.significance import PairedTest, holm, paired
from tfrecsession.evaluation.slices import slicings
from tfrecsession.evaluation.tuning import Tuning, tune

__all__ = [
    "Evaluation",
    "PairedTest",
    "Tuning",
    "ceiling",
    "chance",
    "evaluate",
    "holm",
    "measure",
    "metrics_of",
    "paired",
    "slicings",
    "tune",
]
