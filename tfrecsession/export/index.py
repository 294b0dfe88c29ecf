"""How an export finds the items with the highest scores: by all scores, by a smaller table, or by ScaNN."""

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
    """All scores, in float32, as the model's own answers.

    Attributes:
        kind: of `make_index.KINDS`.
        settings: what it was built with, for people and programs.
        recall: share of the exact answer's items that it finds, and `measured_on` which histories; None: it is exact.
    """

    kind = "exact"
    recall = measured_on = None

    def __init__(self, model):
        self.model, self.settings = model, {}

    def installed(self):
        """Graphs traced within hold this index, and the model's answers come from it."""
        return serving()

    def nearest(self):
        return self.model.nearest()


class CompactIndex(ExactIndex):
    """All scores by a smaller table, roughly; the best of them in float32, by the vectors as the table has them.

    The graph holds that table alone: histories and similar items are read from it too.
    """

    def __init__(self, model, kind: str, k: int):
        super().__init__(model)
        self.kind = kind
        matrix = np.asarray(model.score_vectors(tf.range(model.size)))
        self.table = CompactTable(matrix, STORED[kind], exact=matrix.shape[1] - model.item_vectors().shape[1])
        lengths = np.linalg.norm(matrix[:, : self.table.dim], axis=1)
        self.inverse = tf.Variable(1 / np.maximum(lengths, 1e-6), trainable=False, dtype=tf.float32)
        self.looked_at = min(4 * k + 16, model.size)
        self.settings = {"candidates": self.looked_at}

    def installed(self):
        read = tf.function(self.model.score_vectors, autograph=False).get_concrete_function(tf.constant([2])).variables
        tables = [variable for variable in read if variable.shape.rank == 2 and variable.shape[0] == self.model.size]
        return serving(self, tables[0] if tables else None, self.table)

    def best(self, encoded, known, k: int, out=None, allowed=None):
        queries = self.model.queries(encoded)
        scores = self.model.or_popular(self.table.scores(queries), known)
        ids, rough = self.model.best_of(scores, self.looked_at, out, allowed)
        exact = tf.einsum("nd,nmd->nm", queries, self.table.rows(ids))
        return self.model.best_among(ids, tf.where(known[:, None], exact, rough), k)

    def nearest(self):
        def nearest(ids, k):
            dim, inverse = self.table.dim, tf.convert_to_tensor(self.inverse)
            mine = self.table.rows(ids)[:, :dim] * tf.gather(inverse, ids)[:, None]
            scores = self.table.scores(mine) * inverse
            found, _ = self.model.best_of(scores, self.looked_at, pairs(ids[:, None]), allowed=(ids > 1)[:, None])
            exact = tf.einsum("nd,nmd->nm", mine, self.table.rows(found)[..., :dim]) * tf.gather(inverse, found)
            return self.model.best_among(found, exact, k)

        return nearest


def sample(model, histories, longest: int, most: int):
    """int32 [at most `most`, events], 0 where there is none, each with a known item; and what they are, in words."""
    if histories is None:
        picked = np.unique(np.linspace(2, model.size - 1, most).astype(np.int32))
        return np.random.default_rng(0).permutation(picked)[:, None], "items, each a history of its own"
    encoded = [model.items.encode(history) for history in text_lists(histories, "histories")]
    encoded = [ids[ids > 1][-longest:] for ids in encoded]
    encoded = [ids for ids in encoded if len(ids)][:most]
    if not encoded:
        raise InputError("histories: none of them has an item of the catalogue, so no recall can be measured")
    padded = np.zeros((len(encoded), max(map(len, encoded))), np.int32)
    for row, ids in zip(padded, encoded, strict=True):
        row[: len(ids)] = ids
    return padded, "histories"


def recall(model, index, asked, k: int, exclude_seen: bool = False) -> float:
    """Mean share of the exact answer's items that are in the index's answer."""
    with index.installed():
        answer = tf.function(model.answer, reduce_retracing=True, autograph=False)
        found = in_blocks(model, answer, asked, k, exclude_seen)
    exact = tf.function(model.answer, reduce_retracing=True, autograph=False)
    return share_of(in_blocks(model, exact, asked, k, exclude_seen), found)


def in_blocks(model, answer, asked, k: int, exclude_seen: bool = False) -> np.ndarray:
    """int32 [histories, k], the ids of the answers to some histories at a time."""
    some = max(1, min(32, BLOCK_BYTES // (4 * model.size)))
    parts = (tf.constant(asked[first : first + some]) for first in range(0, len(asked), some))
    return np.concatenate([answer(part, k=k, exclude_seen=exclude_seen)[0].numpy() for part in parts])


def share_of(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean share of each row's ids that are in the other's row; 0 is no id."""
    hits = (expected[:, :, None] == found[:, None, :]).any(axis=2) & (expected > 1)
    return float((hits.sum(axis=1) / np.maximum((expected > 1).sum(axis=1), 1)).mean())
