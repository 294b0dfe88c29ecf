"""Training on pairs of users and items: batches of triples for factorizations learned by gradient."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.batches.triples import triples
from tfrecsession.errors import InputError
from tfrecsession.losses import AllPairs
from tfrecsession.recommender.sequence_model import StopOnNaN, as_list


class PairModel:
    """Training of a model on (user, item, weight) triples. Mixed in before `Recommender`.

    The class defines `losses_of_pairs(batch)`, float32 [rows], and `settle(interactions)`, which refreshes the state
    that recommendations derive from the tables. It has `user_table`, `output_items`, `mean`, `rating`, `scale`,
    `duplicates`, and `grams`, the Gramians of items and of users, which `AllPairs` needs up to date.
    """

    rating, scale, duplicates, grams, seen_items = None, None, "sum", (), None

    def fit(self, x=None, *args, rows: int = 1024, seed: int = 0, callbacks=None, sample_weight=None, **kwargs):
        """Trains like Keras' `fit`.

        Args:
            x: `data.train`, its `Interactions`, or `batches.triples` of them. A pair of a split that is `weighted`
                counts as much as the heaviest of its events.
            rows: pairs in a batch, where x is no dataset yet.
            seed: of the shuffling, likewise.
            callbacks: as in `Recommender.fit`.
            sample_weight: float [pairs], how often each pair counts, in the order of `Interactions.of(data.train)`,
                user by user; 0 leaves a pair out. None: every pair counts once. Where x is no dataset yet.
            *args, **kwargs: as in Keras.

        Raises:
            InputError: other users than in an earlier fit, another vocabulary, a rating outside of the model's
                `scale`, or a loss that is not a number.
        """
        batches = self.triples_of(x, rows, seed, sample_weight)
        self.take(batches.interactions)
        callbacks = [*as_list(callbacks), StopOnNaN(), Settle(batches.interactions)]
        return super().fit(batches, *args, callbacks=callbacks, **kwargs)

    def triples_of(self, x, rows: int = 1024, seed: int = 0, sample_weight=None):
        """Returns the `batches.triples` of any x that `fit` accepts."""
        if getattr(x, "interactions", None) is not None:
            if sample_weight is not None:
                raise InputError("sample_weight: must be an argument of batches.triples where x is such a dataset")
            return x
        if not isinstance(x, Interactions):
            sessions = getattr(x, "sessions", x)
            if not hasattr(sessions, "offsets"):
                raise InputError("x: must hold users and items, as in fit(data.train), to learn a factorization")
            self.check_vocabulary(sessions.items)
            if sessions.weights is not None:
                if sample_weight is not None:
                    raise InputError("sample_weight: must be None beside data.train.weighted(...)")
                sample_weight = self.pair_weights(sessions)
                if not (sample_weight > 0).any():
                    raise InputError("x: no event of a known item has a weight above 0: there is nothing to train on")
            duplicates = self.duplicates if self.rating else "sum"
            x = Interactions.of(sessions, value=self.rating, duplicates=duplicates, scale=self.scale)
        return triples(x, rows, seed=seed, sample_weight=sample_weight)

    def training_batches(self, sessions, settings: dict, seed: int):
        return self.triples_of(sessions, settings["rows"], seed)

    def newest_batches(self, sessions, is_newest, settings: dict, seed: int):
        """Returns batches of the pairs that occur in the sessions where `is_newest`, bool [sessions], is true.

        Their values are those of the whole log.
        """
        pairs = self.triples_of(sessions, settings["rows"], seed).interactions
        only, weights = pairs.occurring(sessions, is_newest), self.pair_weights(sessions)
        return triples(pairs, settings["rows"], seed=seed, only=only, sample_weight=weights)

    def pair_weights(self, sessions):
        """Returns the weight of the heaviest event of every pair, float32 [pairs]; None: every pair counts once."""
        if sessions.weights is None:
            return None
        return Interactions.of(sessions, duplicates="max", event_weights=sessions.weights.example).weights

    def take(self, interactions: Interactions) -> None:
        """Creates one row per user, or checks that the existing rows belong to these users."""
        self.check_vocabulary(interactions.items)
        if self.scale is not None:
            interactions.check_scale(self.scale, self.rating)
        if not self.user_table.built:
            self.user_table.build(len(interactions))
        rows, named = self.user_table.table.shape[0], interactions.users[interactions.named]
        if len(interactions) != rows or (len(self.users) and self.users[: len(named)].tolist() != named.tolist()):
            raise InputError("x: must have the users of the earlier fit; create a new model for other users")
        if self.seen_items is not None:
            self.seen_items.take(interactions)
        if self.rating is not None:
            self.mean.assign(interactions.weights.mean(dtype=np.float64))

    def train_step(self, batch):
        variables = self.trainable_variables
        self._clear_losses()
        with tf.GradientTape() as tape:
            # averaged over the rows of the batch, padding included: the last, partial batch makes a smaller step
            each = self.losses_of_pairs(batch)
            each = tf.where(batch["weight"] > 0, each, 0.0) * batch["weight"]  # the loss of padding may be NaN
            further = self._further_losses()
            scaled = self.optimizer.scale_loss(tf.reduce_mean(each) + further)
        if variables:  # none with `trainable=False`
            self._step(batch, tape.gradient(scaled, [variable.value for variable in variables]))
        count = tf.reduce_sum(batch["weight"])
        mean = tf.math.divide_no_nan(tf.reduce_sum(each), count)
        self._loss_tracker.update_state(mean + further, sample_weight=count)
        return {"loss": self._loss_tracker.result()}

    def _step(self, batch, gradients) -> None:
        """Applies the gradients of the trainable variables, and lets the Gramians follow."""
        pairs = zip(gradients, self.trainable_variables, strict=True)
        touched = [pair for pair in pairs if pair[0] is not None]  # not every loss has biases
        exact = isinstance(self.ranking_loss, AllPairs)
        before = self._touched(batch) if exact else ()
        if touched:
            self.optimizer.apply_gradients(touched)
        for gram, old, new in zip(self.grams, before, self._touched(batch) if exact else (), strict=False):
            gram.assign_add(tf.matmul(new, new, transpose_a=True) - tf.matmul(old, old, transpose_a=True))

    def _touched(self, batch):
        return self.output_items(tf.unique(batch["item"])[0]), self.user_table(tf.unique(batch["user"])[0])

    @property
    def training_state(self):
        """The variables that training changes besides Keras' weights, for `training.Checkpoint`."""
        return self.grams

    def sum_grams(self) -> None:
        """Recomputes the Gramians of items and users from the tables, so that rounding errors do not add up."""
        for gram, table in zip(self.grams, (self.item_vectors()[2:], self.user_table.table.value), strict=False):
            gram.assign(tf.matmul(table, table, transpose_a=True))  # (dim, dim)


class Settle(keras.callbacks.Callback):
    """Refreshes derived state before each epoch, before validation and after training."""

    def __init__(self, interactions: Interactions):
        super().__init__()
        self.interactions = interactions

    def on_epoch_begin(self, epoch, logs=None):
        self.model.sum_grams()

    def on_test_begin(self, logs=None):
        self.model.settle(self.interactions)

    def on_train_end(self, logs=None):
        self.model.settle(self.interactions)
