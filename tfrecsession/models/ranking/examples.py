"""Examples that a ranker learns from: an event's history, a list of candidates, and which of them the event had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions, layout
from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import BLOCK_BYTES
from tfrecsession.metrics import top_k
from tfrecsession.models.ranking.lists import shown_lists
from tfrecsession.models.ranking.members import check_same_data, check_session_model
from tfrecsession.recommender.joint_context import joint_context


@dataclass
class Examples:
    """Lists of candidates with their histories.

    Attributes:
        query: what the ranker's `encoder` returns, arrays [lists, ...].
        ids: int32 [lists, m], 0 behind the last candidate.
        lists: name -> float32 [lists, m], see `WideAndDeep.score_lists`.
        label: int32 [lists], the column of the event's item.
        events: how many events there were, also those whose item is not in their list.
    """

    query: dict
    ids: np.ndarray
    lists: dict
    label: np.ndarray
    events: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def parts(self) -> tuple:
        return self.query, self.ids, self.lists, self.label

    def batches(self, rows: int, seed: int | None = None) -> tf.data.Dataset:
        """Returns batches of `parts`, shuffled unless `seed` is None."""
        dataset = tf.data.Dataset.from_tensor_slices(self.parts)
        return (dataset if seed is None else dataset.shuffle(len(self), seed)).batch(rows)

    def numbers(self, ranker) -> dict:
        """Returns name -> the numbers of the columns that quantiles are learned from."""
        query, ids, lists, _ = tf.nest.map_structure(tf.constant, self.parts)
        return {
            name: np.asarray(values)
            for name, values in ranker.features.numbers_of(query, ids, lists, ranker.item_counts.value).items()
        }


def make_examples(ranker, x, shown, candidates, n: int, negatives: int | None, events: int | None, seed: int):
    """Returns `Examples`; see `WideAndDeep.fit`. `negatives=None` keeps whole lists, `events=None` all events."""
    if not isinstance(x, Sessions):
        raise InputError(f"x: must be a split, such as data.train, not {type(x).__name__}")
    if (shown is None) == (candidates is None):
        raise InputError("shown, candidates: one of them must be given: a column of the log, or a fitted first stage")
    if candidates is not None:
        check_session_model("candidates", candidates)
        check_same_data("candidates", candidates.items, "the ranker", ranker.items)
    ranker.check_vocabulary(x.items)
    models = [ranker] if candidates is None else [ranker, candidates]
    context = joint_context(models)
    read = x.read_in(context)
    values, wanted = np.asarray(read.values), read.scored & (np.asarray(read.values) > 1)
    of_log = None
    if shown is not None:
        of_log = shown_lists(read, shown, ranker.listed, ranker.items)
        wanted = wanted & (of_log.lengths > 0)
    chosen = np.flatnonzero(wanted)
    if events is not None and len(chosen) > events:
        chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:events])
        wanted = np.zeros(len(values), bool)
        wanted[chosen] = True
    if not len(chosen):
        lists = "" if shown is None else f" with a list in {shown!r}"
        raise InputError(f"x: the {x.role} split has no event{lists} after another one whose item training has seen")
    rng, found = np.random.default_rng(seed), []
    for encoded, first, event in _encoded(ranker, candidates, read, wanted, context):
        if of_log is None:
            ids, lists = _candidates(ranker, candidates, encoded, first, n)
        else:
            ids, lists = of_log.lists_of(event)
            lists |= _numpy(ranker.lists_of(encoded["members"], ids))
        if x.role == "train":
            lists["count"] = counts_of_others(ranker.items.counts, read, ids, event)
            window = np.asarray(encoded["window"])
            encoded = {**encoded, "count": counts_of_others(ranker.items.counts, read, window, event)}
        is_label = ids == values[event][:, None]  # (events, m)
        kept = is_label.any(axis=1)
        ids, lists, is_label = _thinned(ids, lists, is_label, negatives, rng)
        query = {**encoded, "members": encoded["members"] if ranker.vectors else ()}
        part = (query, ids, lists, is_label.argmax(axis=1).astype(np.int32))
        found.append(tf.nest.map_structure(lambda array, kept=kept: np.asarray(array)[kept], part))
    joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
    examples = Examples(*joined, events=len(chosen))
    if not len(examples):
        what = f"lists of {shown!r}" if shown is not None else f"{n} candidates of {type(candidates).__name__}"
        raise InputError(f"x: the {x.role} split has no event whose item is among its {what}: nothing can be learned")
    return examples


def _encoded(ranker, candidates, read, wanted, context):
    """Yields blocks of events: the ranker's encoding, that of the first stage or (), and their indices int64 [n]."""
    one_target = ranker.reads.one_target or (candidates is not None and candidates.reads.one_target)
    columns = read.encoded(context) if context else {}

    def encode(batch, cells):
        return ranker.encoder(batch)(cells), candidates.encoder(batch)(cells) if candidates is not None else ()

    traced = None
    models = len(ranker.members) + (candidates is not None)
    rows = int(max(1, min(512, BLOCK_BYTES // 4 // (ranker.size * (models + 2)))))
    for laid in layout.every_event(read.values, read.offsets, scored=wanted, one_target=one_target):
        batch = tf.nest.map_structure(tf.constant, laid.batch_with(columns))
        cells = np.argwhere((laid.event >= 0) & (laid.targets > 0))
        event = laid.event[tuple(cells.T)]
        cells, event = cells[wanted[event]], event[wanted[event]]
        if traced is None:  # one graph for all shapes
            spec = {name: tf.TensorSpec((None, None), array.dtype) for name, array in batch.items()}
            spec = [spec, tf.TensorSpec((None, 2), tf.int32)]
            traced = tf.function(encode, input_signature=spec, autograph=False).get_concrete_function()
        for begin in range(0, len(cells), rows):
            block = slice(begin, begin + rows)
            yield *traced(batch, tf.constant(cells[block], tf.int32)), event[block]


def _candidates(ranker, candidates, encoded, first, n: int):
    """Returns the first stage's lists: int32 [events, n], and their columns."""
    scores = mask_of_items(candidates.score_all(first))
    ids = top_k(scores, min(n, ranker.size - 2))[1]
    place = np.broadcast_to(np.arange(1, ids.shape[1] + 1, dtype=np.float32), ids.shape)
    known = {index: scores for index, member in enumerate(ranker.members) if member is candidates}
    return ids.numpy(), {"place": place, **_numpy(ranker.lists_of(encoded["members"], ids, known))}


def counts_of_others(counts, sessions, ids, event):
    """Returns how often the other sessions of train have the candidates: int32 [n, m] -> float32 [n, m].

    With its own session counted, every item that was clicked in train would be known, and none of them new.
    """
    of_items = np.concatenate([[0, 0], counts])[ids]
    session = np.searchsorted(sessions.offsets, event, side="right") - 1
    for row, number in enumerate(session):
        own = np.sort(sessions.values[sessions.offsets[number] : sessions.offsets[number + 1]])
        of_items[row] -= np.searchsorted(own, ids[row], side="right") - np.searchsorted(own, ids[row])
    return np.maximum(of_items, 0).astype(np.float32)


def mask_of_items(scores):
    """Returns the scores with the lowest number for padding and the unknown item: [n, size] -> float32 [n, size]."""
    scores = tf.cast(scores, tf.float32)
    least = tf.fill([tf.shape(scores)[0], 2], tf.float32.min)
    return tf.concat([least, scores[:, 2:]], axis=1)


def _numpy(columns: dict) -> dict:
    return {name: part.numpy() for name, part in columns.items()}


def _thinned(ids, lists, is_label, negatives, rng):
    """Returns lists of the event's item and `negatives` others, sampled; all of them where negatives is None."""
    if negatives is None or ids.shape[1] <= negatives + 1:
        return ids, lists, is_label
    order = np.where(is_label, -1.0, np.where(ids > 0, rng.random(ids.shape), 2.0))
    kept = np.sort(np.argpartition(order, negatives, axis=1)[:, : negatives + 1], axis=1)

    def taken(array):
        return np.take_along_axis(np.asarray(array), kept, axis=1)

    return taken(ids), {name: taken(values) for name, values in lists.items()}, taken(is_label)


def ranks_in_lists(ranker, examples: Examples, rows: int = 256) -> np.ndarray:
    """Returns the rank of each event's item within its list, int32 [lists], ties counted against the model."""
    found = []
    for query, ids, lists, label in examples.batches(rows):
        scores = ranker.score_lists(query, ids, lists).numpy()
        own = np.take_along_axis(scores, label.numpy()[:, None], axis=1)
        found.append(((scores >= own) & (ids.numpy() > 0)).sum(axis=1))
    return np.concatenate(found).astype(np.int32)
