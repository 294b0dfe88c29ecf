"""Defaults that follow the log. A model class declares them by setting, as functions of the log's statistics:

    log_defaults = {
        "recent": lambda log, given: (log.sessions, f"the log has {log.sessions:,} sessions"),
    }

Such a function returns the value and the reason, or None where the fixed default is right for the log. `given` holds
the settings that are given, on which the value may depend.
"""

from __future__ import annotations

from tfrecsession.sessions.statistics import Statistics


def following(model: type, log: Statistics, given: dict | None = None) -> dict[str, dict]:
    """Returns setting -> {"value", "because"}: the defaults of a model class that follow the log.

    Args:
        model: the class.
        log: the statistics of the training split; without events every default is the fixed one.
        given: the settings that are given. They win over the log and are left out.
    """
    given, chosen = given or {}, {}
    for name, rule in model.log_defaults.items():
        if log.events and name not in given and (choice := rule(log, given)) is not None:
            chosen[name] = {"value": choice[0], "because": choice[1]}
    return chosen
