"""Exact evaluation, what to hold its numbers against, and the comparison of models."""

from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.comparison import compare
from tfrecsession.evaluation.ranking import Evaluation, evaluate, metrics_of
from tfrecsession.evaluation.report import read_results, write_report

__all__ = ["Evaluation", "ceiling", "chance", "compare", "evaluate", "metrics_of", "read_results", "write_report"]
