"""Metrics of generated trips, against the trips that users made (Baral et al., RecSys 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.sessions.places import EARTH


def pair_f1(found: Sequence, expected: Sequence) -> float:
    """Computes the F1 of the ordered pairs of places: (a, b) where a comes before b, somewhere in the trip.

        precision = common pairs / pairs of `found`, recall = common pairs / pairs of `expected`

    A pair counts once, however often it occurs, and a place is no pair with itself. Trips without a pair score 0.

    Args:
        found, expected: the places of two trips, in their order.

    Examples:
        >>> pair_f1(["a", "b", "c"], ["a", "c"])  # ab, ac, bc and ac: precision 1/3, recall 1
        0.5
    """
    pairs, wanted = _pairs(found), _pairs(expected)
    common = len(pairs & wanted)
    return 2 * common / (len(pairs) + len(wanted)) if common else 0.0


def diversity(categories: Sequence) -> float:
    """Computes the share of the pairs of places in a trip whose categories differ; 0 for less than two places.

        sum over i < j of (1 - [same category]) / (n (n - 1) / 2)

    The paper prints values above 1, so it must scale them; compare only values of this function.

    Examples:
        >>> round(diversity(["park", "bar", "park"]), 4)
        0.6667
    """
    categories = list(categories)
    n = len(categories)
    differ = sum(categories[i] != categories[j] for i in range(n) for j in range(i + 1, n))
    return differ / (n * (n - 1) / 2) if n > 1 else 0.0


def displacement(found, expected) -> float:
    """Computes how far a trip is from the one that a user made: the sum of the distances in km, position by position.

    Args:
        found, expected: (latitude, longitude) in degrees of each place, in their order. Positions that only one of the
            trips has do not count: compare trips of equal length.

    Raises:
        InputError: an argument of another form, or coordinates that are no degrees.

    Examples:
        >>> round(displacement([(0, 0), (0, 1)], [(0, 0), (0, 2)]), 1)  # one degree on the equator
        111.2
    """
    found, expected = _coordinates("found", found), _coordinates("expected", expected)
    length = min(len(found), len(expected))
    (first, first_east), (second, second_east) = found[:length].T, expected[:length].T  # radians, (length,)
    half = np.sin((first - second) / 2) ** 2
    half += np.cos(first) * np.cos(second) * np.sin((first_east - second_east) / 2) ** 2
    return float((2 * EARTH * np.arcsin(np.sqrt(np.clip(half, 0, 1)))).sum())


def _pairs(places) -> set:
    places = list(places)
    return {(a, b) for i, a in enumerate(places) for b in places[i + 1 :] if a != b}


def _coordinates(argument: str, values) -> np.ndarray:
    """Returns coordinates in radians, float64 [n, 2]."""
    degrees = np.asarray(list(values), np.float64).reshape(-1, 2) if len(values) else np.zeros((0, 2))
    if len(degrees) != len(values) or not (np.abs(degrees) <= (90, 180)).all():
        raise InputError(f"{argument}: must be a (latitude, longitude) in degrees for each place")
    return np.radians(degrees)
