"""Encoded sessions as tf.data. An element is `(batch, targets)`, see `tfrecsession.batches.batch`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches import lanes, layout
from tfrecsession.batches.batch import spec
from tfrecsession.batches.epochs import Batches, ahead, in_epochs
from tfrecsession.batches.event_weights import ZERO
from tfrecsession.batches.packing import pack, rows_needed
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.errors import InputError

NOTHING = "no session has two events or more: there is nothing to train on"


class Encoded(NamedTuple):
    """The columns of the events of a log: a `Context`, and the key of a batch -> values [events].

    The keys are "context/NAME", "request/NAME" and, of weighted events, "weight".
    """

    context: object = None
    columns: dict = {}

    @property
    def weighted(self) -> bool:
        return "weight" in self.columns

    def spec(self, shape: tuple, visits: bool = False):
        """Returns the specs of a batch and its targets, see `batch.spec`."""
        return spec(shape, visits, self.context, self.weighted)


NONE = Encoded()
CELLS_A_CHUNK = 1 << 18  # laid out by one call of NumPy: large enough to hide Python's overhead, small in memory


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
    encoded: Encoded = NONE,
) -> tf.data.Dataset:
    """Returns batches of static shape `[rows, steps]` for training; every epoch deals the sessions into new rows.

    Args:
        values: int32 [events], item ids, session after session.
        offsets: int64 [sessions + 1], where each session starts in `values`.
        rows, steps: shape of a batch.
        shuffle: whether to mix sessions and rows, differently in each epoch, always the same under one `seed`.
        long: how to shorten a session of more than `steps` steps: "newest" keeps its last ones, "split" cuts it up.
        one_target: whether to lay out every prefix of every session by itself, with one target after its last step.
        encoded: the context and the weights of the events.

    Raises:
        InputError: a shape or `long` that is not allowed, or no session has a target.
    """
    pieces = cutting(rows, steps, long, one_target)(offsets, steps)
    _check_not_empty(pieces)
    if encoded.weighted:
        pieces = layout.with_targets(pieces, encoded.columns["weight"], one_target)
        _check_not_empty(pieces, ZERO)
    layout_of = partial(layout.packed_rows, values, pieces, last_only=one_target)
    return _dealt(pieces, layout_of, rows, steps, shuffle, seed, encoded=encoded)


def cutting(rows: int, steps: int, long: str, one_target: bool):
    """Returns the function (offsets, steps) -> pieces that cuts sessions for `packed`."""
    _check_shape(rows, steps)
    if long not in ("newest", "split"):
        raise InputError(f"long={long!r}: must be 'newest' (keep the last steps) or 'split' (cut into pieces)")
    if one_target and long == "split":
        raise InputError("long='split': must be 'newest' with one_target, as a prefix that is cut up has one end only")
    return layout.prefixes if one_target else layout.newest if long == "newest" else layout.split


def session_parallel(
    values: np.ndarray, offsets: np.ndarray, rows: int = 64, steps: int = 1, encoded: Encoded = NONE
) -> tf.data.Dataset:
    """Returns batches of static shape `[rows, steps]` whose rows continue from batch to batch, for models that carry
    their state.

    Sessions begin in the order of the log; none is cut or left out. In the last batches, lanes that have run out of
    sessions stay empty.
    """
    _check_shape(rows, steps)
    pieces = layout.whole(offsets)
    _check_not_empty(pieces)
    lane, begin = lanes.assign(pieces.lengths, rows)

    def windows(epoch, first, width):
        return lanes.windows(values, pieces, lane, begin, rows, width, first)

    return _in_lanes(windows, int((begin + pieces.lengths).max()), rows, steps, encoded=encoded)


def every_event(
    values: np.ndarray,
    offsets: np.ndarray,
    cells: int = 8192,
    one_target: bool = False,
    encoded: Encoded = NONE,
    scored: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Returns batches for evaluation: every event with a predecessor in its session is a target exactly once, however
    long the session. With `one_target` it follows a prefix of its own. `scored`: bool [events], the targets; None: all.
    """

    def layouts():
        return layout.every_event(values, offsets, cells, scored=scored, one_target=one_target)

    return _once(layouts, len(values), encoded=encoded)


def packed_users(
    users: UserSequences,
    rows: int = 64,
    steps: int = 20,
    *,
    shuffle: bool = True,
    seed: int = 0,
    encoded: Encoded = NONE,
):
    """Returns batches as `packed` does, of users: the newest `steps` events of each, session after session."""
    _check_shape(rows, steps)
    pieces = users.newest(steps)
    _check_not_empty(pieces)
    layout_of = partial(users.rows_of, pieces)
    return _dealt(pieces, layout_of, rows, steps, shuffle, seed, not users.joined, encoded)


def user_parallel(
    users: UserSequences,
    rows: int = 64,
    steps: int = 20,
    *,
    shuffle: bool = True,
    seed: int = 0,
    encoded: Encoded = NONE,
):
    """Returns batches of static shape `[rows, steps]` whose rows continue from batch to batch: a lane holds the
    sessions of one user in order, then those of the next (arXiv 1706.04148, section 3.3)."""
    _check_shape(rows, steps)
    lengths = np.diff(users.offsets)
    _check_not_empty(users.newest(int(lengths.max(initial=1))))
    # The progress bar needs the same number of batches in every epoch. So the lanes are planned once, and an epoch
    # only swaps users with the same number of events.
    rng = np.random.default_rng(seed)
    plan = rng.permutation(len(users)) if shuffle else np.arange(len(users))
    lane, begin = lanes.assign(lengths[plan], rows)
    by_length = np.argsort(lengths[plan], kind="stable")

    def windows(epoch, first, width):
        order = plan
        if shuffle:
            dealt = np.random.default_rng([seed, epoch]).permutation(len(users))
            order = np.empty_like(plan)
            order[by_length] = dealt[np.argsort(lengths[dealt], kind="stable")]
        pieces = layout.Pieces(users.offsets[:-1][order], lengths[order])
        return users.windows(pieces, lane, begin, rows, width, first)

    return _in_lanes(windows, int((begin + lengths[plan]).max()), rows, steps, not users.joined, encoded)


def every_event_of_users(users: UserSequences, cells: int = 8192, encoded: Encoded = NONE) -> tf.data.Dataset:
    """Returns batches for evaluation: every user's events in order; each scored event is a target exactly once."""
    scored = users.scored()

    def layouts():
        return users.every_event(scored, cells)

    return _once(layouts, len(users.values), not users.joined, encoded)


def _once(layouts, events: int, visits: bool = False, encoded: Encoded = NONE) -> tf.data.Dataset:
    """Returns a batch for each layout that `layouts()` yields."""

    def elements():
        for laid in layouts():
            yield laid.element_with(encoded.columns)

    signature = encoded.spec((None, None), visits)
    dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
    if events < 10_000_000:  # known for the progress bar where counting is cheap
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(1 for _ in layouts())))
    return Batches(ahead(dataset))


def _dealt(
    pieces: layout.Pieces,
    layout_of,
    rows: int,
    steps: int,
    shuffle: bool,
    seed: int,
    visits: bool = False,
    encoded: Encoded = NONE,
):
    """Deals pieces into rows anew in each epoch.

    layout_of: (packing, first row, last row, steps, rows) -> `Layout`.
    """
    batches = -(-rows_needed(pieces.lengths, steps) // rows)
    chunk = max(1, CELLS_A_CHUNK // (rows * steps))

    def chunks(epoch, first):
        rng = np.random.default_rng([seed, epoch]) if shuffle else None
        packing = pack(pieces.lengths, steps, rng)
        for begin in range(first * chunk * rows, len(packing), chunk * rows):
            end = min(begin + chunk * rows, len(packing))
            full = -(-(end - begin) // rows) * rows
            laid = layout_of(packing, begin, end, steps, full)
            shape = (full // rows, rows, steps)
            batch, targets = laid.element_with(encoded.columns)
            yield {name: array.reshape(shape) for name, array in batch.items()}, targets.reshape(shape)

    return in_epochs(chunks, encoded.spec((None, rows, steps), visits), batches, chunk)


def _in_lanes(windows, total: int, rows: int, steps: int, visits: bool = False, encoded: Encoded = NONE):
    """Cuts lanes of `total` steps into batches.

    windows: (epoch, first window, width) -> the layouts of that width from that window on.
    """
    batches = -(-total // steps)
    chunk = max(1, CELLS_A_CHUNK // (rows * steps))

    def chunks(epoch, first):
        for window, laid in enumerate(windows(epoch, first, chunk * steps), first):
            count = min(batches - window * chunk, chunk)
            batch, targets = laid.element_with(encoded.columns)
            stacked = {
                name: array.reshape(rows, -1, steps).transpose(1, 0, 2)[:count]
                for name, array in (*batch.items(), ("targets", targets))
            }
            yield stacked, stacked.pop("targets")

    return in_epochs(chunks, encoded.spec((None, rows, steps), visits), batches, chunk)


def _check_not_empty(pieces: layout.Pieces, message: str = NOTHING) -> None:
    if not len(pieces.lengths):
        raise InputError(message)


def _check_shape(rows: int, steps: int) -> None:
    for name, size in (("rows", rows), ("steps", steps)):
        if not isinstance(size, int | np.integer) or size < 1:
            raise InputError(f"{name}={size!r}: must be a whole number, at least 1")
