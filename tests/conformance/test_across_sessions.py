"""Models that remember a person from session to session: only of that person, only what was before."""

import numpy as np
import pytest

from tfrecsession import evaluation
from tfrecsession.batches import Sessions
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.sessions.store import SessionArrays


def ranks(model, sessions):
    """Event of the split -> rank of its item."""
    scored = evaluation.evaluate(model, sessions, draws=0, slices=False)
    return dict(zip(scored.event.tolist(), scored.ranks.tolist(), strict=True))


def busiest(sessions):
    """The sessions, in order, of the user who has most of them."""
    names, counts = np.unique(sessions.column("user").astype(str), return_counts=True)
    return np.flatnonzero(sessions.column("user") == names[counts.argmax()])


def sessions_of(user, shop):
    """(start, end, whether in test, number in its split, items) in the order of their start."""
    found = []
    for split in (*shop.test.earlier, shop.test):
        times, offsets = split.column("times"), split.offsets
        for n in np.flatnonzero(split.column("user") == user):
            found.append((times[offsets[n]], times[offsets[n + 1] - 1], split is shop.test, n, split[n]))
    return sorted(found, key=lambda one: one[0])


def close(found, expected):
    """Ranks of other batches: a product in another order differs in its last bits, and may swap two near items."""
    assert found and found.keys() <= expected.keys()
    apart = np.array([abs(rank - expected[event]) for event, rank in found.items()])
    assert (apart <= 1).all() and (apart == 0).mean() > 0.95


def test_what_a_person_does_later_changes_nothing(across, fitted, shop):
    model, mine = fitted(across), busiest(shop.test)
    assert len(mine) > 2
    before = ranks(model, shop.test)
    values, start = shop.test.values.copy(), shop.test.offsets[mine[-1]]
    later = slice(start, shop.test.offsets[mine[-1] + 1])
    values[later] = 2 + (values[later] + 50) % len(shop.items)
    columns = {name: shop.test.column(name) for name in shop.test.arrays.columns}
    changed = SessionArrays(shop.items, values, shop.test.offsets, columns)
    after = ranks(model, Sessions(changed, "test", True, shop.test.earlier))
    changed = {event for event in after if after[event] != before[event]}
    assert changed and changed <= set(range(later.start, later.stop))


def test_other_people_change_nothing(across, fitted, shop):
    model, mine = fitted(across), busiest(shop.test)
    user = shop.test.column("user")[mine[0]]
    before = ranks(model, shop.test)
    alone = shop.test.only(shop.test.column("user") == user)
    alone.earlier = tuple(split.only(split.column("user") == user) for split in shop.test.earlier)
    places = np.concatenate([np.arange(shop.test.offsets[n], shop.test.offsets[n + 1]) for n in mine])
    close({int(places[event]): rank for event, rank in ranks(model, alone).items()}, before)


def test_the_past_is_played(across, fitted, shop):
    model = fitted(across)
    with_past = evaluation.evaluate(model, shop.test, draws=0)
    without = evaluation.evaluate(model, shop.test, draws=0, earlier=())
    people = UserSequences.of(shop.test, shop.test.earlier)
    past = np.zeros(shop.test.events, bool)
    past[people.event[people.event >= 0]] = people.visit[people.event >= 0] > 0
    past = past[with_past.event]
    assert (with_past.ranks[past] != without.ranks[past]).mean() > 0.3
    same = with_past.ranks[~past] == without.ranks[~past]
    assert same.mean() > 0.95


def test_evaluation_is_the_encoding_of_the_whole_history(across, fitted, shop):
    model = fitted(across)
    for user in shop.test.column("user"):
        sessions = sessions_of(user, shop)
        over = np.maximum.accumulate([end for _, end, *_ in sessions])
        if len(sessions) > 5 and all(one[0] >= end for one, end in zip(sessions[1:], over[:-1], strict=True)):
            break  # who has a long past, and never two sessions at once
    else:
        raise AssertionError("the shop has nobody to look at")
    cells = [(item, n, visit) for visit, (*_, items) in enumerate(sessions) for n, item in enumerate(items)]
    items, position, visit = (np.array([cell[i] for cell in cells], np.int32)[None] for i in range(3))
    batch = {"items": items, "position": position, "segment": visit + 1, "visit": visit}
    if model.reads.users == "joined":
        batch = {
            "items": items,
            "position": np.arange(len(cells), dtype=np.int32)[None],
            "segment": np.ones_like(items),
        }
    scores = np.asarray(model.score_all(model.encode(batch)[0]))
    found, expected, step = {}, ranks(model, shop.test), 0
    for _, _, tested, number, session in sessions:
        for place in range(1, len(session)):
            if tested:
                row = scores[step + place - 1, 2:]
                found[int(shop.test.offsets[number] + place)] = int((row >= row[session[place] - 2]).sum())
        step += len(session)
    close(found, expected)


@pytest.mark.parametrize("by_user", [False, True, "joined"])
def test_other_batches_are_refused(across, fitted, shop, by_user):
    model = fitted(across)
    if by_user != model.reads.by_user:
        with pytest.raises(ValueError, match="by_user"):
            model.fit(shop.train.batches(rows=16, steps=8, by_user=by_user), verbose=0)
