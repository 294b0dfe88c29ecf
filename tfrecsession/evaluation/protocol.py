"""The protocol of a comparison, as data and in words."""

from __future__ import annotations

from tfrecsession.batches import Data
from tfrecsession.evaluation.compared_runs import scored_events
from tfrecsession.sessions.leaks import split_and_leaks
from tfrecsession.sessions.spans import parse_span

UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
VERSION = 1  # raised when the same data and model would get other numbers; older results are recomputed

RULES = {
    "task": "At every event but the last of a session, the next item is predicted from the events so far.",
    "ranking": "The whole catalogue is ranked at every event. Candidates are not sampled, and items of the session are "
    "not excluded.",
    "ties": "Ties count against the model: the rank is the number of items that score at least as high as the target.",
    "unknown": "A target not seen in training counts as a miss.",
    "intervals": "Intervals are 95% bootstrap intervals over test sessions. They show how much the scores would vary "
    "with other sessions of the same log, not with another seed.",
    "tests": "Each model is compared with the best one in a paired test on the same sessions. p-values are "
    "corrected for the number of tests (Holm).",
    "time": "Fitting time is the wall time of the fit alone. Evaluation speed is the number of test events ranked per "
    "second. Latency is the time of one recommend() call in Python for one session, with item ids as strings.",
    "memory": "Memory is the peak growth of the process's resident memory, measured once for building and fitting the "
    "model and once for loading and evaluating it. What all models share (TensorFlow, the data, score buffers) is "
    "excluded.",
    "size": "Size is the size of the saved model (.keras), including item names.",
}


def headline(k) -> int:
    """Returns the list length (k) used in summaries and slices: the longest."""
    return max(k)


def protocol(data: Data, k, split: str = "test", events: list[str] | None = None) -> dict:
    """Returns what was measured and how, as stored in `results.json`; `events`: the event types that are scored."""
    sessions = getattr(data, split)
    of_types = {}
    if events is not None:
        types = " or ".join(events)
        of_types = {"targets": f"Only events of the type {types} are predicted. All events are input."}
    return {
        "version": VERSION,
        "split": split,
        "k": list(k),
        "headline_k": headline(k),
        "catalogue": len(data.items),
        "sessions": len(sessions),
        "events": scored_events(data, events) if split == "test" else sessions.scored_events,
        **({} if events is None else {"event_types": events}),
        "ties": "against the model",
        "hold_out": split_and_leaks(data.info),
        "rules": {**RULES, **of_types},
        "filters": filters(data.info),
    }


def dataset(data: Data) -> dict:
    """Returns the description of the data, as stored in `results.json`."""
    info = data.info
    if data.path is not None:
        from tfrecsession.sessions.describe import describe

        info = describe(data.path)
    names = ("source", "fingerprint", "items", "splits", "options", "steps", "notes", "lengths", "popularity", "shop")
    return {name: info[name] for name in names if name in info}


def filters(info: dict) -> list[str]:
    """Returns how `prepare` made the data set, one sentence per step."""
    options = info.get("options") or {}
    sentences = []
    if options.get("gap"):
        sentences.append(f"Sessions were cut where a user was idle for {_span(options['gap'])}.")
    if not options.get("keep_duplicates"):
        sentences.append("Exact duplicate rows were removed.")
    sentences.append(
        "Consecutive events on one item were reduced to one."
        if options.get("drop_repeats")
        else "Consecutive events on one item were kept."
    )
    support, length = options.get("min_item_support") or 1, options.get("min_session_length") or 1
    dropped = [f"items with fewer than {support} events"] * (support > 1)
    dropped += [f"sessions shorter than {length}"] * (length > 1)
    if dropped:
        passes = ", in one pass" if options.get("one_pass") else " repeatedly, until none remained"
        how = passes if len(dropped) > 1 else ""
        sentences.append(f"{' and '.join(dropped).capitalize()} were dropped{how}.")
    sentences += _split(options)
    found = split_and_leaks(info)
    return [*sentences, found["leaks"]] if found else sentences


def _split(options: dict) -> list[str]:
    sentences = []
    validation = options.get("validation_span")
    if options.get("hold_out") == "users":
        sentences.append(
            f"The test split holds all sessions of {_span(options['test_span'])} of the users. The validation split "
            f"holds those of another {_span(validation)}. No model was fitted to either."
            if not parse_span(validation, "validation_span").empty
            else f"The test split holds all sessions of {_span(options['test_span'])} of the users."
        )
    elif options.get("hold_out") == "last-session":
        one_before = " The validation split holds the one before it of users with three and more." * (not validation)
        sentences.append(f"The test split holds the last session of each user with two and more.{one_before}")
    elif options.get("test_input"):
        sentences.append(f"The test split was given ({options['test_input']}).")
    elif options.get("test_span"):
        when = "end" if options.get("split_by") == "end" else "start"
        span = _span_after_the(options["test_span"])
        sentences.append(f"The test split holds the sessions that {when} in the last {span} of the log.")
    if validation and not options.get("hold_out") and not parse_span(validation, "validation_span").empty:
        span = _span_after_the(validation)
        sentences.append(f"The validation split is the {span} before it. No model was fitted to either.")
    if options.get("unknown_items") == "drop":
        sentences.append("Items not seen in training were dropped from test, then sessions that became too short.")
    elif options.get("unknown_items") == "keep":
        sentences.append("Items not seen in training were kept in test.")
    return sentences


def _span(text: str) -> str:
    """Formats a span: "1d" -> "1 day", "12h" -> "12 hours", "10%" -> "10%"."""
    number, unit = text[:-1].strip(), UNITS.get(text[-1])
    if unit is None:
        return text
    return f"{number} {unit}{'' if number == '1' else 's'}"


def _span_after_the(text: str) -> str:
    """Formats a span to follow "the" or "the last": "1d" -> "day", "12h" -> "12 hours"."""
    return _span(text).removeprefix("1 ")
