"""The protocol of a comparison, for programs and in words."""

from __future__ import annotations

from tfrecsession.batches import Data
from tfrecsession.sessions.spans import parse_span

UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
VERSION = 1  # raised when the same data and model would get other numbers: kept results of an earlier one are redone

RULES = {
    "task": "After every event of a session that has a successor, the next item is predicted from the session so far.",
    "ranking": "The whole catalogue is ranked at every event; nothing is sampled, and items of the session stay in.",
    "ties": "Ties count against the model: the rank is the number of items that score at least as high as the target.",
    "unknown": "A target that training never saw counts as a miss.",
    "intervals": "Intervals hold 95% of a bootstrap over test sessions. They say how far the scores would move with "
    "other sessions of the same log, not with another seed.",
    "tests": "Each model is tested against the best one, paired on the same sessions; p-values are corrected for the "
    "number of tests (Holm).",
    "time": "Fitting time is the wall time of the fit alone. Evaluation speed is test events ranked per second. "
    "Latency is that of one call of recommend() for one session in Python, strings in and strings out.",
    "memory": "Memory is the growth of the process's resident memory at its peak, while the model was built and "
    "fitted, and while it was loaded and evaluated. What all models need alike (TensorFlow, the data, room for scores) "
    "was there before.",
    "size": "Size is that of the saved model (.keras), item names included.",
}


def headline(k) -> int:
    """The length of list that summaries and slices speak of: the longest."""
    return max(k)


def protocol(data: Data, k, split: str = "test") -> dict:
    """What was measured and how, as `results.json` keeps it."""
    sessions = getattr(data, split)
    return {
        "version": VERSION,
        "split": split,
        "k": list(k),
        "headline_k": headline(k),
        "catalogue": len(data.items),
        "sessions": len(sessions),
        "events": sessions.scored_events,
        "ties": "against the model",
        "rules": RULES,
        "filters": filters(data.info),
    }


def dataset(data: Data) -> dict:
    """The data's description, as `results.json` keeps it."""
    info = data.info
    if data.path is not None:
        from tfrecsession.sessions.describe import describe

        info = describe(data.path)
    names = ("source", "fingerprint", "items", "splits", "options", "steps", "notes", "lengths", "popularity", "shop")
    return {name: info[name] for name in names if name in info}


def filters(info: dict) -> list[str]:
    """How `prepare` made the data set, a sentence for each thing it did."""
    options = info.get("options") or {}
    said = []
    if options.get("gap"):
        said.append(f"Sessions were cut where a user was idle for {_span(options['gap'])}.")
    if not options.get("keep_duplicates"):
        said.append("Rows equal in all parts were counted once.")
    said.append(
        "Of consecutive events on one item, one was kept."
        if options.get("drop_repeats")
        else "Consecutive events on one item were kept."
    )
    support, length = options.get("min_item_support") or 1, options.get("min_session_length") or 1
    dropped = [f"items with fewer than {support} events"] * (support > 1)
    dropped += [f"sessions shorter than {length}"] * (length > 1)
    if dropped:
        how = "" if len(dropped) == 1 else ", in one pass" if options.get("one_pass") else ", until neither was left"
        said.append(f"{' and '.join(dropped).capitalize()} were dropped{how}.")
    said += _split(options)
    return said


def _split(options: dict) -> list[str]:
    said = []
    if options.get("test_input"):
        said.append(f"The test split was given ({options['test_input']}).")
    elif options.get("test_span"):
        when = "end" if options.get("split_by") == "end" else "start"
        said.append(f"Test holds the sessions that {when} in the last {_one(options['test_span'])} of the log.")
    validation = options.get("validation_span")
    if validation and not parse_span(validation, "--validation-span").empty:
        said.append(f"Validation is the {_one(validation)} before it; no model was fitted to either.")
    if options.get("unknown_items") == "drop":
        said.append("Items that training never saw were dropped from test, then sessions that became too short.")
    elif options.get("unknown_items") == "keep":
        said.append("Items that training never saw were kept in test.")
    return said


def _span(text: str) -> str:
    """ "1d" -> "1 day", "12h" -> "12 hours", "10%" -> "10%"."""
    number, unit = text[:-1].strip(), UNITS.get(text[-1])
    if unit is None:
        return text
    return f"{number} {unit}{'' if number == '1' else 's'}"


def _one(text: str) -> str:
    """ "1d" -> "day": what stands after "the last"."""
    return _span(text).removeprefix("1 ")
