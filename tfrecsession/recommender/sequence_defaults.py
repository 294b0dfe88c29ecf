"""Rules for the defaults of networks over sessions that follow the log, chosen by `benchmarks/defaults.py`."""

from __future__ import annotations

STEPS = 16  # the fixed default
MOST = 200
CELLS = 1024  # rows * steps of the fixed defaults
REPEATS = 0.3  # share of repeats from which a mixture with the items of the session pays
STALE = 0.3  # turnover from which items live shorter than the log is long, as news do
DAYS = 30.0  # longest log in which stale items live for days, not for seasons
TREND = [0.04, 0.25, 1, 7]  # half-lives in days
LARGEST = 2**24  # ids that this mixture holds


def steps(log, given):
    """Chooses rows of twice the mean session: a longer session is cut, and read from each cut on anew."""
    needed = min(-(-2 * log.session_length // 8) * 8, MOST)
    if needed <= STEPS or given.get("lanes"):  # lanes carry their states from batch to batch
        return None
    return int(needed), log.length_in_words


def rows(log, given):
    """Chooses fewer rows where `steps` are more, so that an epoch has as many updates."""
    longer = None if "steps" in given else steps(log, given)
    return None if longer is None else (max(CELLS // longer[0], 4), f"rows of {longer[0]} events need fewer of them")


def repeats(log, given):
    """Chooses the mixture with the items of the session where many events repeat one, and the loss can learn it."""
    if log.repeats < REPEATS or log.items + 2 > LARGEST:
        return None
    if given.get("loss", "cross_entropy") != "cross_entropy" or given.get("label_smoothing"):
        return None
    return True, f"sessions repeat an item in {log.repeats:.0%} of their later events"


def trend(log, given):
    """Chooses counts of each item's recent events where items go stale."""
    if log.days is None or log.days > DAYS or log.turnover < STALE:
        return None
    return TREND, f"the older half of the log lacks the items of {log.turnover:.0%} of the newest events"
