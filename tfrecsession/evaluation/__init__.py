"""Exact evaluation and what to hold its numbers against."""

from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.ranking import Evaluation, evaluate, metrics_of

__all__ = ["Evaluation", "ceiling", "chance", "evaluate", "metrics_of"]
