"""The context that several models read together."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.sessions.context import Context


def joint_context(members) -> Context | None:
    """Returns the context of all members together.

    Raises:
        InputError: two of them read one column in different codes, or have different time zones.
    """
    contexts = [member.context for member in members if member.context is not None]
    if not contexts:
        return None
    itemless = [member.context is not None and member.context.itemless for member in members]
    if any(itemless) and not all(itemless):
        raise InputError(
            f"members[{itemless.index(False)}] does not read events without an item, and "
            f"members[{itemless.index(True)}] does: their sessions have other steps; leave one of them out"
        )
    columns = {}
    for context in contexts:
        for name, column in context.columns.items():
            if columns.setdefault(name, column) != column or context.time_zone != contexts[0].time_zone:
                raise InputError(
                    f"members: two of them read the column {name!r} in different codes or time zones; all members must "
                    "be fitted on one data set"
                )
    sides = (
        dict.fromkeys(name for context in contexts for name in getattr(context, side))
        for side in ("context", "request")
    )
    described = dict.fromkeys(name for context in contexts for name in context.described)
    return Context(columns.values(), *map(tuple, sides), time_zone=contexts[0].time_zone, described=described)
