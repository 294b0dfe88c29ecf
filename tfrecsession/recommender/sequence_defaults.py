"""Rules for the defaults of networks over sessions that follow the log, chosen by `benchmarks/defaults.py`."""

from __future__ import annotations

STEPS = 16  # the fixed default
MOST = 200
CELLS = 1024  # rows * steps of the fixed defaults


def steps(log, given):
    """Chooses rows of twice the mean session: a longer session is cut, and read from each cut on anew."""
    needed = min(-(-2 * log.session_length // 8) * 8, MOST)
    if needed <= STEPS or given.get("lanes"):  # lanes carry their states from batch to batch
        return None
    return int(needed), log.length_in_words


def rows(log, given):
    """Chooses fewer rows where `steps` are more, so that an epoch has as many updates."""
    longer = None if "steps" in given else steps(log, given)
    return None if longer is None else (max(CELLS // longer[0], 4), f"rows of {longer[0]} events need fewer of them")
