"""Exact evaluation and what to hold its numbers against."""

from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.ranking import Evaluation, evaluate, metrics_of
from tfrecsession.evaluation.tuning import Tuning, tune

__all__ = ["Evaluation", "Tuning", "ceiling", "chance", "evaluate", "metrics_of", "tune"]
