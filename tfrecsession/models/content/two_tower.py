"""TwoTower: a person and an item each through a network of their own, whose product says how well they suit."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError
from tfrecsession.layers import Combined, ItemTower, Past, UserEmbedding, first_of_its_session, mean_of
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.losses import Evaluated, RankingLoss, sampled_losses
from tfrecsession.models.tower_answers import TowerAnswers, check
from tfrecsession.negatives import InBatch, Mixture, Popularity
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.pair_model import PairModel
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int

BLOCK = 8192  # items and people that go through their tower at once
OWN = ("dim", "layers", "features", "words", "window", "user_dropout", "item_dropout", "l2", "deviation")


@keras.saving.register_keras_serializable(package="tfrecsession")
class TwoTower(TowerAnswers, PairModel, KnownUsers, Recommender):
    """score(u, i) = x_u . v_i, two-tower retrieval (Yi et al., RecSys 2019, sampling-bias-corrected).

        v_i = item tower (e_i, embeddings of the item's categories and words, its numbers)
        x_u = user tower (W mean over the history of v_j + b, p_u)

    A tower sums its inputs, or with `layers` is an MLP over all of them. In training the item to be found is taken out
    of the history. p_u is left out for a share `user_dropout` of the pairs, and e_i for `item_dropout` of the items
    that have content; vectors of "nobody" and of "an unknown item" stand there instead, and are what somebody new with
    a history, and an item that training has not seen (`encode_items`), get. Sessions without a user are people of whom
    nothing but the history is known.

    A step compares every pair with the items of the others and with drawn ones, corrected by logQ, and evaluates the
    tower for these and the histories alone: its cost does not know the catalogue. What answers need, the towers'
    results for all items and for all people by name, is computed when training ends and before validation.

    Args:
        items: the vocabulary.
        dim: width of the vectors.
        layers: widths of the hidden layers of both towers; none: sums.
        features: the content columns that are read; None: all that can be; []: none. See `sessions.content.Content`.
        words: those of them that are texts, read word by word.
        window: how many items of a person's history a training step reads at most, drawn evenly.
        user_dropout, item_dropout: see above.
        l2: times |x_u|^2 + |v_i|^2 is added to the loss of every pair.
        deviation: of the initial embeddings' length.
        negatives: a sampler of `trs.negatives`; "mixture": the other pairs' items and 512 by popularity^0.5.
        content: a table (pyarrow, pandas, dict of columns) with the column `item` and content; None: that of `items`.
        users: how many people there are; `fit` says it.
        score_dtype: as in `SequenceModel`.

    Raises:
        InputError: an argument out of range, or content that cannot be read.

    Example:

        model = trs.models.TwoTower(data.items, dim=64, words=["title"])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train, epochs=20, rows=1024)
        model.recommend([["item-17", "item-4"]], k=20)
        model.encode_users([["item-17"]]) @ model.encode_items(new_items).T
    """

    scores_by_products = True
    search_space = {
        "dim": Int(16, 256, log=True),
        "layers": Choice([], [64], [128]),
        "user_dropout": Float(0.1, 1.0),
        "l2": Float(1e-6, 0.1, log=True),
    }
    learning = Learning(
        defaults={
            "rows": 1024,
            "epochs": 20,
            "sampler": "in_batch+popularity",
            "correction": "pooled",
            "negatives": 512,
            "alpha": 0.5,
            "loss": "cross_entropy",
            "logq": 1.0,
            "optimizer": "adagrad",
            "learning_rate": 0.1,
        },
        space={
            "loss": Choice("cross_entropy", "bpr_max", "bpr"),
            "logq": Float(0.0, 1.0, when={"loss": "cross_entropy"}),
            "regularization": Float(0.0, 2.0, when={"loss": "bpr_max"}),
            "alpha": Float(0.0, 1.0),
            "rows": Int(256, 8192, log=True),
            "learning_rate": (
                Float(0.01, 0.5, log=True, when={"optimizer": "adagrad"}),
                Float(0.0003, 0.03, log=True, when={"optimizer": "adam"}),
            ),
        },
    )

    def __init__(
        self,
        items,
        dim=64,
        layers=(),
        features=None,
        words=(),
        window=64,
        user_dropout=0.5,
        item_dropout=0.1,
        l2=1e-3,
        deviation=0.1,
        negatives="mixture",
        content=None,
        users=None,
        score_dtype=None,
        **kwargs,
    ):
        super().__init__(items, **kwargs)
        given = {**locals(), "layers": list(layers), "words": list(words)}
        check(given)
        for name in OWN:
            setattr(self, f"tower_{name}" if name == "layers" else name, given[name])
        self.score_dtype = score_dtype
        if negatives == "mixture":
            negatives = Mixture([InBatch(), Popularity(512, alpha=0.5)], "pooled")
        if negatives is None:
            raise InputError("negatives=None: two towers are learned from a sample, e.g. trs.negatives.InBatch()")
        self.negatives = negatives
        if not isinstance(items, int):
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

        self.shape, encoded = (content, None) if isinstance(items, int) else self.read_content(content)
        initial = {"deviation": deviation, "dropout": item_dropout, "dtype": "float32"}
        self.item_tower = ItemTower(self.size, dim, layers, **self.shape, **initial, name="item_tower")
        if encoded is not None:
            self.item_tower.hold(*encoded)
        identity = keras.initializers.Identity()  # at first people are what they had
        self.of_history = keras.layers.Dense(dim, kernel_initializer=identity, name="of_history", dtype="float32")
        self.of_history.build((None, dim))
        self.nobody = self.add_weight(name="nobody", shape=(dim,), initializer="zeros", autocast=False)
        self.user_table = UserEmbedding(dim, deviation / dim**0.5, name="users", dtype="float32")
        self.combined = Combined(2, dim, layers, name="user_tower", dtype="float32")
        self.item_table = self.add_weight(
            name="item_table", shape=(self.size, dim), initializer="zeros", trainable=False, autocast=False
        )
        self.seed_generator = keras.random.SeedGenerator()
        self._past = Past()
        self.no_users(dim)
        if users is not None:
            self.user_table.build(users)
        self.build()

    # Training --------------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        if not isinstance(loss, RankingLoss):
            raise InputError(f"loss={loss!r}: TwoTower learns with one of trs.losses, e.g. CrossEntropy(logq=1.0)")
        super().compile(optimizer, loss, metrics, **kwargs)

    def take(self, people: Interactions) -> None:
        super().take(people)
        self._past.assign(people)

    def losses_of_pairs(self, batch):
        """float32 [rows]: loss and regularization of every pair of a batch of `batches.triples`."""
        users, items = batch["user"], tf.where(batch["weight"] > 0, batch["item"], 0)
        drawn = self.negatives.draw(items)
        past = self._past.draw(users, items, self.window, self.seed_generator)
        touched, place = tf.unique(tf.concat([items, drawn, tf.reshape(past, [-1])], axis=0))
        vectors = self.item_tower(touched, training=True)  # each item once, whatever it is here for
        rows, columns = tf.size(items), tf.size(drawn)
        of_items, of_drawn = (tf.gather(vectors, place[a:b]) for a, b in ((0, rows), (rows, rows + columns)))
        of_past = tf.reshape(tf.gather(vectors, place[rows + columns :]), [rows, self.window, self.dim])
        dropped = keras.random.uniform((tf.size(users),), seed=self.seed_generator) < self.user_dropout
        ids = tf.where((dropped | ~tf.gather(self._past.named, users))[:, None], self.nobody, self.user_table(users))
        x = self.user_tower(mean_of(of_past, past > 1), ids)
        scored = Evaluated(of_items, of_drawn)
        each = sampled_losses(self.ranking_loss, x, items, drawn, scored, self.negatives, self.score_dtype)
        return each + self.l2 * (tf.reduce_sum(x**2, axis=1) + tf.reduce_sum(of_items**2, axis=1))

    def user_tower(self, mean, ids):
        """float32 [..., dim] twice -> [..., dim]"""
        return self.combined([self.of_history(mean), ids + tf.zeros_like(mean)])

    def settle(self, people: Interactions) -> None:
        """What answers take from the towers: vectors of all items, and of the people with a name."""
        table = np.zeros((self.size, self.dim), np.float32)
        for first in range(2, self.size, BLOCK):
            ids = np.arange(first, min(first + BLOCK, self.size), dtype=np.int32)
            table[ids] = self.item_tower(ids)
        self.item_table.assign(table)
        had = people.csr()
        had.data[:] = 1
        vectors = np.zeros((len(people), self.dim), np.float32)
        named = np.flatnonzero(people.named)
        for first in range(0, len(named), BLOCK):
            some = named[first : first + BLOCK]
            mean = had[some] @ table / np.maximum(np.diff(people.offsets)[some], 1)[:, None]
            vectors[some] = self.user_tower(tf.constant(mean, tf.float32), self.user_table(some))
        self.hold_users(people, vectors)

    # Answers ---------------------------------------------------------------------------------------------------------

    def encode(self, batch, training=False):
        """Somebody new, by the distinct known items of the session so far: float32 [rows, steps, dim]."""
        position = batch["position"]
        new = first_of_its_session(batch["items"], position, batch["segment"])
        vectors = gather_rows(self.item_table.value, batch["items"]) * tf.cast(new, tf.float32)[..., None]
        summed = tf.cumsum(tf.concat([vectors, tf.cast(new, tf.float32)[..., None]], axis=2), axis=1)
        before = tf.range(tf.shape(position)[1])[None] - position  # of the session's first event
        summed -= tf.gather(tf.pad(summed, [[0, 0], [1, 0], [0, 0]]), before, batch_dims=1)
        return self.user_tower(tf.math.divide_no_nan(summed[..., :-1], summed[..., -1:]), self.nobody)

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.item_table.value))

    def item_vectors(self):
        return tf.convert_to_tensor(self.item_table.value)

    def score_vectors(self, ids):
        return gather_rows(self.item_table.value, ids)

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def get_config(self):
        return {
            **super().get_config(),
            **{name: getattr(self, f"tower_{name}" if name == "layers" else name) for name in OWN},
            "score_dtype": self.score_dtype,
            "negatives": keras.saving.serialize_keras_object(self.negatives),
            "content": self.shape,
            "users": self.user_table.table.shape[0] if self.user_table.built else None,
        }
