"""Passes over the training data, one an epoch, that can begin at any batch.

The batches of an epoch follow from the seed and the epoch's number alone. An interrupted training therefore resumes
with the very batches that it would have seen.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfrecsession.errors import InputError

AHEAD = 8  # batches that wait for the training step


class Batches(tf.data.Dataset):
    """A `tf.data.Dataset` of batches that knows its data, and can begin at any batch.

    Transformations (`map`, `take`, ...) return plain datasets without these attributes.

    Args:
        dataset: the batches.
        restart: (epoch, batch) -> `Batches` that begin there; None: they cannot.
        split: (index, count) -> the `Batches` of worker `index` of `count`, which read their part of the data alone;
            None: a worker reads all of it.
        per_epoch: batches in a whole epoch; None: as many as `dataset` has.
        failures: InputErrors raised while batches are read, appended by the reading thread.

    Attributes:
        sessions: the split that the batches are of, `Sessions`; None for pairs.
        context: the `Context` whose columns are in the batches; None: there are none.
        arguments: those of `Sessions.batches` that made them.
        interactions: the users x items that the batches are of; None for sessions.
        one_target, by_user: how the batches were made, see `Sessions.batches`.
    """

    sessions = interactions = context = None
    one_target, by_user = False, False
    arguments: dict | None = None
    begins_at = (0, 0)

    def __init__(
        self,
        dataset: tf.data.Dataset,
        restart: Callable[[int, int], Batches] | None = None,
        split: Callable[[int, int], Batches] | None = None,
        per_epoch: int | None = None,
        failures: list[InputError] | None = None,
    ):
        self._dataset, self._per_epoch = dataset, per_epoch
        self.restart, self.split, self.failures = restart, split, [] if failures is None else failures
        super().__init__(dataset._variant_tensor)

    @property
    def element_spec(self):
        return self._dataset.element_spec

    def _inputs(self):
        return [self._dataset]

    def cardinality(self):
        """int64 scalar tensor: the batches of a whole epoch, also where the first epoch begins later."""
        return self._dataset.cardinality() if self._per_epoch is None else tf.constant(self._per_epoch, tf.int64)

    def of(self, **attributes) -> Batches:
        """Sets attributes (`sessions`, `interactions`, `one_target`, `by_user`) and returns the batches."""
        for name, value in attributes.items():
            setattr(self, name, value)
        return self

    def starting_at(self, epoch: int, batch: int = 0) -> Batches:
        """Returns the batches of `epoch` from number `batch` on, then those of later epochs; see `starting_at`."""
        return self.restart(int(epoch), int(batch)).of(**self._attributes).of(begins_at=(int(epoch), int(batch)))

    def in_context(self, context) -> Batches:
        """Returns the same batches with the columns of a `Context`, of a split that they are made from."""
        made = self.sessions.batches(**self.arguments, context=context)
        return made if self.begins_at == (0, 0) else made.starting_at(*self.begins_at)

    def of_worker(self, index: int, count: int) -> Batches:
        """Returns the batches of worker `index` of `count`: those of its part of the data, where there is a `split`."""
        return self.split(index, count).of(**self._attributes) if self.split else self

    @property
    def _attributes(self) -> dict:
        names = ("sessions", "interactions", "context", "arguments", "one_target", "by_user")
        return {name: getattr(self, name) for name in names}


def in_epochs(
    chunks: Callable[[int, int], Iterator], spec, batches: int, chunk: int, split: Callable | None = None
) -> Batches:
    """Returns batches, a new epoch at each pass: the first pass is epoch 0, the second epoch 1, and so on.

    Args:
        chunks: (epoch, first) -> the chunks of that epoch from number `first` on, each `chunk` batches stacked: nested
            arrays [batches, ...]. Chunks before `first` should cost nothing.
        spec: of a chunk, a `TensorSpec` for each array.
        batches: how many there are in every epoch.
        chunk: batches in a chunk, all but the last.
        split: as in `Batches`.
    """

    def start(epoch: int = 0, batch: int = 0) -> Batches:
        passes, skipped = itertools.count(epoch), itertools.chain([batch], itertools.repeat(0))
        failures: list[InputError] = []

        def one_pass():
            first, left_out = divmod(next(skipped), chunk)
            try:
                for stack in chunks(next(passes), first):
                    yield tf.nest.map_structure(lambda array, begin=left_out: array[begin:], stack)
                    left_out = 0
            except InputError as error:
                failures.append(error)
                raise

        dataset = tf.data.Dataset.from_generator(one_pass, output_signature=spec).unbatch()
        if not batch:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
        dataset = ahead(dataset)
        part = split and (lambda index, count: split(index, count).starting_at(epoch, batch))
        return Batches(dataset, start, part, batches if batch else None, failures)

    return start()


def starting_at(dataset: tf.data.Dataset, epoch: int, batch: int = 0) -> Batches:
    """Returns the batches of a resumed training: of `epoch` those from number `batch` on, then the later epochs.

    `cardinality()` stays that of a whole epoch: Keras counts the batches of the first one from 0.

    Args:
        dataset: of `data.train.batches(...)` or `batches.triples`, or any `Batches` with a `restart`.
        epoch, batch: from 0, counted as if `dataset` had not been read yet.

    Raises:
        InputError: the data set cannot begin there.
    """
    if not isinstance(dataset, Batches) or dataset.restart is None:
        raise InputError(
            "x: these batches cannot begin in the middle of an epoch: must be data.train.batches(...) as it is, or "
            "tfrecsession.batches.epochs.Batches(dataset, restart=...)"
        )
    return dataset.starting_at(epoch, batch)


@contextlib.contextmanager
def input_errors_of(*batches) -> Iterator[None]:
    """Raises an InputError met while batches are read as itself, not as the text of a TensorFlow error.

    Args:
        batches: what is read within; only `Batches` know their errors.
    """
    known = [it for it in batches if isinstance(it, Batches)]
    for it in known:
        it.failures.clear()
    try:
        yield
    except tf.errors.OpError:
        for it in known:
            if it.failures:
                raise it.failures.pop() from None
        raise


def ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prepares batches while the step before is computed.

    tf.data's autotuning is off: at the end of an epoch it would wait for its thread, which sleeps 10 ms, 20 ms, 40 ms
    ... between looks (an epoch of 6 seconds took 10).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(AHEAD).with_options(options)
