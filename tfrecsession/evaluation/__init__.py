"""Exact evaluation, confidence intervals, reference scores, significance tests, model comparison and tuning."""

from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.comparison import compare
from tfrecsession.evaluation.held_out_users import HeldOutUsers, UserEvaluation, evaluate_users, hold_out_users
from tfrecsession.evaluation.measures import Evaluation, measure, metrics_of
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.ratings import Ratings, RatingScores, evaluate_ratings, random_folds
from tfrecsession.evaluation.report import draw_attention, read_results, write_report
from tfrecsession.evaluation.significance import PairedTest, holm, paired
from tfrecsession.evaluation.slices import slicings
from tfrecsession.evaluation.tuning import Tuning, tune

__all__ = [
    "Evaluation",
    "HeldOutUsers",
    "PairedTest",
    "RatingScores",
    "Ratings",
    "Tuning",
    "UserEvaluation",
    "ceiling",
    "chance",
    "compare",
    "draw_attention",
    "evaluate",
    "evaluate_ratings",
    "evaluate_users",
    "hold_out_users",
    "holm",
    "measure",
    "metrics_of",
    "paired",
    "random_folds",
    "read_results",
    "slicings",
    "tune",
    "write_report",
]
