"""Rules for the defaults of session neighbours that follow the log, chosen by `benchmarks/defaults.py`."""

from __future__ import annotations

LONG = 5.0  # mean events of a session from which sessions are long
HISTORY = 20.0  # from which a session without times is a user's history: near and far events count
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
    """Chooses 100 neighbours where sessions are very long: a few share more items with a session than many."""
    few = log.session_length >= (HISTORY if log.days is None else VERY_LONG)
    return (100, log.length_in_words) if few else None


def by_order(timed=None, untimed=None, history=None):
    """Returns a rule for logs of long sessions; None: the fixed default.

    Args:
        timed: the choice for a log with times, whose order is known.
        untimed: for a log without them.
        history: for a log without them whose sessions are users' histories; None: `untimed`.
    """

    def rule(log, given):
        if log.session_length < LONG:
            return None
        is_history = history is not None and log.session_length >= HISTORY
        choice = timed if log.days is not None else history if is_history else untimed
        times = "no times" if log.days is None else "times"
        return None if choice is None else (choice, f"{log.length_in_words}, and the log has {times}")

    return rule


def session_decay(log, given):
    """Chooses a day where items go stale, and no decay where the catalogue stays."""
    if log.days is None or LASTING < log.turnover < STALE:
        return None
    newest = f"the older half of the log lacks the items of {log.turnover:.0%} of the newest events"
    return (None, f"items last: {newest}") if log.turnover <= LASTING else (1.0, f"items go stale: {newest}")
