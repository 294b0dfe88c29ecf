"""Encoded sessions -> tf.data. An element is `(batch, targets)`, see `tfrecsession.batches.batch`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches import lanes, layout
from tfrecsession.batches.batch import spec
from tfrecsession.batches.epochs import Batches, ahead, in_epochs
from tfrecsession.batches.packing import pack, rows_needed
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.errors import InputError

NOTHING = "no session has two events or more: there is nothing to train on"
CELLS_A_CHUNK = 1 << 18  # laid out by one call of NumPy: enough to hide Python's overhead, little to hold in memory


def packed(
    values: np.ndarray,
    offsets: np.ndarray,
    rows: int = 64,
    steps: int = 20,
    *,
    shuffle: bool = True,
    seed: int = 0,
    long: str = "newest",
    one_target: bool = False,
) -> tf.data.Dataset:
    """Batches of static shape `[rows, steps]` for training; every epoch deals the sessions anew.

    Args:
        values: int32 [events], item ids, session after session.
        offsets: int64 [sessions + 1], where each session starts in `values`.
        rows, steps: shape of a batch.
        shuffle: mix sessions and rows, differently each epoch, always the same under one `seed`.
        long: what becomes of a session of more than `steps` steps: "newest" keeps its last ones, "split" cuts it up.
        one_target: every prefix of every session by itself, with one target after its last step.
    """
    pieces = cutting(rows, steps, long, one_target)(offsets, steps)
    _check_some(pieces)

    def lay_out(*where):
        return layout.lay_out(values, pieces, *where, last_only=one_target)

    return _dealt(pieces, lay_out, rows, steps, shuffle, seed)


def cutting(rows: int, steps: int, long: str, one_target: bool):
    """What cuts sessions into pieces for `packed`: a function of offsets and steps."""
    _check_shape(rows, steps)
    if long not in ("newest", "split"):
        raise InputError(f"long={long!r}: say 'newest' (keep the last steps) or 'split' (cut into pieces)")
    if one_target and long == "split":
        raise InputError("long='split': a prefix that is cut up has one end only, say long='newest' with one_target")
    return layout.prefixes if one_target else layout.newest if long == "newest" else layout.split


def session_parallel(values: np.ndarray, offsets: np.ndarray, rows: int = 64, steps: int = 1) -> tf.data.Dataset:
    """Batches of static shape `[rows, steps]` whose rows go on from batch to batch, for models that carry their state.

    Sessions begin in the order of the log, none is cut and none is left out: in the last batches the lanes that have
    run out of sessions stay empty.
    """
    _check_shape(rows, steps)
    pieces = layout.whole(offsets)
    _check_some(pieces)
    lane, begin = lanes.assign(pieces.lengths, rows)

    def windows(epoch, first, width):
        return lanes.windows(values, pieces, lane, begin, rows, width, first)

    return _in_lanes(windows, int((begin + pieces.lengths).max()), rows, steps)


def every_event(
    values: np.ndarray, offsets: np.ndarray, cells: int = 8192, one_target: bool = False
) -> tf.data.Dataset:
    """Batches for evaluation: every event that has a predecessor, of every session, however long, is a target exactly
    once; with `one_target` after a prefix of its own."""

    def all_of_them():
        return layout.every_event(values, offsets, cells, one_target=one_target)

    return _once(all_of_them, len(values))


def packed_users(people: UserSequences, rows: int = 64, steps: int = 20, *, shuffle: bool = True, seed: int = 0):
    """As `packed`, but persons end to end, each by their newest `steps` events."""
    _check_shape(rows, steps)
    pieces = people.newest(steps)
    _check_some(pieces)

    def lay_out(*where):
        return people.lay_out(pieces, *where)

    return _dealt(pieces, lay_out, rows, steps, shuffle, seed, visits=not people.joined)


def user_parallel(people: UserSequences, rows: int = 64, steps: int = 20, *, shuffle: bool = True, seed: int = 0):
    """Batches of static shape `[rows, steps]` whose rows go on from batch to batch: a lane plays the sessions of one
    person in order, then those of the next (arXiv 1706.04148, section 3.3)."""
    _check_shape(rows, steps)
    lengths = np.diff(people.offsets)
    _check_some(people.newest(int(lengths.max(initial=1))))
    # The progress bar wants the same number of batches every epoch: the lanes are planned once, and people of one
    # length change places.
    rng = np.random.default_rng(seed)
    plan = rng.permutation(len(people)) if shuffle else np.arange(len(people))
    lane, begin = lanes.assign(lengths[plan], rows)
    place = np.argsort(lengths[plan], kind="stable")

    def windows(epoch, first, width):
        order = plan
        if shuffle:
            dealt = np.random.default_rng([seed, epoch]).permutation(len(people))
            order = np.empty_like(plan)
            order[place] = dealt[np.argsort(lengths[dealt], kind="stable")]
        pieces = layout.Pieces(people.offsets[:-1][order], lengths[order])
        return people.windows(pieces, lane, begin, rows, width, first)

    return _in_lanes(windows, int((begin + lengths[plan]).max()), rows, steps, visits=not people.joined)


def every_event_of_users(people: UserSequences, cells: int = 8192) -> tf.data.Dataset:
    """Batches for evaluation: every person's events in order, those that are scored targets exactly once."""
    scored = people.scored()

    def all_of_them():
        return people.every_event(scored, cells)

    return _once(all_of_them, len(people.values), visits=not people.joined)


def _once(all_of_them, events: int, visits: bool = False) -> tf.data.Dataset:
    """The layouts that `all_of_them()` gives, a batch each."""

    def once():
        for laid in all_of_them():
            yield laid.batch, laid.targets

    dataset = tf.data.Dataset.from_generator(once, output_signature=spec((None, None), visits))
    if events < 10_000_000:  # known for the progress bar where counting is cheap
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in all_of_them())))
    return Batches(ahead(dataset))


def _dealt(pieces: layout.Pieces, lay_out, rows: int, steps: int, shuffle: bool, seed: int, visits: bool = False):
    """Pieces dealt into rows anew each epoch; `lay_out` takes a packing, rows from and to, and the shape."""
    batches = -(-rows_needed(pieces.lengths, steps) // rows)
    chunk = max(1, CELLS_A_CHUNK // (rows * steps))

    def chunks(epoch, first):
        rng = np.random.default_rng([seed, epoch]) if shuffle else None
        packing = pack(pieces.lengths, steps, rng)
        for begin in range(first * chunk * rows, len(packing), chunk * rows):
            end = min(begin + chunk * rows, len(packing))
            full = -(-(end - begin) // rows) * rows
            laid = lay_out(packing, begin, end, steps, full)
            shape = (full // rows, rows, steps)
            yield {name: array.reshape(shape) for name, array in laid.batch.items()}, laid.targets.reshape(shape)

    return in_epochs(chunks, spec((None, rows, steps), visits), batches, chunk)


def _in_lanes(windows, total: int, rows: int, steps: int, visits: bool = False):
    """Lanes of `total` steps in batches; `windows` takes an epoch, the number of the first window and a width, and
    gives the layouts."""
    batches = -(-total // steps)
    chunk = max(1, CELLS_A_CHUNK // (rows * steps))

    def chunks(epoch, first):
        for number, laid in enumerate(windows(epoch, first, chunk * steps), first):
            here = min(batches - number * chunk, chunk)
            cut = {
                name: array.reshape(rows, -1, steps).transpose(1, 0, 2)[:here]
                for name, array in (*laid.batch.items(), ("targets", laid.targets))
            }
            yield cut, cut.pop("targets")

    return in_epochs(chunks, spec((None, rows, steps), visits), batches, chunk)


def _check_some(pieces: layout.Pieces) -> None:
    if not len(pieces.lengths):
        raise InputError(NOTHING)


def _check_shape(rows: int, steps: int) -> None:
    for name, number in (("rows", rows), ("steps", steps)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise InputError(f"{name}={number!r}: a batch needs a whole number of {name}, at least 1")
