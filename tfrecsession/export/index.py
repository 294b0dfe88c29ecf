"""Indexes that search the best items in an export, and the measurement of their recall."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.export.compact_table import CompactTable
from tfrecsession.layers.items.gather import serving
from tfrecsession.recommender.recommend import BLOCK_BYTES
from tfrecsession.recommender.top_items import pairs

STORED = {"exact-bf16": "bfloat16", "exact-int8": "int8"}


class ExactIndex:
    """An index that computes all scores in float32, as the model itself does.

    Attributes:
        kind: one of `make_index.KINDS`.
        settings: dict, the settings that the index was built with, for README.md and `tfrecsession.json`.
        recall: share of the exact answer's items that the index finds; None: it is exact.
        measured_on: text, the histories that the recall was measured on; None: it is exact.
    """

    kind = "exact"
    recall = measured_on = None

    def __init__(self, model):
        self.model, self.settings = model, {}

    def installed(self):
        """Returns a context manager; in graphs traced within it, the model's answers come from this index."""
        return serving()

    def nearest(self):
        """Returns the function of `similar_items`: int32 ids [n] and k -> ids and scores [n, k]."""
        return self.model.nearest()


class CompactIndex(ExactIndex):
    """An index that computes all scores approximately from a compact table, and the best ones again in float32.

    The float32 scores use the rounded vectors of the table. The graph holds no other table: the vectors of histories
    and similar items come from it too.

    Args:
        model: a Recommender that scores by dot products.
        kind: a key of STORED.
        k: items per answer.
    """

    def __init__(self, model, kind: str, k: int):
        super().__init__(model)
        self.kind = kind
        matrix = np.asarray(model.fixed_vectors(tf.range(model.size)))
        self.table = CompactTable(matrix, STORED[kind], exact=matrix.shape[1] - model.item_vectors().shape[1])
        lengths = np.linalg.norm(matrix[:, : self.table.dim], axis=1)
        self.inverse_lengths = tf.Variable(1 / np.maximum(lengths, 1e-6), trainable=False, dtype=tf.float32)
        self.candidates = min(4 * k + 16, model.size)
        self.settings = {"candidates": self.candidates}

    def installed(self):
        read = tf.function(self.model.fixed_vectors, autograph=False).get_concrete_function(tf.constant([2])).variables
        tables = [variable for variable in read if variable.shape.rank == 2 and variable.shape[0] == self.model.size]
        return serving(self, tables[0] if tables else None, self.table)

    def best(self, encoded, known, k: int, out=None, allowed=None):
        queries = self.model.queries(encoded)
        scores, shift = self.table.scores(queries), self.model.item_shift()
        scores, head = scores if shift is None else scores + shift, self.model.repeat_head
        mixed = scores if head is None else head.mixed(scores, encoded)
        mixed = self.model.or_popular(mixed, known)
        ids, approximate = self.model.best_of(mixed, max(self.candidates, k), out, allowed)
        exact = tf.einsum("nd,nmd->nm", queries, self.table.rows(ids))
        exact = exact if shift is None else exact + tf.gather(shift, ids)
        if head is not None:
            exact = head.mixed_among(ids, exact, head.log_total(scores, encoded), encoded)
        return self.model.best_among(ids, tf.where(known[:, None], exact, approximate), k)

    def nearest(self):
        def nearest(ids, k):
            dim, inverse = self.table.dim, tf.convert_to_tensor(self.inverse_lengths)
            queries = self.table.rows(ids)[:, :dim] * tf.gather(inverse, ids)[:, None]
            scores = self.table.scores(queries) * inverse
            best, _ = self.model.best_of(scores, self.candidates, pairs(ids[:, None]), allowed=(ids > 1)[:, None])
            exact = tf.einsum("nd,nmd->nm", queries, self.table.rows(best)[..., :dim]) * tf.gather(inverse, best)
            return self.model.best_among(best, exact, k)

        return nearest


def sample(model, histories, longest: int, most: int):
    """Samples histories to measure recall on.

    Args:
        model: a Recommender.
        histories: lists of item ids; None: single items, spread evenly over the catalogue.
        longest: events per history, the newest known items.
        most: number of histories.

    Returns:
        int32 [at most `most`, events], each row with a known item, 0 as padding; and "histories" or a description.

    Raises:
        InputError: no history has a known item.
    """
    if histories is None:
        picked = np.unique(np.linspace(2, model.size - 1, most).astype(np.int32))
        return np.random.default_rng(0).permutation(picked)[:, None], "items, each a history of its own"
    encoded = [model.items.encode(history) for history in text_lists(histories, "histories")]
    encoded = [ids[ids > 1][-longest:] for ids in encoded]
    encoded = [ids for ids in encoded if len(ids)][:most]
    if not encoded:
        raise InputError("histories: at least one must have an item of the catalogue, or no recall can be measured")
    padded = np.zeros((len(encoded), max(map(len, encoded))), np.int32)
    for row, ids in zip(padded, encoded, strict=True):
        row[: len(ids)] = ids
    return padded, "histories"


def recall(model, index, histories, k: int, exclude_seen: bool = False) -> float:
    """Returns the mean share of the exact answer's items that are in the index's answer."""
    with index.installed():
        returned = answers(model, histories, k, exclude_seen)
    return share_of(answers(model, histories, k, exclude_seen), returned)


def answers(model, histories, k: int, exclude_seen: bool = False) -> np.ndarray:
    """Returns the ids of the answers, int32 [histories, k], computed in blocks of histories by one graph."""
    spec = [tf.TensorSpec((None, None), tf.int32)]
    answer = tf.function(lambda ids: model.answer(ids, k, exclude_seen)[0], input_signature=spec, autograph=False)
    block_rows = max(1, min(32, BLOCK_BYTES // (4 * model.size)))
    blocks = (tf.constant(histories[row : row + block_rows], tf.int32) for row in range(0, len(histories), block_rows))
    return np.concatenate([answer(block).numpy() for block in blocks])


def share_of(expected: np.ndarray, returned: np.ndarray) -> float:
    """Returns the mean share of each expected row's ids that are in the returned row; 0 is padding."""
    hits = (expected[:, :, None] == returned[:, None, :]).any(axis=2) & (expected > 1)
    return float((hits.sum(axis=1) / np.maximum((expected > 1).sum(axis=1), 1)).mean())
