"""How a data set was split, and what its test split leaks into training."""

from __future__ import annotations

LEAKS = {
    "users": "Training covers the days of the test sessions, so it knows their trends and popular items, but no "
    "session of the test users.",
    "last-session": "Other users' sessions of the same days and later are in training, so it knows the trends and "
    "popular items of the test sessions, but no later session of the same user.",
    "start": "Training has no session that starts after the test split begins; only sessions that cross this border "
    "leak what follows it.",
    "end": "Nothing leaks from the time of the test split: every training session ends before it begins.",
    "order": "The log has no times: nothing leaks if its rows are in the order of time.",
    "given": "The test split was given: what it leaks depends on how it was made.",
}


def split_and_leaks(info: dict) -> dict | None:
    """Returns `{"by", "leaks"}` of a data set's `dataset.json`; None: it does not say how it was split.

    by: "time", "order" (of the rows), "users", "last-session" or "given". leaks: one sentence.
    """
    options = info.get("options") or {}
    if options.get("hold_out"):
        by = options["hold_out"]
    elif options.get("test_input"):
        by = "given"
    elif options.get("test_span"):
        by = "time" if info.get("timed", True) else "order"
    else:
        return None
    return {"by": by, "leaks": LEAKS[options.get("split_by", "start") if by == "time" else by]}
