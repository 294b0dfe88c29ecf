"""Whether one model is better than another, on the same events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Group, averages, blocks
from tfrecsession.evaluation.measures import Evaluation, event_values, fingerprint

CELLS = 1 << 24  # signs held at once
LEAST = 1e-9  # differences of a session that are the same but for rounding


@dataclass(frozen=True)
class PairedTest:
    """The difference of two models' scores.

    Attributes:
        metric: its name.
        difference: of the means, a - b; above 0 where a is better.
        interval: [low, high], its 95% percentile bootstrap over sessions; None where there is but one session.
        p_value: two-sided, of the hypothesis that neither is better: how often a difference as large comes about where
            each session's two results are swapped by the toss of a coin. From 1 / (flips + 1) to 1.
        events, sessions: how many were compared.
    """

    metric: str
    difference: float
    interval: list[float] | None
    p_value: float
    events: int
    sessions: int


def paired(
    a: Evaluation,
    b: Evaluation,
    sessions: Sessions,
    metric: str = "mrr@20",
    *,
    draws: int = 1000,
    flips: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """Compare two evaluations of the same events, session by session.

    The interval draws the same sessions as the intervals of `evaluate` under the same seed. The p-value is that of
    the paired randomization test (Smucker, Allan, Carterette, "A comparison of statistical significance tests for
    information retrieval evaluation", CIKM 2007): whole sessions are swapped, since their events go together.

    Args:
        a, b: evaluations of `sessions`.
        sessions: the split that both were evaluated on.
        metric: "recall@k", "mrr@k", "ndcg@k"; "precision@k" and "map@k" where both have lists.
        draws, flips: of the bootstrap, of the randomization. Cost: sessions times these.
        seed: of both.

    Raises:
        InputError: the evaluations are of different events, or not of `sessions`, or the metric cannot be had.
    """
    for name, scored in (("a", a), ("b", b)):
        if scored.ranks is None:
            raise InputError(f"{name} has no ranks of single events: it is an expectation, not an evaluation")
        if scored.fingerprint != fingerprint(sessions):
            raise InputError(
                f"{name} was not evaluated on these sessions (the {sessions.role} split): evaluate it again"
            )
    if not np.array_equal(a.event, b.event):
        raise InputError(f"a and b are of different events ({a.events:,} and {b.events:,}): evaluate both alike")
    of_a, of_b = (event_values(sessions, each.event, each.ranks, each.lists, [metric]) for each in (a, b))
    session = np.searchsorted(sessions.offsets, a.event, side="right") - 1

    def differences(some: slice) -> np.ndarray:
        return of_a(some) - of_b(some)

    (all_of_them,) = averages(session, differences, [Group(np.zeros(len(session), np.int8), 1, [0])], draws, seed)
    low, high = float(all_of_them.low[0, 0]), float(all_of_them.high[0, 0])
    by_session = []
    for first, last, some in blocks(session):
        own = session[some]
        own = np.cumsum(np.diff(own, prepend=own[:1]) > 0)
        by_session.append(np.bincount(own, differences(some)[:, 0], minlength=last - first))
    return PairedTest(
        metric,
        float(all_of_them.mean[0, 0]),
        None if np.isnan(low) else [low, high],
        sign_flip_p(np.concatenate(by_session), flips, seed),
        len(session),
        int(all_of_them.sessions[0]),
    )


def sign_flip_p(differences: np.ndarray, flips: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value of a sum of differences under random signs: the share of `flips` draws, the observed one
    counted among them, whose absolute sum is at least the observed one's.

    Examples:
        >>> sign_flip_p(np.zeros(100))
        1.0
        >>> sign_flip_p(np.ones(20)) < 0.001
        True
    """
    differences = differences[np.abs(differences) > LEAST]  # the others are 0 under any sign
    observed = abs(differences.sum())
    rng = np.random.default_rng(seed)
    sums = np.full(flips, -differences.sum())
    some = max(8, CELLS // max(flips, 1) // 8 * 8)
    for first in range(0, len(differences), some):
        here = differences[first : first + some]
        bits = np.unpackbits(rng.integers(0, 256, (flips, -(-len(here) // 8)), dtype=np.uint8), axis=1)
        sums += bits[:, : len(here)].astype(np.float32) @ (2 * here).astype(np.float32)
    as_large = np.abs(sums) >= observed - (LEAST + 1e-6 * np.abs(differences).sum())
    return float((1 + np.count_nonzero(as_large)) / (1 + flips))


def holm(p_values) -> np.ndarray:
    """p-values of m comparisons, adjusted so that the chance of any false finding among them is held (Holm 1979).

    The i-th smallest is multiplied by m - i + 1, and none is smaller than one before it. float64, in the order given.

    Examples:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    steps = np.minimum(p_values[order] * np.arange(len(p_values), 0, -1), 1.0)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted
