"""Batches that are read from files a window at a time: every session once, whatever the window."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.batches import out_of_core
from tfrecsession.batches.epochs import input_errors_of, starting_at
from tfrecsession.sessions import write
from tfrecsession.sessions.store import StoredSessions

SHAPE = {"rows": 4, "steps": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of several parts with several row groups each."""
    folder = tmp_path_factory.mktemp("streamed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "PART", 600)
        patch.setattr(write, "BLOCK", 32)
        patch.setattr(write, "ROWS", 64)
        trs.prepare("synthetic:items=60,sessions=1200,seed=3", folder)
    return folder


@pytest.fixture
def data(folder):
    return trs.load(folder)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(out_of_core.datasets, "CELLS_A_CHUNK", 3 * SHAPE["rows"] * SHAPE["steps"])


def least(sessions, **options):
    with pytest.raises(InputError) as refused:
        sessions.batches(**{**SHAPE, **options}, memory=1)
    assert "part-" in str(refused.value) and "at least" in str(refused.value)
    stream = stream_of(sessions, 1 << 40)
    return max(s.read for s in stream.shards) + 2 * max(s.held for s in stream.shards)


def stream_of(sessions, memory, seed=0):
    cut = out_of_core.datasets.cutting(4, 6, "newest", False)
    return out_of_core._Stream(sessions.arrays, memory, 6, cut, True, seed, False)


def batches_of(dataset):
    return [(*(array.copy() for array in batch.values()), targets) for batch, targets in dataset.as_numpy_iterator()]


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


def pieces_in(batches):
    """Counts each piece, as its items and last target, in batches."""
    found = Counter()
    for items, _, segment, targets in batches:
        for row in range(len(items)):
            for number in range(1, segment[row].max() + 1):
                piece = segment[row] == number
                found[(*items[row][piece].tolist(), int(targets[row][piece][-1]))] += 1
    return found


def expected(sessions, steps):
    """Returns the newest `steps` steps of each session, read one by one."""
    return Counter(tuple(sessions[s][-steps - 1 :].tolist()) for s in range(len(sessions)))


@pytest.mark.parametrize("times", [1, 1.7, 5, 1000])
def test_every_epoch_has_every_session_once(data, folder, times, small_chunks):
    memory = int(least(data.train) * times)
    dataset = data.train.batches(**SHAPE, memory=memory, seed=5)
    assert len({part for part, _ in data.train.arrays.shards}) > 3 < len(data.train.arrays.shards)
    epochs = [batches_of(dataset) for _ in range(3)]
    truth = expected(trs.load(folder).train, 6)
    for epoch in epochs:
        assert len(epoch) == dataset.cardinality().numpy()
        assert all(batch[0].shape == (4, 6) for batch in epoch)
        assert pieces_in(epoch) == truth
    assert not same(epochs[0], epochs[1]) and not same(epochs[1], epochs[2])
    again = data.train.batches(**SHAPE, memory=memory, seed=5)
    assert same(batches_of(again), epochs[0]) and same(batches_of(again), epochs[1])
    assert not same(batches_of(data.train.batches(**SHAPE, memory=memory, seed=6)), epochs[0])


@pytest.mark.parametrize("options", [{"long": "split"}, {"one_target": True}, {"shuffle": False}])
def test_other_options_give_the_same_pieces_as_in_memory(data, options):
    in_memory = pieces_in(batches_of(data.train.batches(**SHAPE, **options)))
    stream = data.train.batches(**SHAPE, **options, memory="2MB")
    assert pieces_in(batches_of(stream)) == in_memory


def test_a_start_at_any_batch_reads_no_earlier_window(data, monkeypatch, small_chunks):
    memory = least(data.train) * 2
    dataset = data.train.batches(**SHAPE, memory=memory, seed=2)
    _, second, third = batches_of(dataset), batches_of(dataset), batches_of(dataset)
    read = []
    whole = StoredSessions.read_shard
    monkeypatch.setattr(StoredSessions, "read_shard", lambda self, *shard: read.append(shard) or whole(self, *shard))
    for batch in (0, 1, 2, 3, 10, len(second) - 1):
        begun = starting_at(dataset, 1, batch)
        assert begun.cardinality().numpy() == len(second) and begun.sessions is data.train
        assert same(batches_of(begun), second[batch:]) and same(batches_of(begun), third)
    read.clear()
    batches_of(starting_at(dataset, 1, len(second) - 1))
    assert 0 < len(read) < len(data.train.arrays.shards) / 2


@pytest.mark.parametrize("count", [2, 3])
def test_workers_split_the_shards_without_overlap_or_loss(data, count):
    one = data.train.batches(rows=12, steps=6, memory="1MB", seed=4)
    shares = [
        data.train.batches(rows=12 // count, steps=6, memory="1MB", seed=4, shard=(i, count)) for i in range(count)
    ]
    assert len({share.cardinality().numpy() for share in shares}) == 1
    batches = [batches_of(share) for share in shares]
    found = [pieces_in(share) for share in batches]
    assert sum(found, Counter()) == pieces_in(batches_of(one))
    assert len({len(share) for share in batches}) == 1
    for index, share in enumerate(batches):
        assert same(batches_of(one.of_worker(index, count)), share)
        assert same(
            batches_of(one.starting_at(1, 3).of_worker(index, count)), batches_of(shares[index].starting_at(1, 3))
        )


def test_no_array_of_the_split_is_loaded(data):
    train = data.train
    assert len(train) and train.events and train.scored_events and repr(train)
    batches_of(train.batches(**SHAPE, memory="1MB"))
    assert "_lists" not in vars(train.arrays)
    assert train.scored_events == np.maximum(np.diff(train.offsets) - 1, 0).sum()


def test_windows_and_reading_stay_within_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "PART", 40_000)
    monkeypatch.setattr(write, "ROWS", 4096)
    trs.prepare("synthetic:items=60,sessions=40000,seed=3", tmp_path / "data")
    train = trs.load(tmp_path / "data").train
    memory = int(least(train) * 1.3)
    stream = stream_of(train, memory)
    assert memory < 24 * train.events  # the split does not fit
    for epoch in range(3):
        for number, shards in enumerate(stream._in_windows(stream.shards)):
            window = stream._window(shards, epoch, number)
            arrays = (window.values, *window.pieces, window.splits, window.order)
            assert sum(array.nbytes for array in arrays) == sum(shard.held for shard in shards) + 8
            assert sum(shard.held for shard in shards) <= stream.window_bytes
    tracemalloc.start()
    for window, _ in stream._windows(stream.shards, 0, 0):
        del window
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory


def test_a_damaged_or_missing_shard_is_named_when_it_is_read(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "data")
    train = trs.load(tmp_path / "data").train
    dataset = train.batches(**SHAPE, memory=least(train))
    victim = train.arrays.shards[-1][0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{victim.name}: is damaged"), input_errors_of(dataset):
        batches_of(dataset)
    victim.unlink()
    with pytest.raises(InputError, match=f"{victim.name}: is missing"), input_errors_of(dataset):
        batches_of(dataset)
    with pytest.raises(InputError, match=f"{victim.name}: is missing"):
        train.batches(**SHAPE, memory="1MB")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"memory": "much"}, "memory='much'"),
        ({"memory": 0}, "memory=0"),
        ({"memory": "1MB", "carry": True}, "carry"),
        ({"memory": "1MB", "by_user": True}, "by_user"),
        ({"memory": "1MB", "every_event": True}, "every_event"),
        ({"memory": "1MB", "rows": 0}, "rows=0"),
        ({"memory": "1MB", "shard": (2, 2)}, "shard"),
        ({"memory": "1MB", "shard": (0, 10_000)}, "10000 workers"),
        ({"shard": (0, 2)}, "memory="),
    ],
)
def test_an_error_names_the_invalid_option(data, options, named):
    with pytest.raises(InputError, match=named):
        data.train.batches(**{**SHAPE, **options})


def test_a_memory_bound_is_refused_for_sessions_in_memory(shop):
    with pytest.raises(InputError, match="in memory already"):
        shop.train.batches(memory="1MB")
