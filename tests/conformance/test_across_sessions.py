"""Models that remember a user from session to session: that user alone, and earlier events alone."""

import numpy as np
import pytest

from tests.conformance.descriptors import by_user_of, packed, users_read
from tfrecsession import evaluation
from tfrecsession.batches import Sessions
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.sessions.store import SessionArrays


def ranks(model, sessions):
    """Returns the rank of the item of each scored event: event of the split -> rank."""
    scored = evaluation.evaluate(model, sessions, draws=0, slices=False)
    return dict(zip(scored.event.tolist(), scored.ranks.tolist(), strict=True))


def busiest(sessions):
    """Returns the sessions, in order, of the user who has most of them."""
    names, counts = np.unique(sessions.column("user").astype(str), return_counts=True)
    return np.flatnonzero(sessions.column("user") == names[counts.argmax()])


def sessions_of_user(user, data):
    """Returns (start, end, split, number in it, items) of each session, in start order."""
    found = []
    for split in (*data.test.earlier, data.test):
        times, offsets = split.column("times"), split.offsets
        for n in np.flatnonzero(split.column("user") == user):
            found.append((times[offsets[n]], times[offsets[n + 1] - 1], split, n, split[n]))
    return sorted(found, key=lambda one: one[0])


def context_of(model, sessions):
    """Returns the columns of the context of these sessions, [1, events]; those of requests are of the next event."""
    columns = {}
    for key, column in (model.context.keys if model.context else {}).items():
        parts = []
        for _, _, split, number, _ in sessions:
            values = split.encoded(model.context)[key][split.offsets[number] : split.offsets[number + 1]]
            parts.append(np.append(values[1:], column.missing) if key.startswith("request/") else values)
        columns[key] = np.concatenate(parts).astype(column.dtype)[None]
    return columns


def close(found, expected):
    """Compares ranks from other batches: a product in another order may swap two near items by its last bits."""
    assert found and found.keys() <= expected.keys()
    apart = np.array([abs(rank - expected[event]) for event, rank in found.items()])
    assert (apart <= 1).all() and (apart == 0).mean() > 0.95


def test_what_a_user_does_later_changes_nothing(across, fitted, data):
    model, mine = fitted(across), busiest(data.test)
    assert len(mine) > 2
    before = ranks(model, data.test)
    values, start = data.test.values.copy(), data.test.offsets[mine[-1]]
    later = slice(start, data.test.offsets[mine[-1] + 1])
    values[later] = 2 + (values[later] + 50) % len(data.items)
    columns = {name: data.test.column(name) for name in data.test.arrays.columns}
    changed = SessionArrays(data.items, values, data.test.offsets, columns)
    after = ranks(model, Sessions(changed, "test", True, data.test.earlier))
    changed = {event for event in after if after[event] != before[event]}
    assert changed and changed <= set(range(later.start, later.stop))


def test_other_users_change_nothing(across, fitted, data):
    model, mine = fitted(across), busiest(data.test)
    user = data.test.column("user")[mine[0]]
    before = ranks(model, data.test)
    alone = data.test.only(data.test.column("user") == user)
    alone.earlier = tuple(split.only(split.column("user") == user) for split in data.test.earlier)
    places = np.concatenate([np.arange(data.test.offsets[n], data.test.offsets[n + 1]) for n in mine])
    close({int(places[event]): rank for event, rank in ranks(model, alone).items()}, before)


def test_the_past_is_played(across, fitted, data):
    model = fitted(across)
    with_past = evaluation.evaluate(model, data.test, draws=0)
    without = evaluation.evaluate(model, data.test, draws=0, earlier=())
    people = UserSequences.of(data.test, data.test.earlier)
    past = np.zeros(data.test.events, bool)
    past[people.event[people.event >= 0]] = people.visit[people.event >= 0] > 0
    past = past[with_past.event]
    assert (with_past.ranks[past] != without.ranks[past]).mean() > (0.2 if across == "long_short_term-shan" else 0.3)
    same = with_past.ranks[~past] == without.ranks[~past]
    assert same.mean() > 0.95


def test_evaluation_is_the_encoding_of_the_whole_history(across, fitted, data):
    model = fitted(across)
    for user in data.test.column("user"):
        sessions = sessions_of_user(user, data)
        over = np.maximum.accumulate([end for _, end, *_ in sessions])
        if len(sessions) > 5 and all(one[0] >= end for one, end in zip(sessions[1:], over[:-1], strict=True)):
            break  # a user with a long past, and never two sessions at once
    else:
        raise AssertionError("the data set has no such user")
    cells = [(item, n, visit) for visit, (*_, items) in enumerate(sessions) for n, item in enumerate(items)]
    items, position, visit = (np.array([cell[i] for cell in cells], np.int32)[None] for i in range(3))
    batch = {"items": items, "position": position, "segment": visit + 1, "visit": visit}
    batch |= context_of(model, sessions)
    if users_read(model) == "joined":
        batch = packed(model, [items[0]])
    scores = np.asarray(model.score_all(model.encode(batch)[0]))
    found, expected, step = {}, ranks(model, data.test), 0
    for _, _, split, number, session in sessions:
        for place in range(1, len(session)):
            if split is data.test:
                row = scores[step + place - 1, 2:]
                found[int(data.test.offsets[number] + place)] = int((row >= row[session[place] - 2]).sum())
        step += len(session)
    close(found, expected)


@pytest.mark.parametrize("by_user", [False, True, "joined"])
def test_other_batches_are_refused(across, fitted, data, by_user):
    model = fitted(across)
    if by_user != by_user_of(model):
        with pytest.raises(ValueError, match="by_user"):
            model.fit(data.train.batches(rows=16, steps=8, by_user=by_user), verbose=0)
