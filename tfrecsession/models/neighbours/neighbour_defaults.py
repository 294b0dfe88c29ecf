"""Rules for the defaults of session neighbours that follow the log, chosen by `benchmarks/defaults.py`."""

from __future__ import annotations

LONG = 5.0  # mean events of a session from which sessions are long
VERY_LONG = 50.0  # from which a few neighbours share more items with a session than many
NEWEST = 5  # events that are compared where the next item depends on the newest
STALE = 0.3  # turnover from which items live shorter than the log is long, as news do
LASTING = 0.05  # turnover up to which the catalogue stays


def by_length(long, short=None, shuffled=None):
    """Returns a rule that chooses `long` for logs of long sessions, and `short` for others; None: the fixed default.

    Where the order of long sessions says nothing, it chooses `shuffled`, if there is one: all events count then.
    """

    def rule(log, given):
        if shuffled is not None and log.session_length >= LONG and log.is_shuffled:
            return shuffled, f"{log.length_in_words}, and {log.order_in_words}"
        choice = long if log.session_length >= LONG else short
        return None if choice is None else (choice, log.length_in_words)

    return rule


def newest_events(log, given):
    """Compares the newest 5 events alone where the next item depends on them."""
    return (NEWEST, log.order_in_words) if log.is_ordered else None


def fewer_neighbours(log, given):
    """Chooses 100 neighbours where sessions are very long."""
    very_long = log.session_length >= VERY_LONG
    return (100, log.length_in_words) if very_long else None


def by_order(timed, untimed):
    """Returns a rule for logs of long sessions: `timed` where the log has times, else `untimed`."""

    def rule(log, given):
        if log.session_length < LONG:
            return None
        times = "no times" if log.days is None else "times"
        return (untimed if log.days is None else timed), f"{log.length_in_words}, and the log has {times}"

    return rule


def session_decay(log, given):
    """Chooses a day where items go stale, and no decay where the catalogue stays."""
    if log.days is None or LASTING < log.turnover < STALE:
        return None
    newest = f"the older half of the log lacks the items of {log.turnover:.0%} of the newest events"
    return (None, f"items last: {newest}") if log.turnover <= LASTING else (1.0, f"items go stale: {newest}")
