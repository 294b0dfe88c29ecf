"""Exact evaluation, confidence intervals, reference scores, significance tests, model comparison and tuning."""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.evaluation.audit_probes import Check
    from tfrecsession.evaluation.auditing import Audit, audit
    from tfrecsession.evaluation.bounds import ceiling, chance
    from tfrecsession.evaluation.comparison import compare
    from tfrecsession.evaluation.held_out_users import HeldOutUsers, UserEvaluation, evaluate_users, hold_out_users
    from tfrecsession.evaluation.measures import Evaluation, measure, metrics_of
    from tfrecsession.evaluation.ranking import evaluate
    from tfrecsession.evaluation.ratings import Ratings, RatingScores, evaluate_ratings, random_folds
    from tfrecsession.evaluation.report import draw_attention, read_results, write_report
    from tfrecsession.evaluation.search.best_model import best
    from tfrecsession.evaluation.significance import PairedTest, holm, paired
    from tfrecsession.evaluation.slices import slicings
    from tfrecsession.evaluation.tuning import Tuning, tune

_NAMES = {
    "Audit": "auditing",
    "Check": "audit_probes",
    "Evaluation": "measures",
    "HeldOutUsers": "held_out_users",
    "PairedTest": "significance",
    "RatingScores": "ratings",
    "Ratings": "ratings",
    "Tuning": "tuning",
    "UserEvaluation": "held_out_users",
    "audit": "auditing",
    "best": "search.best_model",
    "ceiling": "bounds",
    "chance": "bounds",
    "compare": "comparison",
    "draw_attention": "report",
    "evaluate": "ranking",
    "evaluate_ratings": "ratings",
    "evaluate_users": "held_out_users",
    "hold_out_users": "held_out_users",
    "holm": "significance",
    "measure": "measures",
    "metrics_of": "measures",
    "paired": "significance",
    "random_folds": "ratings",
    "read_results": "report",
    "slicings": "slices",
    "tune": "tuning",
    "write_report": "report",
}
__all__ = [
    "Audit",
    "Check",
    "Evaluation",
    "HeldOutUsers",
    "PairedTest",
    "RatingScores",
    "Ratings",
    "Tuning",
    "UserEvaluation",
    "audit",
    "best",
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
__getattr__, __dir__ = lazy(__name__, _NAMES)
