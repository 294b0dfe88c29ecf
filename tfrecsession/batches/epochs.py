"""Passes over the training data, one an epoch, that can begin at any batch.

What comes in which epoch follows from the seed and the number of the epoch alone, so that a training that was broken
off goes on with the very batches that it would have seen. The contract is one attribute of a data set of batches,
`start(epoch, batch)`: the same batches from there on. Who makes batches in another way gives them that attribute, and
`starting_at` does the rest.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfrecsession.errors import InputError

AHEAD = 8  # batches that wait for the training step
FAILED: list[InputError] = []  # what could not be read while batches were made, see `plainly`
MARKS = ("sessions", "one_target", "by_user", "interactions")  # what models read of a data set of batches


def in_epochs(
    chunks: Callable[[int, int], Iterator], spec, batches: int, chunk: int, share: Callable | None = None
) -> tf.data.Dataset:
    """An epoch at each pass.

    Args:
        chunks: (epoch, first) -> the chunks of that epoch from number `first` on, each some `chunk` batches stacked:
            nested arrays [batches, ...]. What lies before `first` should cost nothing.
        spec: of a chunk, a `TensorSpec` for each array.
        batches: how many there are in every epoch.
        chunk: batches in a chunk, all but the last.
        share: (index, count) -> the data set of worker `index` of `count`, where each reads only its part of the data.

    Returns:
        A data set of batches. Its first pass is epoch 0, its second epoch 1, and so on; `start(epoch, batch)` makes one
        that begins elsewhere, whose first pass is that much shorter.
    """

    def start(epoch: int = 0, batch: int = 0) -> tf.data.Dataset:
        passes, skipped = itertools.count(epoch), itertools.chain([batch], itertools.repeat(0))

        def one_pass():
            first, left_out = divmod(next(skipped), chunk)
            try:
                for some in chunks(next(passes), first):
                    yield tf.nest.map_structure(lambda array, begin=left_out: array[begin:], some)
                    left_out = 0
            except InputError as error:
                FAILED.append(error)
                raise

        dataset = tf.data.Dataset.from_generator(one_pass, output_signature=spec).unbatch()
        if not batch:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches))
        dataset = ahead(dataset)
        if batch:  # an epoch has them all, whatever is left of this one
            dataset.cardinality = lambda: tf.constant(batches, tf.int64)
        dataset.start = start
        if share:
            dataset.share = lambda index, count: share(index, count).start(epoch, batch)
        return dataset

    return start()


def starting_at(dataset: tf.data.Dataset, epoch: int, batch: int = 0) -> tf.data.Dataset:
    """The batches of a training that goes on: of `epoch` those from number `batch` on, then the later epochs.

    `cardinality()` still says how many batches a whole epoch has: Keras counts those of the first one from 0, and
    `training.Checkpoint` passes over the ones that were.

    Args:
        dataset: of `data.train.batches(...)` or `batches.triples`.
        epoch, batch: from 0, counted as if `dataset` had not been read yet.

    Raises:
        InputError: the data set cannot begin there.
    """
    if not hasattr(dataset, "start"):
        raise InputError(
            "x: these batches cannot begin in the middle; take data.train.batches(...) as it is, or give yours an "
            "attribute start(epoch, batch), see tfrecsession.batches.epochs"
        )
    begins = dataset.start(int(epoch), int(batch))
    for mark in MARKS:
        if hasattr(dataset, mark):
            setattr(begins, mark, getattr(dataset, mark))
    return begins


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """An InputError met while batches are read comes out as itself, not as the text of an error of TensorFlow."""
    FAILED.clear()
    try:
        yield
    except tf.errors.OpError:
        if FAILED:
            raise FAILED.pop() from None
        raise


def ahead(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Made while the step before is computed. Without tf.data's autotuning: the end of an epoch would wait for its
    thread, which sleeps 10 ms, 20 ms, 40 ms ... between looks (an epoch of 6 seconds took 10)."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(AHEAD).with_options(options)
