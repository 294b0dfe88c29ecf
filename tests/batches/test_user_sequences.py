import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecsession.batches import Sessions, datasets
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.errors import InputError
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

MINUTE = 60_000_000


def split(sessions, role="train", earlier=(), timed=True):
    """Sessions as (user, first minute, items); an event a minute."""
    lengths = [len(items) for _, _, items in sessions]
    values = np.array([item for _, _, items in sessions for item in items], np.int32)
    times = np.array([(start + n) * MINUTE for _, start, items in sessions for n in range(len(items))], np.int64)
    users = np.empty(len(sessions), object)
    users[:] = [user for user, _, _ in sessions]
    vocabulary = Items(np.array([f"i{n}" for n in range(60)]), np.ones(60, np.int64))
    arrays = SessionArrays(
        vocabulary, values, np.concatenate([[0], np.cumsum(lengths)]), {"times": times, "user": users}
    )
    return Sessions(arrays, role, timed, earlier)


TRAIN = [("a", 0, [2, 3]), ("b", 1, [4]), (None, 2, [5, 6]), ("a", 10, [7, 8, 9])]


def test_people_by_hand():
    people = UserSequences.of(split(TRAIN))
    assert people.values.tolist() == [2, 3, 7, 8, 9, 4, 5, 6]
    assert people.offsets.tolist() == [0, 5, 6, 8]
    assert people.position.tolist() == [0, 1, 0, 1, 2, 0, 0, 1]
    assert people.visit.tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert people.event.tolist() == [0, 1, 5, 6, 7, 2, 3, 4]


def test_lanes_by_hand():
    people = UserSequences.of(split(TRAIN))
    batches = list(datasets.user_parallel(people, rows=2, steps=4, shuffle=False))
    found = [{name: array.numpy().tolist() for name, array in batch.items()} for batch, _ in batches]
    assert [batch["items"] for batch in found] == [[[2, 3, 7, 8], [4, 5, 6, 0]], [[9, 0, 0, 0], [0, 0, 0, 0]]]
    assert [batch["position"] for batch in found] == [[[0, 1, 0, 1], [0, 0, 1, 0]], [[2, 0, 0, 0], [0, 0, 0, 0]]]
    assert [batch["visit"] for batch in found] == [[[0, 0, 1, 1], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]]
    assert [target.numpy().tolist() for _, target in batches] == [
        [[3, 0, 8, 9], [0, 6, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]


def test_joined_sessions_are_one():
    people = UserSequences.of(split(TRAIN), joined=True)
    (batch, targets), *rest = datasets.user_parallel(people, rows=1, steps=8, shuffle=False)
    assert not rest and "visit" not in batch
    assert batch["position"].numpy().tolist() == [[0, 1, 2, 3, 4, 0, 0, 1]]
    assert targets.numpy().tolist() == [[3, 7, 8, 9, 0, 0, 6, 0]]


def test_the_newest_events_of_a_person_are_packed():
    people = UserSequences.of(split(TRAIN))
    ((batch, targets),) = datasets.packed_users(people, rows=2, steps=4, shuffle=False)
    assert batch["items"].numpy().tolist() == [[3, 7, 8, 9], [5, 6, 0, 0]]  # who has no target is left out
    assert batch["position"].numpy().tolist() == [[0, 0, 1, 2], [0, 1, 0, 0]]
    assert batch["visit"].numpy().tolist() == [[0, 1, 1, 1], [0, 0, 0, 0]]
    assert targets.numpy().tolist() == [[0, 8, 9, 0], [6, 0, 0, 0]]


def test_a_cut_inside_a_session_begins_afresh():
    people = UserSequences.of(split([("a", 0, [2, 3, 4, 5])]))
    ((batch, targets),) = datasets.packed_users(people, rows=1, steps=3, shuffle=False)
    assert batch["position"].numpy().tolist() == [[0, 1, 2]]
    assert batch["visit"].numpy().tolist() == [[0, 0, 0]]
    assert targets.numpy().tolist() == [[4, 5, 0]]


def test_a_session_that_overlaps_is_played_alone():
    people = UserSequences.of(split([("a", 0, [2, 3, 4, 5]), ("a", 2, [6, 7]), ("a", 3, [8, 9]), ("a", 4, [10, 11])]))
    chains = [
        people.values[first:last].tolist() for first, last in zip(people.offsets[:-1], people.offsets[1:], strict=True)
    ]
    # the last one begins when the first has ended (its last event is of minute 3), and as the third ends
    assert chains == [[2, 3, 4, 5, 8, 9, 10, 11], [6, 7]]
    assert people.overlapping == 1


def test_without_times_the_order_of_the_log_counts():
    people = UserSequences.of(split([("a", 5, [2, 3]), ("a", 0, [4, 5])], timed=False))
    assert people.values.tolist() == [2, 3, 4, 5] and people.overlapping == 0


def test_earlier_splits_come_first_and_are_not_scored():
    train = split(TRAIN)
    test = split([("a", 20, [11, 12]), ("c", 21, [13, 14]), (None, 22, [15, 16])], "test", (train,))
    people = UserSequences.of(test, test.earlier)
    assert people.values.tolist() == [2, 3, 7, 8, 9, 11, 12, 13, 14, 15, 16]
    assert people.event.tolist() == [-1] * 5 + [0, 1, 2, 3, 4, 5]
    assert people.scored().tolist() == [False] * 6 + [True, False, True, False, True]
    laid = list(people.every_event(people.scored()))
    seen = {(int(a), int(b)) for one in laid for a, b in zip(one.items.ravel(), one.targets.ravel(), strict=True) if b}
    assert seen == {(11, 12), (13, 14), (15, 16)}
    played = {int(item) for one in laid for item in one.items.ravel()}
    assert played == {
        0,
        2,
        3,
        7,
        8,
        9,
        11,
        13,
        15,
    }  # not the other people of train, not what comes after the last target


def test_a_column_follows_its_events():
    train = split(TRAIN)
    test = split([("a", 20, [11, 12])], "test", (train,))
    people = UserSequences.of(test, test.earlier)
    assert (people.column("times") // MINUTE).tolist() == [0, 1, 10, 11, 12, 20, 21]


def test_some_sessions_only():
    train = split(TRAIN)
    some = train.only(np.array([True, False, False, True]))
    assert some.values.tolist() == [2, 3, 7, 8, 9] and some.offsets.tolist() == [0, 2, 5]
    assert some.column("user").tolist() == ["a", "a"]
    assert (some.column("times") // MINUTE).tolist() == [0, 1, 10, 11, 12]


def test_a_log_without_users_is_refused():
    nobody = split([(None, 0, [2, 3])])
    with pytest.raises(InputError, match="names no users.*--user COLUMN.*gru4rec"):
        nobody.batches(by_user=True)
    arrays = SessionArrays(nobody.items, nobody.values, nobody.offsets, {})
    with pytest.raises(InputError, match="names no users"):
        Sessions(arrays, "train").batches(by_user=True)


@pytest.mark.parametrize("options", [{"by_user": "yes"}, {"by_user": True, "one_target": True}])
def test_bad_options(options):
    with pytest.raises(InputError, match="by_user"):
        split(TRAIN).batches(**options)


def test_overlaps_are_told():
    sessions = split([("a", 0, [2, 3, 4]), ("a", 1, [5, 6])])
    with pytest.warns(UserWarning, match="1 of 2 sessions begin before"):
        sessions.batches(by_user=True)


logs = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=25
)


@settings(max_examples=60)
@given(logs, st.integers(1, 3), st.integers(1, 5), st.booleans())
def test_every_event_once_in_its_persons_order(log, rows, steps, shuffle):
    number, sessions = 2, []
    for user, start, length in sorted(log, key=lambda one: one[1]):
        sessions.append((user, start, list(range(number, number + length))))
        number += length
    if all(user is None for user, _, _ in sessions) or all(length < 2 for _, _, length in log):
        return
    people = UserSequences.of(split(sessions))
    dataset = datasets.user_parallel(people, rows, steps, shuffle=shuffle)
    for _ in range(2):  # epochs
        batches = list(dataset)
        assert len(batches) == dataset.cardinality().numpy()
        items, position, visit = (
            np.concatenate([batch[name].numpy() for batch, _ in batches], 1) for name in ("items", "position", "visit")
        )
        targets = np.concatenate([target.numpy() for _, target in batches], 1)
        assert sorted(items[items > 0].tolist()) == list(range(2, number))
        chains = {}
        for lane in range(rows):
            there = np.flatnonzero(items[lane])
            for step in there:
                item = int(items[lane, step])
                owner, start, own = next(one for one in sessions if item in one[2])
                place = own.index(item)
                assert position[lane, step] == place
                assert targets[lane, step] == (own[place + 1] if place + 1 < len(own) else 0)
                if visit[lane, step] == 0 and place == 0:
                    chains[lane] = []
                if place == 0:
                    assert visit[lane, step] == len(chains[lane])
                    for before_owner, before_start, before in chains[lane]:  # nothing that was not over
                        assert before_owner == owner is not None
                        assert before_start + len(before) - 1 <= start
                    chains[lane].append((owner, start, own))
