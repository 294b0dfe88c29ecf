"""Paired significance tests of two models on the same events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.bootstrap import Group, averages, blocks
from tfrecsession.evaluation.measures import Evaluation, event_values, fingerprint

CELLS = 1 << 24  # signs held at once
LEAST = 1e-9  # session differences below this are rounding errors


@dataclass(frozen=True)
class PairedTest:
    """The difference of two models' scores.

    Attributes:
        metric: name of the metric.
        difference: mean of a minus mean of b; above 0 if a is better.
        interval: [low, high], its 95% percentile bootstrap over sessions; None if there is only one session.
        p_value: two-sided, for the hypothesis that neither is better: the share of random swaps of each session's two
            results that give a difference at least as large. From 1 / (flips + 1) to 1.
        events, sessions: number of events and sessions compared.
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
    """Compares two evaluations of the same events, session by session.

    The interval uses the same bootstrap draws as the intervals of `evaluate` with the same seed. The p-value is that of
    the paired randomization test (Smucker, Allan, Carterette, "A comparison of statistical significance tests for
    information retrieval evaluation", CIKM 2007). Whole sessions are swapped, since their events are not independent.

    Args:
        a, b: evaluations of `sessions`.
        sessions: the split that both were evaluated on.
        metric: "recall@k", "mrr@k", "ndcg@k"; "precision@k" and "map@k" if both have lists.
        draws, flips: number of bootstrap draws and of random swaps. The cost is sessions times these.
        seed: seed of both.

    Raises:
        InputError: the evaluations are of different events, or not of `sessions`, or the metric is not available.
    """
    for name, scored in (("a", a), ("b", b)):
        if scored.ranks is None:
            raise InputError(f"{name} has no ranks of single events: must be an evaluation, not an expectation")
        length = metric.partition("@")[2]
        if scored.ranks_to is not None and length.isdecimal() and int(length) > scored.ranks_to:
            raise InputError(
                f"metric={metric!r}: {name} was evaluated for the first {scored.ranks_to} places: evaluate it again "
                f"with k=({length},)"
            )
        if scored.fingerprint != fingerprint(sessions):
            raise InputError(
                f"{name} was not evaluated on these sessions (the {sessions.role} split): evaluate it again"
            )
    if not np.array_equal(a.event, b.event):
        raise InputError(f"a and b are of different events ({a.events:,} and {b.events:,}): evaluate both alike")
    of_a, of_b = (event_values(sessions, each.event, each.ranks, each.lists, [metric]) for each in (a, b))
    session = np.searchsorted(sessions.offsets, a.event, side="right") - 1

    def differences(chunk: slice) -> np.ndarray:
        return of_a(chunk) - of_b(chunk)

    (overall,) = averages(session, differences, [Group(np.zeros(len(session), np.int8), 1, [0])], draws, seed)
    low, high = float(overall.low[0, 0]), float(overall.high[0, 0])
    by_session = []
    for first, last, chunk in blocks(session):
        local = session[chunk]
        local = np.cumsum(np.diff(local, prepend=local[:1]) > 0)  # 0, 1, ... in the block
        by_session.append(np.bincount(local, differences(chunk)[:, 0], minlength=last - first))
    return PairedTest(
        metric,
        float(overall.mean[0, 0]),
        None if np.isnan(low) else [low, high],
        sign_flip_p(np.concatenate(by_session), flips, seed),
        len(session),
        int(overall.sessions[0]),
    )


def sign_flip_p(differences: np.ndarray, flips: int = 10_000, seed: int = 0) -> float:
    """Returns the two-sided p-value of a sum of differences under random signs.

    It is the share of `flips` random draws, plus the observed one, whose absolute sum is at least the observed one.

    Examples:
        >>> sign_flip_p(np.zeros(100))
        1.0
        >>> sign_flip_p(np.ones(20)) < 0.001
        True
    """
    differences = differences[np.abs(differences) > LEAST]  # zeros stay 0 under any sign
    observed = abs(differences.sum())
    rng = np.random.default_rng(seed)
    sums = np.full(flips, -differences.sum())
    block_size = max(8, CELLS // max(flips, 1) // 8 * 8)
    for first in range(0, len(differences), block_size):
        block = differences[first : first + block_size]
        bits = np.unpackbits(rng.integers(0, 256, (flips, -(-len(block) // 8)), dtype=np.uint8), axis=1)
        sums += bits[:, : len(block)].astype(np.float32) @ (2 * block).astype(np.float32)
    as_large = np.abs(sums) >= observed - (LEAST + 1e-6 * np.abs(differences).sum())
    return float((1 + np.count_nonzero(as_large)) / (1 + flips))


def holm(p_values) -> np.ndarray:
    """Adjusts the p-values of m comparisons to control the family-wise error rate (Holm 1979).

    The i-th smallest is multiplied by m - i + 1, and adjusted values never decrease. float64, in the order given.

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
