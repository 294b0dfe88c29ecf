"""Checks of what a blend is given: its members, and their weights and scales."""

from __future__ import annotations

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.models.ensemble.scales import KINDS
from tfrecsession.recommender.arguments import refuse
from tfrecsession.recommender.recommender import Recommender


def checked_members(members) -> list[Recommender]:
    members = list(members) if isinstance(members, list | tuple) else refuse("members", members, "a list of models")
    if len(members) < 2:
        refuse("members", members, "a list of at least two fitted models")
    for index, member in enumerate(members):
        if not isinstance(member, Recommender):
            raise InputError(f"members[{index}]: must be one of trs.models, not {type(member).__name__}")
        label = f"members[{index}], a {type(member).__name__},"
        if member.items.fingerprint != members[0].items.fingerprint:
            raise InputError(
                f"{label} is of other data: its vocabulary is {member.items.fingerprint} ({len(member.items):,} "
                f"items), that of members[0] is {members[0].items.fingerprint} ({len(members[0].items):,} items); all "
                "members must be fitted on one data set"
            )
        if member.reads.users is not None:
            raise InputError(
                f"{label} reads earlier sessions of a user: it cannot be blended, since a blend answers for the "
                "session alone; leave it out"
            )
        if type(member).score_all is Recommender.score_all and member.output_items is None:
            raise InputError(f"{label} cannot score the whole catalogue (it has no score_all): leave it out")
    return members


def checked_lengths(lengths) -> tuple[int, ...]:
    lengths = tuple(int(length) for length in lengths)
    if not lengths or lengths[0] != 1 or any(low >= high for low, high in zip(lengths, lengths[1:], strict=False)):
        refuse("lengths", lengths, "rising whole numbers from 1, e.g. (1, 2, 5)")
    return lengths


def checked_weights(weights, members: int, ranges: int) -> np.ndarray:
    """Returns float32 [ranges, members], rows that sum to 1."""
    if weights is None:
        return np.full((ranges, members), 1 / members, np.float32)
    array = np.atleast_2d(np.asarray(weights, np.float64))
    if len(array) == 1:
        array = np.repeat(array, ranges, axis=0)
    good = array.shape == (ranges, members) and np.isfinite(array).all() and (array >= 0).all()
    if not good or not (array.sum(axis=1) > 0).all():
        refuse("weights", weights, f"{members} numbers of at least 0, one per member, not all 0")
    return (array / array.sum(axis=1, keepdims=True)).astype(np.float32)


def checked_scales(scales, members) -> list[tuple[str, float]]:
    if scales is None:
        return [("share" if member.learning is None else "softmax", 1.0) for member in members]
    scales = [tuple(scale) for scale in scales]
    if len(scales) != len(members) or any(kind not in KINDS or not sharpness > 0 for kind, sharpness in scales):
        refuse("scales", scales, f"a pair per member of a kind, {' or '.join(KINDS)}, and a number above 0")
    return [(kind, float(sharpness)) for kind, sharpness in scales]
