"""Which differences between models are more than the luck of these sessions."""

from __future__ import annotations

from tfrecsession.batches import Sessions
from tfrecsession.evaluation import ranking

METRICS = ("recall", "mrr", "ndcg")


def against_the_best(scored: dict[str, ranking.Evaluation], sessions: Sessions, k: int) -> list[dict]:
    """Every model against the best one, in Recall, MRR and NDCG at k.

    Args:
        scored: label -> evaluation, all on the events of `sessions`.
        sessions: the split they were evaluated on.
        k: the length of list.

    Returns:
        A dict per metric and model that is not the best in it: `metric`, `best`, `model`, `difference` (model less
        best), its 95% `interval`, `p`, and `p_holm`, corrected for the number of models it was tested on.
    """
    paired = getattr(ranking, "paired", None)
    if paired is None:
        return []
    found = []
    for metric in (f"{name}@{k}" for name in METRICS):
        best = max(scored, key=lambda label: scored[label].metrics[metric])
        others = [label for label in scored if label != best]
        tests = [paired(scored[label], scored[best], sessions, metric) for label in others]
        for label, test, corrected in zip(others, tests, holm([test.p for test in tests]), strict=True):
            found.append(
                {
                    "metric": metric,
                    "best": best,
                    "model": label,
                    "difference": float(test.difference),
                    "interval": [float(bound) for bound in test.interval],
                    "p": float(test.p),
                    "p_holm": corrected,
                }
            )
    return found


def holm(p: list[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in the order given.

    The j-th smallest of m values becomes the largest of (m - i + 1) p_i over i = 1 .. j, and at most 1.
    """
    corrected, least = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, (len(p) - rank) * float(p[place])))
        corrected[place] = least
    return corrected
