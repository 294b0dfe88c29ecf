import numpy as np
import pytest

from tfrecsession.batches import Sessions
from tfrecsession.evaluation.slices import slicings
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

ITEMS = Items([f"i{number}" for number in range(2, 10)], [30, 20, 10, 10, 10, 10, 5, 5])


def split(sessions, role="test", **columns):
    """Builds a split from lists of item ids."""
    values = np.concatenate([*map(np.array, sessions), np.zeros(0)]).astype(np.int32)
    offsets = np.cumsum([0, *map(len, sessions)])
    return Sessions(SessionArrays(ITEMS, values, offsets, columns), role)


def cut(sessions, earlier=()):
    """Returns slice -> the label of every target."""
    starts, ends = sessions.offsets[:-1], sessions.offsets[1:]
    event = np.concatenate([np.arange(start + 1, end) for start, end in zip(starts, ends, strict=True) if end > start])
    found = slicings(sessions, event, earlier)
    return {name: [None if n < 0 else labels[n] for n in number] for name, (labels, number) in found.items()}


def test_positions():
    found = cut(split([[2] * 23, [3, 4], [5]]))["position"]
    expected = ["2", "3", "4", "5"] + ["6-10"] * 5 + ["11-20"] * 10 + ["21+"] * 3
    assert found == expected + ["2"]


def test_known_new_returning_and_fresh():
    found = cut(split([[2, 3, 2, 1, 1, 3], [3, 2], [2, 2]]))
    assert found["in_training"] == ["known", "known", "new", "new", "known", "known", "known"]
    assert found["in_session"] == ["fresh", "returning", None, None, "returning", "fresh", "returning"]


def test_deciles_of_the_targets_by_support():
    session = [2] + [2] * 3 + [3] * 2 + [4, 5, 5, 1, 9, 9]  # ten known targets after the first event
    found = slicings(split([session]), np.arange(1, len(session)))["popularity_decile"]
    # by descending support the targets are 30 30 30 20 20 10 10 10 5 5; the middles of the runs are 1.5, 4, 6.5, 9
    assert found.labels == ("1", "2: 30", "3", "4", "5: 20", "6", "7: 10", "8", "9", "10: 5")
    assert found.number.tolist() == [1, 1, 1, 4, 4, 6, 6, 6, -1, 9, 9]


def test_deciles_hold_a_tenth_each_where_supports_differ():
    rng = np.random.default_rng(0)
    items = Items([f"i{number}" for number in range(1000)], np.arange(3000, 2000, -1))
    sessions = Sessions(SessionArrays(items, rng.permutation(1000) + 2, [0, 1000]), "test")
    found = slicings(sessions, np.arange(1, 1000))["popularity_decile"]
    sizes = np.bincount(found.number)
    assert sizes.min() >= 99 and sizes.max() <= 101 and found.labels[0].startswith("1: 2")
    by_decile = [items.counts[sessions.values[1:][found.number == tenth] - 2] for tenth in range(10)]
    for tenth, label in enumerate(found.labels):
        assert label == f"{tenth + 1}: {by_decile[tenth].min()}-{by_decile[tenth].max()}"
        assert tenth == 0 or by_decile[tenth].max() < by_decile[tenth - 1].min()


def test_event_types_by_frequency():
    types = np.array(["view", "view", "cart", "view", "buy", "view", None, "buy"], object)
    found = slicings(split([[2] * 8], event=types), np.arange(1, 8))["event_type"]
    assert found.labels == ("view", "buy", "(none)", "cart")  # equal counts by name
    assert found.number.tolist() == [0, 3, 0, 1, 0, 2, 1]
    assert "event_type" not in cut(split([[2, 3]]))


def test_rare_event_types_share_a_label():
    types = np.array([f"type {number:02}" for number in range(40)], object)
    found = slicings(split([[2] * 40], event=types), np.arange(1, 40))["event_type"]
    assert len(found.labels) == 21 and found.labels[-1] == "(others)" and (found.number == 20).sum() == 19


def test_history_lengths_by_hand():
    train = split([[2, 3, 4], [5, 6], [2] * 9], "train", user=np.array(["a", "c", None], object))
    # a has two sessions that overlap in time; b is new; the last is anonymous
    test = split(
        [[2, 3, 4], [3, 4], [5, 6], [7, 8]],
        user=np.array(["a", "b", "a", None], object),
        times=np.array([10, 20, 30, 11, 12, 15, 25, 40, 50]),
    )
    event = np.array([1, 2, 4, 6, 8])
    found = slicings(test, event)["history_length"]
    assert [found.labels[n] for n in found.number] == ["2", "3-5", "1", "3-5", "1"]  # 2, 4, 1, 3, 1
    found = slicings(test, event, [train])["history_length"]
    assert [found.labels[n] for n in found.number] == ["3-5", "6-10", "1", "6-10", "1"]  # three more for a
    assert "history_length" not in cut(split([[2, 3]]))
    assert "history_length" not in cut(split([[2, 3]], user=np.array([None], object)))


def test_past_sessions_by_hand():
    users = np.array(["a", "b", "a", None, "a"], object)
    test = split([[2, 3], [2, 3, 4], [5, 6], [7, 8], [9, 2]], user=users)
    assert cut(test)["past_sessions"] == ["0", "0", "0", "1", "0", "2"]
    train = split([[2, 3]] * 4, "train", user=np.array(["a", "a", "b", None], object))
    assert cut(test, [train])["past_sessions"] == ["2", "1", "1", "3-4", "0", "3-4"]
    assert "past_sessions" not in cut(split([[2, 3]]))


def test_days_since_the_last_visit_and_new_users_by_hand():
    day = 86_400_000_000
    train = split([[2, 3], [2, 3]], "train", user=np.array(["a", "c"], object), times=np.array([0, 10, 0, 5]))
    test = split(
        [[2, 3], [2, 3], [5, 6], [7, 8], [2, 4]],
        user=np.array(["a", "b", "a", None, "b"], object),
        times=np.array([[9, 9], [3 * day, 4 * day], [day + 10, 2 * day], [5 * day] * 2, [40 * day] * 2]).ravel(),
    )
    found = cut(test, [train])
    # the first session of a begins before its session in train has ended: so it stands alone; b comes back after 36
    assert found["days_since_last_visit"] == [None, None, "1", None, "30+"]
    assert found["user_in_training"] == ["known", "new", "known", "anonymous", "new"]
    alone = cut(test)
    assert alone["days_since_last_visit"] == [None, None, "1", None, "30+"] and "user_in_training" not in alone
    untimed = split([[2, 3], [4, 5]], user=np.array(["a", "a"], object))
    assert "days_since_last_visit" not in cut(untimed) and "user_in_training" in cut(untimed, [train])


@pytest.mark.parametrize("seed", range(5))
def test_history_lengths_equal_a_count_by_loops(seed):
    from tfrecsession.evaluation.slices import history_lengths

    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", None], object)

    def random_split(role):
        sessions = [rng.integers(1, 9, rng.integers(1, 6)).tolist() for _ in range(12)]
        times = rng.permutation(1000)[: sum(map(len, sessions))]
        cuts = np.cumsum([len(session) for session in sessions])[:-1]
        times = np.concatenate([np.sort(part) for part in np.split(times, cuts)])
        return split(sessions, role, user=names[rng.integers(0, 4, 12)], times=times)

    train, test = random_split("train"), random_split("test")
    expected = []
    for s in range(len(test)):
        user = test.column("user")[s]
        for place in range(test.offsets[s + 1] - test.offsets[s]):
            if user is None:
                expected.append(place)
                continue
            now = test.column("times")[test.offsets[s] + place]
            here = sum(
                test.column("times")[event] < now
                for other in range(len(test))
                for event in range(test.offsets[other], test.offsets[other + 1])
                if test.column("user")[other] == user
            )
            before = sum(len(train[other]) for other in range(len(train)) if train.column("user")[other] == user)
            expected.append(here + before)
    assert history_lengths(test, [train]).tolist() == expected
