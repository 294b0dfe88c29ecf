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
    """Returns a split of sessions, given as (user, first minute, items), with an event a minute."""
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


def test_users_by_hand():
    users = UserSequences.of(split(TRAIN))
    assert users.values.tolist() == [2, 3, 7, 8, 9, 4, 5, 6]
    assert users.offsets.tolist() == [0, 5, 6, 8]
    assert users.position.tolist() == [0, 1, 0, 1, 2, 0, 0, 1]
    assert users.visit.tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    assert users.event.tolist() == [0, 1, 5, 6, 7, 2, 3, 4]


def test_lanes_by_hand():
    users = UserSequences.of(split(TRAIN))
    batches = list(datasets.user_parallel(users, rows=2, steps=4, shuffle=False))
    found = [{name: array.numpy().tolist() for name, array in batch.items()} for batch, _ in batches]
    assert [batch["items"] for batch in found] == [[[2, 3, 7, 8], [4, 5, 6, 0]], [[9, 0, 0, 0], [0, 0, 0, 0]]]
    assert [batch["position"] for batch in found] == [[[0, 1, 0, 1], [0, 0, 1, 0]], [[2, 0, 0, 0], [0, 0, 0, 0]]]
    assert [batch["visit"] for batch in found] == [[[0, 0, 1, 1], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]]]
    assert [target.numpy().tolist() for _, target in batches] == [
        [[3, 0, 8, 9], [0, 6, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
    ]


def test_joined_sessions_are_one():
    users = UserSequences.of(split(TRAIN), joined=True)
    (batch, targets), *rest = datasets.user_parallel(users, rows=1, steps=8, shuffle=False)
    assert not rest and "visit" not in batch
    assert batch["position"].numpy().tolist() == [[0, 1, 2, 3, 4, 0, 0, 1]]
    assert targets.numpy().tolist() == [[3, 7, 8, 9, 0, 0, 6, 0]]


def test_the_newest_events_of_a_user_are_packed():
    users = UserSequences.of(split(TRAIN))
    ((batch, targets),) = datasets.packed_users(users, rows=2, steps=4, shuffle=False)
    assert batch["items"].numpy().tolist() == [[3, 7, 8, 9], [5, 6, 0, 0]]  # users without a target are left out
    assert batch["position"].numpy().tolist() == [[0, 0, 1, 2], [0, 1, 0, 0]]
    assert batch["visit"].numpy().tolist() == [[0, 1, 1, 1], [0, 0, 0, 0]]
    assert targets.numpy().tolist() == [[0, 8, 9, 0], [6, 0, 0, 0]]


def test_a_session_that_is_cut_begins_at_position_0():
    users = UserSequences.of(split([("a", 0, [2, 3, 4, 5])]))
    ((batch, targets),) = datasets.packed_users(users, rows=1, steps=3, shuffle=False)
    assert batch["position"].numpy().tolist() == [[0, 1, 2]]
    assert batch["visit"].numpy().tolist() == [[0, 0, 0]]
    assert targets.numpy().tolist() == [[4, 5, 0]]


def test_an_overlapping_session_is_a_user_of_its_own():
    users = UserSequences.of(split([("a", 0, [2, 3, 4, 5]), ("a", 2, [6, 7]), ("a", 3, [8, 9]), ("a", 4, [10, 11])]))
    chains = [
        users.values[first:last].tolist() for first, last in zip(users.offsets[:-1], users.offsets[1:], strict=True)
    ]
    # the last session begins after the first (whose last event is at minute 3), and when the third ends
    assert chains == [[2, 3, 4, 5, 8, 9, 10, 11], [6, 7]]
    assert users.overlapping == 1


def test_without_times_sessions_keep_the_order_of_the_log():
    users = UserSequences.of(split([("a", 5, [2, 3]), ("a", 0, [4, 5])], timed=False))
    assert users.values.tolist() == [2, 3, 4, 5] and users.overlapping == 0


def test_earlier_splits_come_first_and_are_not_scored():
    train = split(TRAIN)
    test = split([("a", 20, [11, 12]), ("c", 21, [13, 14]), (None, 22, [15, 16])], "test", (train,))
    users = UserSequences.of(test, test.earlier)
    assert users.values.tolist() == [2, 3, 7, 8, 9, 11, 12, 13, 14, 15, 16]
    assert users.event.tolist() == [-1] * 5 + [0, 1, 2, 3, 4, 5]
    assert users.scored().tolist() == [False] * 6 + [True, False, True, False, True]
    laid = list(users.every_event(users.scored()))
    cells = [cell for rows in laid for cell in zip(rows.items.ravel(), rows.targets.ravel(), strict=True)]
    assert {(int(item), int(target)) for item, target in cells if target} == {(11, 12), (13, 14), (15, 16)}
    # neither the other users of train, nor events after the last target
    assert {int(item) for item, _ in cells} == {0, 2, 3, 7, 8, 9, 11, 13, 15}


def test_a_column_has_the_order_of_the_events():
    train = split(TRAIN)
    test = split([("a", 20, [11, 12])], "test", (train,))
    users = UserSequences.of(test, test.earlier)
    assert (users.column("times") // MINUTE).tolist() == [0, 1, 10, 11, 12, 20, 21]


def test_only_the_selected_sessions_are_kept():
    train = split(TRAIN)
    kept = train.only(np.array([True, False, False, True]))
    assert kept.values.tolist() == [2, 3, 7, 8, 9] and kept.offsets.tolist() == [0, 2, 5]
    assert kept.column("user").tolist() == ["a", "a"]
    assert (kept.column("times") // MINUTE).tolist() == [0, 1, 10, 11, 12]


def test_a_log_without_users_is_refused():
    anonymous = split([(None, 0, [2, 3])])
    with pytest.raises(InputError, match="names no users.*user=COLUMN.*gru4rec"):
        anonymous.batches(by_user=True)
    arrays = SessionArrays(anonymous.items, anonymous.values, anonymous.offsets, {})
    with pytest.raises(InputError, match="names no users"):
        Sessions(arrays, "train").batches(by_user=True)


@pytest.mark.parametrize("options", [{"by_user": "yes"}, {"by_user": True, "one_target": True}])
def test_invalid_options_are_refused(options):
    with pytest.raises(InputError, match="by_user"):
        split(TRAIN).batches(**options)


def test_overlapping_sessions_are_counted_in_a_warning():
    sessions = split([("a", 0, [2, 3, 4]), ("a", 1, [5, 6])])
    with pytest.warns(UserWarning, match="1 of 2 sessions begin before"):
        sessions.batches(by_user=True)


logs = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 30), st.integers(1, 6)), min_size=1, max_size=25
)


@settings(max_examples=60)
@given(logs, st.integers(1, 3), st.integers(1, 5), st.booleans())
def test_lanes_have_every_event_once_in_the_order_of_its_user(log, rows, steps, shuffle):
    item, sessions = 2, []
    for user, start, length in sorted(log, key=lambda session: session[1]):
        sessions.append((user, start, list(range(item, item + length))))
        item += length
    if all(user is None for user, _, _ in sessions) or all(length < 2 for _, _, length in log):
        return
    users = UserSequences.of(split(sessions))
    dataset = datasets.user_parallel(users, rows, steps, shuffle=shuffle)
    for _ in range(2):  # epochs
        batches = list(dataset)
        assert len(batches) == dataset.cardinality().numpy()
        items, position, visit = (
            np.concatenate([batch[name].numpy() for batch, _ in batches], 1) for name in ("items", "position", "visit")
        )
        targets = np.concatenate([target.numpy() for _, target in batches], 1)
        assert sorted(items[items > 0].tolist()) == list(range(2, 2 + sum(length for _, _, length in log)))
        chains = {}
        for lane in range(rows):
            for step in np.flatnonzero(items[lane]):
                item = int(items[lane, step])
                user, start, session = next(session for session in sessions if item in session[2])
                index = session.index(item)
                assert position[lane, step] == index
                assert targets[lane, step] == (session[index + 1] if index + 1 < len(session) else 0)
                if visit[lane, step] == 0 and index == 0:
                    chains[lane] = []
                if index == 0:
                    assert visit[lane, step] == len(chains[lane])
                    for earlier_user, earlier_start, earlier in chains[lane]:  # only sessions that have ended
                        assert earlier_user == user is not None
                        assert earlier_start + len(earlier) - 1 <= start
                    chains[lane].append((user, start, session))
