"""Rules for the defaults of networks over sessions that follow the log, chosen by `benchmarks/defaults.py`."""

from __future__ import annotations

STEPS = 16  # the fixed default
MOST = 200


def steps(log, given):
    """Chooses rows of twice the mean session: a longer session is cut, and read from each cut on anew."""
    needed = min(-(-2 * log.session_length // 8) * 8, MOST)
    if needed <= STEPS or given.get("lanes"):  # lanes carry their states from batch to batch
        return None
    return int(needed), log.length_in_words
