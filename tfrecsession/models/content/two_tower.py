"""TwoTower: a network each for users and items, whose output vectors are multiplied; new items by their content."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.layers import Combined, ItemTower, Past, UserEmbedding, mean_of
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.losses import Evaluated, RankingLoss, sampled_losses
from tfrecsession.models.content.history_means import list_means, running_means
from tfrecsession.models.content.tower_reasons import TowerReasons
from tfrecsession.models.content.tower_users import TowerUsers
from tfrecsession.negatives import InBatch, Mixture, Popularity
from tfrecsession.recommender.arguments import check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.pair_model import PairModel
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.sessions.content import Content, content_table, read_catalogue

BLOCK = 8192  # items or users that pass through their tower at once


@keras.saving.register_keras_serializable(package="tfrecsession")
class TwoTower(PairModel, TowerUsers, TowerReasons, Recommender):
    """Two-tower retrieval with item content (Yi et al., RecSys 2019, sampling-bias-corrected). score(u, i) = x_u . v_i.

        v_i = item tower (e_i, embeddings of the item's categories and words, its numbers)
        x_u = user tower (W mean over the history of v_j + b, p_u)

    A tower sums its inputs, or with `layers` is an MLP over all of them. In training the target is removed from the
    history. p_u is dropped for a share `user_dropout` of the pairs, e_i for `item_dropout` of the items with content;
    the vectors `nobody` and of an unknown item replace them, also for new users with a history, anonymous sessions and
    new items (`encode_items`). With `user_content`, p_u also has the encoded features of the user, and these, the id
    and the history are each hidden for a share `user_dropout`; `recommend_users` so knows all users of the table.

    A step compares each pair with the items of the other pairs and sampled ones, corrected by logQ. Only these and the
    histories pass through the towers: the cost does not depend on the catalogue. The vectors of all items and named
    users are computed before validation and when training ends.

    Args:
        items: the vocabulary.
        dim: width of the vectors.
        layers: widths of the hidden layers of both towers, the attribute `tower_layers`; none: sums.
        features: content columns to read; None: all that can be; []: none. See `sessions.content.Content`.
        words: those of them that are texts, read word by word.
        window: the most items of a user's history that a training step reads, sampled evenly.
        user_dropout, item_dropout: see above.
        l2: times |x_u|^2 + |v_i|^2 is added to the loss of every pair.
        deviation: root mean square length of the initial embeddings.
        negatives: a sampler of `trs.negatives`; "mixture": the other pairs' items and 512 by popularity^0.5.
        content: a table (pyarrow, pandas, dict of columns) with the column `item` and content; None: that of `items`.
        users: the number of users; `fit` sets it.
        user_content: features of the users, such as ["age", "country"], see `prepare(users=...)`.
        score_dtype: as in `SequenceModel`.

    Raises:
        InputError: an argument out of range, or content that cannot be read.

    Example:

        model = trs.models.TwoTower(data.items, dim=64, words=["title"])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train, epochs=20, rows=1024)
        model.encode_users([["item-17"]]) @ model.encode_items(new_items).T
    """

    # Declarations
    searched_by_products = True
    content = Content(())  # the columns that the model reads
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
        user_content=(),
        score_dtype=None,
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        layers = checked_widths("layers", layers, optional=True)
        check_whole("window", window)
        check_number("user_dropout", user_dropout, 0, 1)
        check_number("item_dropout", item_dropout, 0, 1)
        check_number("l2", l2, 0)
        check_number("deviation", deviation, 0)
        if negatives is None:
            refuse("negatives", None, "a sampler, e.g. trs.negatives.InBatch(): two towers learn from a sample")
        if negatives == "mixture":
            negatives = Mixture([InBatch(), Popularity(512, alpha=0.5)], "pooled")
        super().__init__(items, **kwargs)
        self.dim = dim
        self.tower_layers = layers
        self.features = features
        self.words = list(words)
        self.window = window
        self.user_dropout = user_dropout
        self.item_dropout = item_dropout
        self.l2 = l2
        self.deviation = deviation
        self.negatives = negatives
        self.score_dtype = score_dtype
        if not isinstance(items, int):
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

        # Layers
        self.shape, encoded = content, None
        if not isinstance(items, int):
            self.content, encoded = read_catalogue(self.items, content, features, words)
            self.shape = self.content.shape
        initial = {"deviation": deviation, "dropout": item_dropout, "dtype": "float32"}
        self.item_tower = ItemTower(self.size, dim, layers, **self.shape, **initial, name="item_tower")
        if encoded is not None:
            self.item_tower.hold(*encoded)
        identity = keras.initializers.Identity()  # a user starts as the mean of the history
        self.of_history = keras.layers.Dense(dim, kernel_initializer=identity, name="of_history", dtype="float32")
        self.of_history.build((None, dim))
        self.nobody = self.add_weight(name="nobody", shape=(dim,), initializer="zeros", autocast=False)
        self.user_table = UserEmbedding(dim, deviation / dim**0.5, name="users", dtype="float32")
        self.read_user_content(user_content)
        self.build_user_content(dim)
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

    # Training

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        if not isinstance(loss, RankingLoss):
            refuse("loss", loss, "one of trs.losses, e.g. CrossEntropy(logq=1.0)")
        super().compile(optimizer, loss, metrics, **kwargs)

    def take(self, interactions: Interactions) -> None:
        super().take(interactions)
        self._past.assign(interactions)
        self.take_features(interactions)

    def losses_of_pairs(self, batch):
        """Computes loss and regularization of every pair of a batch of `batches.triples`: float32 [rows]."""
        users, items = batch["user"], tf.where(batch["weight"] > 0, batch["item"], 0)  # [rows] each
        drawn = self.negatives.draw(items)  # [count]
        past = self._past.draw(users, items, self.window, self.seed_generator)  # [rows, window]
        past = self.shown_past(past, users)  # [rows, window]
        ids = tf.concat([items, drawn, tf.reshape(past, [-1])], axis=0)  # [rows + count + rows * window]
        distinct, index = tf.unique(ids)  # [distinct], [rows + count + rows * window]
        vectors = self.item_tower(distinct, training=True)  # [distinct, dim]: each item once
        of_items, of_drawn, of_past = tf.split(index, [tf.size(items), tf.size(drawn), tf.size(past)])
        of_items, of_drawn = tf.gather(vectors, of_items), tf.gather(vectors, of_drawn)  # [rows, dim], [count, dim]
        of_past = tf.gather(vectors, tf.reshape(of_past, tf.shape(past)))  # [rows, window, dim]

        anonymous = self.dropped(users) | ~tf.gather(self._past.named, users)  # [rows]
        p = tf.where(anonymous[:, None], self.nobody, self.user_table(users))  # [rows, dim]
        if self.user_features is not None:
            p = self.with_features(p, users, ~self.dropped(users))  # [rows, dim]
        x = self.user_tower(mean_of(of_past, past > 1), p)  # [rows, dim]
        scored = Evaluated(of_items, of_drawn)
        losses = sampled_losses(self.ranking_loss, x, items, drawn, scored, self.negatives, self.score_dtype)  # [rows]
        return losses + self.l2 * (tf.reduce_sum(x**2, axis=1) + tf.reduce_sum(of_items**2, axis=1))

    def user_tower(self, mean, ids):
        """Combines the mean of a history and p_u: float32 [..., dim] twice -> [..., dim]."""
        return self.combined([self.of_history(mean), ids + tf.zeros_like(mean)])

    def settle(self, interactions: Interactions) -> None:
        """Runs the towers for all items and all named users, and stores their vectors."""
        table = np.zeros((self.size, self.dim), np.float32)
        for first in range(2, self.size, BLOCK):
            ids = np.arange(first, min(first + BLOCK, self.size), dtype=np.int32)
            table[ids] = self.item_tower(ids)  # [block, dim]
        self.item_table.assign(table)
        self.settle_users(interactions, table, BLOCK)

    # Recommendations

    def encode(self, batch, training=False):
        """Encodes the session so far as a new user: float32 [rows, steps, dim]."""
        return self.user_tower(running_means(batch, self.item_table.value), self.nobody_with())

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.item_table.value))  # [n, dim] -> [n, size]

    def item_vectors(self):
        return tf.convert_to_tensor(self.item_table.value)  # [size, dim]

    def score_vectors(self, ids):
        return gather_rows(self.item_table.value, ids)  # [n] -> [n, dim]

    def encode_users(self, histories) -> np.ndarray:
        """Returns the vectors of new users with these histories, which are as in `recommend`: float32 [n, dim]."""
        ids = [self.items.encode(history) for history in text_lists(histories, "histories")]
        return self.user_tower(tf.constant(list_means(ids, self.item_table.numpy())), self.nobody_with()).numpy()

    def encode_items(self, content) -> np.ndarray:
        """Returns the vectors of new items by their content, comparable with `encode_users`: float32 [n, dim].

        Args:
            content: a table (pyarrow, pandas, dict of columns) with the column `item` and those that the model reads.

        Raises:
            InputError: a column is missing, or the model reads no content, so that all new items would be alike.
        """
        if not self.item_tower.reads_content:
            raise InputError("content: this model was created without content columns and knows items by id only")
        codes, numbers = map(tf.constant, self.content.encode(content_table(content, "content")))
        return self.item_tower.vectors(tf.ones([len(codes)], tf.int32), codes, numbers).numpy()  # id 1: unknown

    def index(self, kind: str = "brute_force", k: int = 20, fresh=None, **options):
        """Returns the items in an index of TensorFlow Recommenders, see `tfrecsession.export.retrieval_index`."""
        import tfrecsession as trs  # the export folder comes after the models

        return trs.export.retrieval_index(self, kind, k, fresh, **options)

    # Configuration

    def save_assets(self, folder):
        super().save_assets(folder)
        self.content.write(Path(folder) / "content.json")

    def load_assets(self, folder):
        super().load_assets(folder)
        self.content = Content.read(Path(folder) / "content.json")

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "layers": self.tower_layers,
            "features": self.features,
            "words": self.words,
            "window": self.window,
            "user_dropout": self.user_dropout,
            "item_dropout": self.item_dropout,
            "l2": self.l2,
            "deviation": self.deviation,
            "negatives": keras.saving.serialize_keras_object(self.negatives),
            "content": self.shape,
            "users": self.user_table.table.shape[0] if self.user_table.built else None,
            "user_content": self.user_content_config,
            "score_dtype": self.score_dtype,
        }
