"""Significance tests of every model against the best one."""

from __future__ import annotations

from tfrecsession.batches import Sessions
from tfrecsession.evaluation.measures import Evaluation
from tfrecsession.evaluation.significance import holm, paired

METRICS = ("recall", "mrr", "ndcg")


def against_the_best(scored: dict[str, Evaluation], sessions: Sessions, k: int) -> list[dict]:
    """Tests every model against the best one, in Recall, MRR and NDCG at k.

    Args:
        scored: label -> evaluation on the events of `sessions`.
        sessions: the split that the models were evaluated on.
        k: list length.

    Returns:
        A dict per metric and model, except the best one: `metric`, `best`, `model`, `difference` (model minus best),
        its 95% `interval`, `p`, and `p_holm`, corrected for the number of models tested in this metric.
    """
    found = []
    for metric in (f"{name}@{k}" for name in METRICS):
        best = max(scored, key=lambda label: scored[label].metrics[metric])
        others = [label for label in scored if label != best]
        tests = [paired(scored[label], scored[best], sessions, metric) for label in others]
        for label, test, corrected in zip(others, tests, holm([test.p_value for test in tests]), strict=True):
            found.append(
                {
                    "metric": metric,
                    "best": best,
                    "model": label,
                    "difference": test.difference,
                    "interval": test.interval,
                    "p": test.p_value,
                    "p_holm": float(corrected),
                }
            )
    return found
