"""Places: what a log knows of each item as a place, for models of location sequences."""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.sessions.context import ContextLog
from tfrecsession.sessions.derived_context import of_numpy, zone_table
from tfrecsession.sessions.vocabulary import Items

AUTO = "auto"
NAMES = {  # argument -> column names that "auto" finds
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "lng"),
    "category": ("category",),
}
EARTH = 6371.0  # km, mean radius
HOURS = 24
LONGEST = 8.0  # hours: a longer gap is no stay; the paper cuts its sequences there
PRIOR = 5.0  # visits that the mean of a place's category, and of the log, counts for
MOST = 1000  # categories with a code of their own
MICROSECONDS = 3.6e9  # of an hour


class Places(NamedTuple):
    """The attributes of each item id as a place; row 0 is padding, row 1 the unknown place.

    Attributes:
        positions: float32 [size, 3], unit vectors from the centre of the earth; zeros where unknown.
        numbers: float32 [size, 26]: stay time and popularity, logarithms with mean 0 and deviation 1; then the
            popularity in each hour of the day, share - share of the whole log, over all events of length 1 (RMS). Zeros
            where unknown.
        hours: float32 [size], typical hours from a visit to the next event; 0 where unknown.
        categories: int32 [size], 0 where unknown, 1 for rare ones, 2.. by falling count.
        distance: float32 [2], mean and deviation of log(1 + km) between the events of a session.
        frame: float32 [2, 3], mean and deviation of the positions of the events.
    """

    positions: np.ndarray
    numbers: np.ndarray
    hours: np.ndarray
    categories: np.ndarray
    distance: np.ndarray
    frame: np.ndarray

    @classmethod
    def unknown(cls, size: int) -> Places:
        """Returns places of which nothing is known."""
        return cls(
            np.zeros((size, 3), np.float32),
            np.zeros((size, 2 + HOURS), np.float32),
            np.zeros(size, np.float32),
            np.zeros(size, np.int32),
            np.array([0, 1], np.float32),
            np.array([[0] * 3, [1] * 3], np.float32),
        )


def learn_places(log: ContextLog | None, items: Items, latitude=AUTO, longitude=AUTO, category=AUTO) -> Places:
    """Learns places from the train split of a log.

    The stay at a place is the time from an event there to the next one of its session, up to 8 hours. The mean of a
    place is drawn towards that of its category, and that of a category towards the mean of the log, as if each had
    five visits more.

    Args:
        log: `items.context_log`; None: nothing is known.
        items: the vocabulary.
        latitude, longitude: names of columns in degrees; "auto": latitude or lat, longitude, lon or lng, where the log
            has them; None: unknown.
        category: name of a column; "auto": category, where the log has it; None: unknown.

    Raises:
        InputError: a column that the log does not have, one of latitude and longitude alone, or values that are no
            degrees.
    """
    names = _columns(log, {"latitude": latitude, "longitude": longitude, "category": category})
    places = Places.unknown(items.size)
    if log is None:
        return places
    sessions = log.sessions
    values = np.asarray(sessions.values, np.int64)
    counts = np.bincount(values, minlength=items.size).astype(np.float64)
    starts = np.zeros(len(values), bool)
    starts[np.asarray(sessions.offsets[:-1])[np.diff(sessions.offsets) > 0]] = True

    if names["latitude"]:
        _learn_positions(places, sessions, names, values, starts)
    if names["category"]:
        places.categories[:] = _categories(sessions.column(names["category"]), values, items.size)
    places.numbers[:, 1] = _standard(np.log1p(counts), counts)
    if sessions.timed:
        time = np.asarray(sessions.column("times"), np.int64)
        _learn_stays(places, time, values, starts, counts)
        hour = of_numpy("hour", time, time, np.zeros(len(time), np.int64), zone_table(log.time_zone)) - 2
        known = hour >= 0
        visits = np.zeros((items.size, HOURS))
        np.add.at(visits, (values[known], hour[known]), 1.0)
        share = visits.sum(axis=0) / max(visits.sum(), 1.0)
        smoothed = (visits + PRIOR * share) / (visits.sum(axis=1, keepdims=True) + PRIOR)
        profile = smoothed - share  # (size, 24)
        length = np.sqrt((counts @ (profile**2).sum(axis=1)) / max(counts.sum(), 1.0))
        places.numbers[:, 2:] = profile / (length or 1.0)
    for table in (places.positions, places.numbers, places.hours, places.categories):
        table[:2] = 0
    return places


def kilometres(first, second):
    """Computes great-circle distances in km between positions, float [..., 3] unit vectors -> float64 [...]."""
    chord = np.linalg.norm(np.asarray(first, np.float64) - np.asarray(second, np.float64), axis=-1)
    return 2 * EARTH * np.arcsin(np.minimum(chord / 2, 1))


def unit_vectors(latitude, longitude) -> np.ndarray:
    """Returns the positions of coordinates in degrees: float [n] each -> float64 [n, 3]."""
    latitude, longitude = np.radians(np.asarray(latitude, np.float64)), np.radians(np.asarray(longitude, np.float64))
    level = np.cos(latitude)
    return np.stack([level * np.cos(longitude), level * np.sin(longitude), np.sin(latitude)], axis=-1)


def _columns(log, given: dict) -> dict:
    """Returns argument -> the name of its column, or None."""
    have = () if log is None else log.sessions.arrays.columns
    found = {}
    for argument, name in given.items():
        if name == AUTO:
            name = next((known for known in NAMES[argument] if known in have), None)
        elif name is not None and name not in have:
            if log is None:
                raise InputError(
                    f"{argument}={name!r}: must be a column of a log: use the items of trs.load(...), "
                    f"or {argument}=None"
                )
            near = difflib.get_close_matches(str(name), have, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; to keep it, prepare the log with context={name!r}"
            raise InputError(f"{argument}={name!r}: must be a column of the log{hint}")
        found[argument] = name
    for one, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if found[one] and not found[other]:
            raise InputError(
                f"{other}={given[other]!r}: must be the name of a column, as {one} is read from {found[one]!r}; "
                f"or set {one}=None"
            )
    return found


def _learn_positions(places, sessions, names, values, starts) -> None:
    degrees = {}
    for argument, most in (("latitude", 90.0), ("longitude", 180.0)):
        name = names[argument]
        column = np.asarray(sessions.column(name))
        if column.dtype.kind not in "iuf":
            raise InputError(f"{argument}: column {name!r} must hold degrees, numbers; it holds {column[:1].tolist()}")
        degrees[argument] = column = column.astype(np.float64)
        wrong = np.flatnonzero(np.abs(column) > most)
        if len(wrong):
            raise InputError(
                f"{argument}: column {name!r} must hold degrees from {-most:g} to {most:g}, empty where unknown; "
                f"{len(wrong):,} events have others, such as {column[wrong[0]]:g}"
            )
    known = np.isfinite(degrees["latitude"]) & np.isfinite(degrees["longitude"])
    vectors = unit_vectors(degrees["latitude"][known], degrees["longitude"][known])
    total = np.zeros(places.positions.shape)
    np.add.at(total, values[known], vectors)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    places.positions[:] = np.where(length > 1e-9, total / np.maximum(length, 1e-9), 0.0)
    places.positions[:2] = 0
    if len(vectors):
        places.frame[:] = vectors.mean(axis=0), np.maximum(vectors.std(axis=0), 1e-6)
    here = places.positions[values]
    pair = np.flatnonzero(~starts[1:] & here[1:].any(axis=1) & here[:-1].any(axis=1))
    if len(pair):
        logs = np.log1p(kilometres(here[pair + 1], here[pair]))
        places.distance[:] = logs.mean(), logs.std() or 1.0


def _learn_stays(places, time, values, starts, counts) -> None:
    hours = np.diff(time) / MICROSECONDS
    stays = np.flatnonzero(~starts[1:] & (hours >= 0) & (hours <= LONGEST) & (time[:-1] != 0) & (time[1:] != 0))
    if not len(stays):
        return
    visited, hours = values[stays], hours[stays]

    def drawn(index, size, towards):
        total, number = np.bincount(index, hours, size), np.bincount(index, minlength=size)
        return (total + PRIOR * towards) / (number + PRIOR)

    category = places.categories
    of_category = drawn(category[visited], int(category.max()) + 1, hours.mean())
    places.hours[:] = drawn(visited, len(counts), of_category[category])
    places.numbers[:, 0] = _standard(np.log(np.maximum(places.hours, 1e-3)), counts)


def _categories(column, values, size: int) -> np.ndarray:
    """Returns the code of the most frequent category of each item, int32 [size]."""
    column = np.asarray(column)
    texts = np.array(["" if value is None or value != value else str(value) for value in column.tolist()], object)
    names, index, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    counts = np.where(names == "", -1, counts)
    codes = np.ones(len(names), np.int64)
    best = np.argsort(-counts, kind="stable")[:MOST]
    codes[best] = np.arange(2, 2 + len(best))
    codes[names == ""] = 0
    pairs, number = np.unique(values * (MOST + 2) + codes[index.reshape(-1)], return_counts=True)
    item, code = np.divmod(pairs, MOST + 2)
    kept = code > 0
    order = np.argsort(number[kept], kind="stable")  # the last one that is written is the most frequent
    found = np.zeros(size, np.int32)
    found[item[kept][order]] = code[kept][order]
    return found


def _standard(values, weights) -> np.ndarray:
    """Returns values with mean 0 and deviation 1, weighted by events."""
    total = max(weights.sum(), 1.0)
    mean = (values * weights).sum() / total
    deviation = np.sqrt(((values - mean) ** 2 * weights).sum() / total)
    return np.where(weights > 0, (values - mean) / (deviation or 1.0), 0.0)
