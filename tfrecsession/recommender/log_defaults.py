"""Defaults that follow the log. A model class declares them by setting, as functions of the log's statistics:

    log_defaults = {
        "unobserved_weight": lambda log: (0.01, f"a session has {log.session_length:.1f} events on average"),
    }

Such a function returns the value and the reason, or None where the fixed default is right for the log.
"""

from __future__ import annotations

from tfrecsession.sessions.statistics import Statistics


def following(model: type, log: Statistics, given=()) -> dict[str, dict]:
    """Returns setting -> {"value", "because"}: the defaults of a model class that follow the log.

    Args:
        model: the class.
        log: the statistics of the training split.
        given: settings whose values are given, which win over the log.
    """
    rules = {name: rule for name, rule in model.log_defaults.items() if name not in given}
    chosen = {name: rule(log) for name, rule in rules.items()} if log.events else {}
    return {name: {"value": choice[0], "because": choice[1]} for name, choice in chosen.items() if choice is not None}
