"""The defaults of `ALS` that follow the log, for implicit feedback; those of ratings are fixed.

Chosen by `benchmarks/defaults.py`. The papers' fixed weights (0.1 and 0.003 with exponent 1) are those of long user
histories; in short sessions the unobserved items would outweigh the few that a session has.
"""

from __future__ import annotations

OUTWEIGHED = 2.0  # weight of all unobserved items of a session against that of its events
LOWEST = 0.001
REPEATS = 0.1  # share of repeats from which sessions repeat items
LONG = 20.0  # mean events of a session from which sessions are long
NEWEST = 5  # events that count where the next item depends on the newest


def _of_implicit(rule):
    """Returns the rule without a choice for explicit ratings."""
    return lambda log, given: None if given.get("explicit") else rule(log)


def _unobserved_weight(log):
    weight = min(max(OUTWEIGHED * log.session_length / log.items, LOWEST), 1.0)
    return float(f"{weight:.2g}"), f"a session has {log.session_length:.1f} events, of {log.items:,} items"


def _regularization(log):
    """Chooses less where sessions repeat items, which their vectors then have to remember, more where they are long."""
    if log.repeats < REPEATS and log.session_length >= LONG:
        return 1.0, f"{log.length_in_words}, which it does not repeat"
    return 0.1 if log.repeats >= REPEATS else 0.3, f"sessions repeat an item in {log.repeats:.0%} of their later events"


def _exponent(log):
    return 0.3, f"an item has {log.events_per_item:.1f} events on average"


def _window(log):
    """Folds in the newest events alone where the next item depends on them."""
    return (NEWEST, log.order_in_words) if log.is_ordered else None


LOG_DEFAULTS = {
    "unobserved_weight": _of_implicit(_unobserved_weight),
    "regularization": _of_implicit(_regularization),
    "exponent": _of_implicit(_exponent),
    "window": _of_implicit(_window),
}
