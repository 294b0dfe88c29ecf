"""WideAndDeep: a ranker of candidate lists, linear in hashed crosses, with a network beside them."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.layers.hashed_crosses import HashedCrosses
from tfrecsession.models.ranking.features import READABLE, CodeVectors, Features
from tfrecsession.models.ranking.ranker import Ranker
from tfrecsession.optimizers.grouped import Grouped
from tfrecsession.optimizers.lazy_adagrad import LazyAdagrad
from tfrecsession.optimizers.lazy_ftrl import LazyFTRL
from tfrecsession.recommender.arguments import check_choice, check_whole, checked_widths, refuse
from tfrecsession.sessions.content_columns import content_columns

LOSSES = ("softmax", "logistic")


@keras.saving.register_keras_serializable(package="tfrecsession")
class WideAndDeep(Ranker):
    """Linear model of hashed crosses and a network over embeddings, trained jointly (Cheng et al., arXiv 1606.07792).

        score(candidate) = w_wide . [e, x, phi(x)] + w_deep . a_L + b
        a_0 = [embeddings of the codes ; numbers ; e],   a_l+1 = relu(W_l a_l + b_l)

    e are -log(place in the list) and the scores of the models, x the numbers of the candidate, as quantiles of the log,
    phi the crosses of columns (`Features` names all of them, `HashedCrosses` finds their weights). The wide part learns
    by FTRL with L1, the deep part by Adagrad. Before training the order is that of the list: the weight of -log(place)
    begins at 1, all others of the last step at 0.

    It ranks lists of candidates: those of a first stage, see `Pipeline`, or the lists that a log has shown.

    Args:
        items: the vocabulary, `data.items`.
        scores_of: fitted models of the same data whose scores are read: name -> model, or a list of models.
        vectors: whether the deep part also reads the vectors of history and candidate of those that have some.
        crosses: lists of names of columns, or texts such as "last*item"; None: `Features.default_crosses`.
        context, request: columns of the log that are read of the last event and of the request, see `SequenceModel`.
        content: columns of the item table, of the kinds category, list, words, number.
        listed: columns of the log with a number for each item of a shown list, such as ["prices"].
        window: the newest items of the history that are read.
        support: events in train from which an item is read by its id; others are read as unknown, with their content.
        dim: width of the embeddings; the paper has 32.
        hidden: widths of the network; the paper has [1024, 512, 256].
        buckets: weights of each cross.
        quantiles: of each number; a dict, those that were learned: name -> edges.
        loss: "softmax" over the list, or "logistic" for each candidate, as in the paper.

    Raises:
        InputError: a model of other data, a cross of columns that do not exist, or another argument out of its range.

    Example:

        ranker = trs.models.WideAndDeep(data.items, crosses=["last*item", "seen"], listed=["prices"])
        ranker.fit(data.train, shown="impressions")
        ranker.rank([["item-17"]], [["item-4", "item-9"]])
    """

    def __init__(
        self,
        items,
        scores_of=(),
        vectors=False,
        crosses=None,
        context=(),
        request=(),
        content=(),
        listed=(),
        window=8,
        support=1,
        dim=16,
        hidden=(64, 32),
        buckets=1 << 16,
        quantiles=16,
        loss="softmax",
        **kwargs,
    ):
        # Arguments
        for name, value in (("window", window), ("support", support), ("dim", dim), ("buckets", buckets)):
            check_whole(name, value)
        learned = quantiles if isinstance(quantiles, Mapping) else None
        if learned:
            quantiles = 1 + len(next(iter(learned.values())))
        check_whole("quantiles", quantiles, 2)
        hidden = checked_widths("hidden", hidden)
        check_choice("loss", loss, LOSSES)
        super().__init__(items, **kwargs)
        self.read_history(scores_of, context, request, window)
        check_choice("vectors", vectors, (False, True))
        self.vectors = bool(vectors)
        self.content = content_columns(content, self.items)
        for column in self.content.columns if self.content else ():
            if column.kind not in READABLE:
                refuse("content", column.name, f"of the kinds {', '.join(READABLE)}, it is {column.kind}")
        listed = [listed] if isinstance(listed, str) else listed
        if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
            refuse("listed", listed, 'a list of names of columns, such as ["prices"]')
        self.listed = list(listed)
        self.support = support
        self.dim = dim
        self.hidden = hidden
        self.buckets = buckets
        self.quantiles = quantiles
        self.loss_of_lists = loss

        # Layers
        columns = self.content.columns if self.content else ()
        self.features = Features(
            self.size, self.own_context, columns, self.names, self.listed, window, quantiles, support, name="features"
        )
        self._hold_content()
        default = self.features.default_crosses() if crosses is None else crosses
        self.crosses = self.features.checked_crosses(default)
        self.wide_crosses = HashedCrosses(self.crosses, buckets, name="wide_crosses")
        numbers, codes = self.features.numbers, self.features.codes
        self.wide_numbers = [name for name in self.features.of_candidate if name in numbers]
        shape = (2 * len(self.wide_numbers), 1)
        self.number_weights = self.add_weight(name="number_weights", shape=shape, initializer="zeros")
        first = np.eye(1 + len(self.names), 1)  # the order of the list
        self.exact_weights = self.add_weight(
            name="exact_weights", shape=first.shape, initializer=lambda shape, dtype=None: ops.cast(first, "float32")
        )
        coded = {name: count for name, count in codes.items() if name not in numbers}
        shared = {name: name.replace("last", "item", 1) for name in coded if name.split(".")[0] == "last"}
        self.embeddings = CodeVectors(coded, dim, shared, name="embeddings")
        self.of_query = keras.layers.Dense(hidden[0], name="query")
        self.of_candidate = keras.layers.Dense(hidden[0], use_bias=False, name="candidate")
        self.deep = [
            keras.layers.Dense(width, activation="relu", name=f"hidden_{width}_{n}")
            for n, width in enumerate(hidden[1:])
        ]
        self.last = keras.layers.Dense(1, kernel_initializer="zeros", name="output")
        if learned:
            self.features.quantiles.edges.assign(np.array([learned[name] for name in numbers], np.float32))
        self.build()

    def _hold_content(self) -> None:
        if self.content is not None and self.items.content is not None:  # a saved model reads it from its file
            self.features.content.hold(self.content.encode(self.items.content), self.items.tensors)

    def take_items(self, items) -> None:
        super().take_items(items)
        self._hold_content()

    # Training

    def group_of(self, variable) -> str:
        """Returns the group of a variable, "wide" or "deep"."""
        wide = (self.wide_crosses.table, self.number_weights, self.exact_weights)
        is_wide = any(variable is other for other in wide)
        return "wide" if is_wide else "deep"

    @staticmethod
    def joint_optimizer(deep_rate=0.05, wide_rate=0.1, l1=1e-3, l2=0.0) -> Grouped:
        """Returns the default optimizer: Adagrad for the deep part, FTRL with L1 for the wide one."""
        return Grouped({"deep": LazyAdagrad(deep_rate), "wide": LazyFTRL(wide_rate, l1=l1, l2=l2)})

    def compile(self, optimizer=None, loss=None, metrics=None, **kwargs):
        """Compiles as Keras does; optimizer: None, `joint_optimizer()`, or a `Grouped` of "deep" and "wide"."""
        optimizer = self.joint_optimizer() if optimizer is None else keras.optimizers.get(optimizer)
        if isinstance(optimizer, Grouped):
            optimizer.group_of = self.group_of
        super().compile(optimizer, None, metrics, **kwargs)

    def step(self, query, ids, lists, label):
        trained = self.trainable_variables
        variables = [variable.value for variable in trained]
        with tf.GradientTape() as tape:
            scores, rows = self._scores_and_rows(query, ids, lists)
            loss = tf.reduce_mean(self.losses_of_lists(scores, ids, label))
        self.optimizer.apply(tape.gradient(loss, variables), trained)
        self.wide_crosses.count(rows, ids > 0)
        return loss

    # Recommendations

    @property
    def cells_of_a_candidate(self) -> int:
        """How many numbers are held to score a candidate."""
        return sum(self.hidden) + self.dim * (2 + len(self.features.of_candidate))

    def score_lists(self, query, ids, lists, hidden=None):
        return self._scores_and_rows(query, ids, lists, hidden)[0]

    def _scores_and_rows(self, query, ids, lists, hidden=None):
        query_codes = self.features.query_codes(query, self.item_counts.value)
        codes = self.features.candidate_codes(query, ids, lists, self.item_counts.value, hidden)
        numbers = self.features.quantiles.features
        wide = [numbers(codes[name][..., 0]) for name in self.wide_numbers]  # (n, m, 2) each
        linear = tf.matmul(tf.concat(wide, axis=-1), tf.convert_to_tensor(self.number_weights.value))[..., 0]  # (n, m)
        exact = self.features.exact(ids, lists)  # (n, m, 1 + scores)
        linear += tf.matmul(exact, tf.convert_to_tensor(self.exact_weights.value))[..., 0]
        rows = self.wide_crosses.rows(query_codes | codes)
        linear += self.wide_crosses.sums(rows)
        of_query, of_candidate = self._vectors(query_codes), [*self._vectors(codes), exact]
        history = self.features.history(query, self.item_counts.value)
        vectors = self.embeddings.vectors("last", history[..., None])  # (n, window, dim)
        known = tf.cast(query["window"] > 0, tf.float32)[..., None]
        mean = tf.math.divide_no_nan(tf.reduce_sum(vectors, axis=1), tf.reduce_sum(known, axis=1))  # (n, dim)
        of_query.append(mean[:, None])
        for member, encoded in zip(self.members, query["members"], strict=True) if self.vectors else ():
            if member.scores_by_products:
                of_query.append(tf.stop_gradient(member.queries(encoded))[:, None])
                found = member.score_vectors(tf.reshape(ids, [-1]))
                of_candidate.append(tf.reshape(tf.stop_gradient(found), [*tf.unstack(tf.shape(ids)), found.shape[1]]))
        hidden = self.of_query(tf.concat(of_query, axis=-1)) + self.of_candidate(tf.concat(of_candidate, axis=-1))
        hidden = tf.nn.relu(hidden)  # (n, m, hidden)
        for layer in self.deep:
            hidden = layer(hidden)
        return linear + self.last(hidden)[..., 0], rows

    def _vectors(self, codes) -> list:
        """Returns the inputs of the network for columns: float32 [n, m or 1, dim] or [n, m or 1, 2] each."""
        numbers, features, vectors = self.features.numbers, self.features.quantiles.features, self.embeddings.vectors
        return [
            features(values[..., 0]) if name in numbers else vectors(name, values) for name, values in codes.items()
        ]

    # Configuration

    def settings(self) -> dict:
        """Returns the arguments of the constructor behind `scores_of`."""
        edges = self.features.quantiles.edges.numpy().tolist()
        return {
            "vectors": self.vectors,
            "crosses": [list(cross) for cross in self.crosses],
            "context": self.own_context.get_config() if self.own_context else (),
            "content": self.content.get_config() if self.content else (),
            "listed": self.listed,
            "window": self.window,
            "support": self.support,
            "dim": self.dim,
            "hidden": list(self.hidden),
            "buckets": self.buckets,
            "quantiles": dict(zip(self.features.numbers, edges, strict=True)),
            "loss": self.loss_of_lists,
        }
