"""MatrixFactorization: a vector per person and per item, learned by gradient."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.batches.triples import triples
from tfrecsession.errors import InputError
from tfrecsession.layers import FoldIn, ItemEmbedding, UserEmbedding
from tfrecsession.losses import AllPairs, RankingLoss, sampled_losses
from tfrecsession.models.people import KnownPeople
from tfrecsession.models.recommender import Recommender
from tfrecsession.models.search_space import Choice, Float, Int
from tfrecsession.models.sequence_model import StopOnNaN
from tfrecsession.negatives import Popularity


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class MatrixFactorization(KnownPeople, Recommender):
    """People and items as vectors; the loss that it is compiled with says what their product stands for.

        "mean_squared_error"        ratings: r = mu + b_u + b_i + p_u . q_i  (Koren, Bell, Volinsky, Computer 42(8))
        BPR, BPRMax, CrossEntropy   order: p_u . q_i + b_i against sampled items, which all pairs of a step share; they
                                    may hold what the person has (BPR of Rendle et al., UAI 2009, draws among the rest)
        AllPairs                    p_u . q_i near 1 for what was taken, near 0 for all else (iALS, arXiv 2110.14037)

    Every pair adds l2 (|p_u|^2 + |q_i|^2), so that a row is regularized as often as it is touched; with
    AllPairs also for the unobserved pairs: l2 w_u |p_u|^2 in all, w_u = pairs of u + unobserved_weight * items. With
    lazy optimizers a step costs rows * dim * negatives, with AllPairs rows * dim^2 (its Gramians follow the rows that
    changed and are summed anew before each epoch), at any number of people and items.

    A history, known person or not, is folded in by ridge regression on the item table (`layers.FoldIn`) in one solve;
    the Gramian it needs is taken when training ends. The result is scaled to the length of the learned vectors (with
    ratings: as if everything in the history had been rated a standard deviation above what the biases say). In a log
    without users every session is a person.

    Args:
        items: the vocabulary.
        dim: width of the vectors.
        rating: the column of ratings, for the squared error; None: it counts that a pair was seen.
        duplicates: of several ratings of one person for one item: "last", "mean", "max" or "sum" is taken.
        l2, bias_l2: of the regularization of vectors and of the biases of ratings; None: as of vectors.
        fold_in_weight: of all items against those of the history, where a history is folded in; with AllPairs its own
            weight is taken, with ratings 0.
        ridge: l2 of the fold-in, relative to the mean square of the item vectors; AllPairs has its own.
        deviation: of the initial vectors' length.
        negatives: as in `SequenceModel`; unused with ratings and AllPairs.
        users: how many people there are; `fit` says it.

    Example:

        model = trs.models.MatrixFactorization(data.items, dim=64)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train, epochs=20, rows=1024)
        model.recommend_users(["user-7"], k=20)
    """

    search_space = {
        "dim": Int(16, 512, log=True),
        "l2": Float(1e-6, 0.1, log=True),
        "fold_in_weight": Float(0.003, 1.0, log=True),
        "ridge": Float(0.01, 10.0, log=True),
    }
    training_defaults = {
        "rows": 1024,
        "epochs": 20,
        "negatives": 512,
        "alpha": 0.5,
        "loss": "cross_entropy",
        "logq": 1.0,
        "unobserved_weight": 0.1,
        "optimizer": "adagrad",
        "learning_rate": 0.1,
    }
    training_space = {
        "loss": Choice("cross_entropy", "bpr_max", "bpr", "all_pairs"),
        "logq": Float(0.0, 1.0, when={"loss": "cross_entropy"}),
        "regularization": Float(0.0, 2.0, when={"loss": "bpr_max"}),
        "unobserved_weight": Float(0.003, 1.0, log=True, when={"loss": "all_pairs"}),
        "alpha": Float(0.0, 1.0, when={"loss": ("cross_entropy", "bpr_max", "bpr")}),
        "rows": Int(256, 8192, log=True),
        "learning_rate": (
            Float(0.01, 0.5, log=True, when={"optimizer": "adagrad"}),
            Float(0.0003, 0.03, log=True, when={"optimizer": "adam"}),
        ),
    }

    def __init__(
        self,
        items,
        dim=64,
        rating=None,
        duplicates="last",
        l2=1e-3,
        bias_l2=None,
        fold_in_weight=0.1,
        ridge=1.0,
        deviation=0.1,
        negatives="popularity",
        users=None,
        score_dtype=None,
        **kwargs,
    ):
        super().__init__(items, **kwargs)
        _check(dim, l2, l2 if bias_l2 is None else bias_l2, fold_in_weight, ridge, deviation)
        self.dim, self.rating, self.duplicates, self.l2 = dim, rating, duplicates, l2
        self.bias_l2 = bias_l2
        self.fold_in_weight, self.ridge, self.deviation = fold_in_weight, ridge, deviation
        self.score_dtype = score_dtype
        self.negatives = Popularity(2048, alpha=0.5) if negatives == "popularity" else negatives
        if self.negatives is not None and not isinstance(items, int):
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

        normal = keras.initializers.RandomNormal(stddev=deviation / dim**0.5)
        self.output_items = ItemEmbedding(self.size, dim, bias=True, initializer=normal, name="items", dtype="float32")
        self.user_table = UserEmbedding(dim, deviation / dim**0.5, bias=True, name="users", dtype="float32")
        self.fold_in = FoldIn(dim, name="fold_in")
        self.mean = self.add_weight(
            name="mean", shape=(), initializer="zeros", trainable=False, autocast=False
        )  # rating
        self.grams = [tf.Variable(tf.zeros((dim, dim)), trainable=False) for _ in range(2)]  # of AllPairs
        if users is not None:
            self.user_table.build(users)
        self.build()

    # Training --------------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, loss, metrics, **kwargs)
        loss = self.ranking_loss
        if loss is None:
            raise InputError("loss: say 'mean_squared_error' for ratings, or one of trs.losses, e.g. CrossEntropy()")
        if (self.rating is None) != isinstance(loss, RankingLoss | AllPairs):
            raise InputError(
                f"loss={loss!r}, rating={self.rating!r}: ratings are learned with 'mean_squared_error', what was only "
                "seen with one of trs.losses"
            )
        if isinstance(loss, RankingLoss) and self.negatives is None:
            raise InputError(
                "negatives=None: this loss needs a sampler, e.g. trs.negatives.Popularity(2048, alpha=0.5)"
            )

    def fit(self, x=None, *args, rows: int = 1024, seed: int = 0, callbacks=None, **kwargs):
        """Keras' `fit`.

        Args:
            x: `data.train`, its `Interactions`, or `batches.triples` of them.
            rows: pairs in a batch, where x is no dataset yet.
            seed: of the shuffling, likewise.

        Raises:
            InputError: other people than in an earlier fit, another vocabulary, or a loss that is not a number.
        """
        batches = self.triples_of(x, rows, seed)
        self._take(batches.interactions)
        callbacks = [*(callbacks or []), StopOnNaN(), Settle()]
        return super().fit(batches, *args, callbacks=callbacks, **kwargs)

    def triples_of(self, x, rows: int = 1024, seed: int = 0):
        """What `fit` takes -> `batches.triples`."""
        if hasattr(x, "interactions"):
            return x
        if not isinstance(x, Interactions):
            sessions = getattr(x, "sessions", x)
            if not hasattr(sessions, "offsets"):
                raise InputError("x: a factorization learns from people and items: say fit(data.train)")
            self.check_vocabulary(sessions.items)
            x = Interactions.of(sessions, value=self.rating, duplicates=self.duplicates if self.rating else "sum")
        return triples(x, rows, seed=seed)

    def training_batches(self, sessions, settings: dict, seed: int):
        return self.triples_of(sessions, settings["rows"], seed)

    def _take(self, people: Interactions) -> None:
        """Make a row for everybody, or see that it is they for whom there are rows."""
        self.check_vocabulary(people.items)
        if self.people is not None and self.people.users.tolist() != people.users.tolist():
            raise InputError("x: this model was fitted to other people; make a new one for these")
        self.people = people
        if not self.user_table.built:
            self.user_table.build(len(people))
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        if self.rating is not None:
            self.mean.assign(people.weights.mean(dtype=np.float64))

    def losses_of_pairs(self, batch):
        """float32 [rows]: loss and regularization of every pair of a batch of `batches.triples`."""
        users, items, loss = batch["user"], batch["item"], self.ranking_loss
        p, q = self.user_table(users), self.output_items(items)
        squares = tf.reduce_sum(p**2, axis=1), tf.reduce_sum(q**2, axis=1)
        if isinstance(loss, AllPairs):
            each = loss.of_pairs(p, q, batch["user_pairs"], batch["item_pairs"], *self.grams)
            unobserved = loss.unobserved_weight
            others = len(self.items) / batch["user_pairs"], self.user_table.table.shape[0] / batch["item_pairs"]
            return each + self.l2 * sum((1 + unobserved * n) * s for n, s in zip(others, squares, strict=True))
        if isinstance(loss, RankingLoss):
            drawn = self.negatives.draw(items)
            each = sampled_losses(loss, p, items, drawn, self.output_items, self.negatives, self.score_dtype)
            of_drawn = tf.reduce_mean(tf.reduce_sum(self.output_items(drawn) ** 2, axis=1))
            return each + self.l2 * (squares[0] + squares[1] + of_drawn)
        biases = self.user_table.offsets(users), tf.gather(self.output_items.biases.value, items)
        rated = self.mean + biases[0] + biases[1] + tf.reduce_sum(p * q, axis=1)
        each = getattr(loss, "call", loss)(batch["value"][:, None], rated[:, None])
        bias_l2 = self.l2 if self.bias_l2 is None else self.bias_l2
        return each + self.l2 * (squares[0] + squares[1]) + bias_l2 * (biases[0] ** 2 + biases[1] ** 2)

    def train_step(self, batch):
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            # by the rows, not by the pairs there are: a batch that is not full makes a smaller step
            each = self.losses_of_pairs(batch) * batch["weight"]
            scaled = self.optimizer.scale_loss(tf.reduce_mean(each))
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        touched = [
            (g, v) for g, v in zip(gradients, variables, strict=True) if g is not None
        ]  # not every loss has biases
        exact = isinstance(self.ranking_loss, AllPairs)
        before = self._touched(batch) if exact else ()
        self.optimizer.apply_gradients(touched)
        for gram, old, new in zip(self.grams, before, self._touched(batch) if exact else (), strict=False):
            gram.assign_add(tf.matmul(new, new, transpose_a=True) - tf.matmul(old, old, transpose_a=True))
        pairs = tf.reduce_sum(batch["weight"])
        self._loss_tracker.update_state(tf.reduce_sum(each) / pairs, sample_weight=pairs)
        return {"loss": self._loss_tracker.result()}

    def _touched(self, batch):
        return self.output_items(tf.unique(batch["item"])[0]), self.user_table(tf.unique(batch["user"])[0])

    def sum_grams(self) -> None:
        """The Gramians of items and users from the tables: rounding of the steps between does not add up."""
        for gram, table in zip(self.grams, (self.item_vectors()[2:], self.user_vectors()), strict=True):
            gram.assign(tf.matmul(table, table, transpose_a=True))

    def settle(self) -> None:
        """What folding in takes from the tables, once they are learned."""
        vectors, loss, people = self.item_vectors(), self.ranking_loss, self.people
        pairs, level = len(people.values) / len(people), float(tf.reduce_sum(vectors[2:] ** 2)) / self.dim
        if self.rating is not None:
            self.fold_in.settle(vectors, 0.0, self.ridge * level * pairs / len(self.items))
            self.fold_in.scale.assign(people.weights.std())
            return
        weight, ridge = self.fold_in_weight, self.fold_in_weight * self.ridge * level
        if isinstance(loss, AllPairs):
            weight = loss.unobserved_weight
            ridge = self.l2 * (pairs + weight * len(self.items))
        self.fold_in.settle(vectors, weight, ridge, people.csr(), self.user_vectors())

    # Answers ---------------------------------------------------------------------------------------------------------

    def encode(self, batch, training=False):
        """The vector of the session so far, folded in: float32 [rows, steps, dim]."""
        return self.fold_in(batch, self.output_items.table.value)

    def score_all(self, encoded):
        return self.scorer()(encoded)

    def scorer(self):
        score, mean = self.output_items.scorer(), tf.convert_to_tensor(self.mean.value)
        return (lambda encoded: score(encoded) + mean) if self.rating is not None else score

    def item_vectors(self):
        return tf.convert_to_tensor(self.output_items.table.value)

    def user_vectors(self):
        return tf.convert_to_tensor(self.user_table.table.value)

    def score_users(self, rows):
        return super().score_users(rows) + self.user_table.offsets(rows)[:, None]

    def predict_ratings(self, users, items, scale=None) -> np.ndarray:
        """mu + b_u + b_i + p_u . q_i, float32 [n], of people and items beside each other.

        Who or what is unknown adds nothing: an unknown person's rating is mu + b_i, an unknown item's mu + b_u.

        Args:
            users, items: names, n of each.
            scale: (lowest, highest) rating, to which predictions are clipped; None: as they come.

        Raises:
            InputError: the model learned no ratings, or there are not as many users as items.
        """
        if self.rating is None:
            raise InputError("this MatrixFactorization learned no ratings: say rating='COLUMN' when you make it")
        rows, ids = self._rows(users), self.items.encode(items)
        if len(rows) != len(ids):
            raise InputError(f"users, items: {len(rows):,} of one and {len(ids):,} of the other; they stand in pairs")
        # a person or item without a pair in training has a row, but nothing was learned in it
        rated = np.bincount(self.people.values, minlength=self.size) > 0, np.diff(self.people.offsets) > 0
        there, known = rated[0][ids].astype(np.float32), (rated[1][rows] & (rows >= 0)).astype(np.float32)
        rows = np.maximum(rows, 0)
        product = np.einsum("nd,nd->n", self.user_table(rows), self.output_items(ids))
        of_item = tf.gather(self.output_items.biases.value, ids).numpy()
        of_user = self.user_table.offsets(rows).numpy()
        rated = float(self.mean.value) + known * of_user + there * of_item + known * there * product
        return rated if scale is None else np.clip(rated, *scale)

    def get_config(self):
        own = ("dim", "rating", "duplicates", "l2", "bias_l2", "fold_in_weight", "ridge", "deviation", "score_dtype")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in own},
            "negatives": keras.saving.serialize_keras_object(self.negatives) if self.negatives else None,
            "users": self.user_table.table.shape[0] if self.user_table.built else None,
        }


class Settle(keras.callbacks.Callback):
    """Takes what follows from the tables when it is needed: before an epoch, before validation, and at the end."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.sum_grams()

    def on_test_begin(self, logs=None):
        self.model.settle()

    def on_train_end(self, logs=None):
        self.model.settle()


def _check(dim, l2, bias_l2, fold_in_weight, ridge, deviation):
    if not isinstance(dim, int | np.integer) or dim < 1:
        raise InputError(f"dim={dim!r}: say a whole number, at least 1")
    for name, number in (("fold_in_weight", fold_in_weight), ("ridge", ridge), ("deviation", deviation)):
        if not number > 0:
            raise InputError(f"{name}={number!r}: say a number above 0")
    for name, number in (("l2", l2), ("bias_l2", bias_l2)):
        if not number >= 0:
            raise InputError(f"{name}={number!r}: say a number from 0 up")
