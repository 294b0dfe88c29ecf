"""Training on pairs of people and items: what a factorization by gradient does with a batch of triples."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.batches.triples import triples
from tfrecsession.errors import InputError
from tfrecsession.losses import AllPairs
from tfrecsession.recommender.sequence_model import StopOnNaN


class PairModel:
    """Mixed in before `Recommender`. The model says `losses_of_pairs(batch)` and `settle(people)`, what its answers
    take from the tables; it has `user_table`, `output_items`, `mean`, `rating`, `scale`, `duplicates`, and `grams`, the
    Gramians of items and of people, which `AllPairs` needs up to date."""

    rating, scale, duplicates, grams, seen_items = None, None, "sum", (), None

    def fit(self, x=None, *args, rows: int = 1024, seed: int = 0, callbacks=None, **kwargs):
        """Keras' `fit`.

        Args:
            x: `data.train`, its `Interactions`, or `batches.triples` of them.
            rows: pairs in a batch, where x is no dataset yet.
            seed: of the shuffling, likewise.

        Raises:
            InputError: other people than in an earlier fit, another vocabulary, a rating outside of the model's
                `scale`, or a loss that is not a number.
        """
        batches = self.triples_of(x, rows, seed)
        self.take(batches.interactions)
        callbacks = [*(callbacks or []), StopOnNaN(), Settle(batches.interactions)]
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
            duplicates = self.duplicates if self.rating else "sum"
            x = Interactions.of(sessions, value=self.rating, duplicates=duplicates, scale=self.scale)
        return triples(x, rows, seed=seed)

    def training_batches(self, sessions, settings: dict, seed: int):
        return self.triples_of(sessions, settings["rows"], seed)

    def take(self, people: Interactions) -> None:
        """Make a row for everybody, or see that it is they for whom there are rows."""
        self.check_vocabulary(people.items)
        if self.scale is not None:
            people.check_scale(self.scale, self.rating)
        if not self.user_table.built:
            self.user_table.build(len(people))
        known, named = self.user_table.table.shape[0], people.users[people.named]
        if len(people) != known or (len(self.users) and self.users.tolist() != named.tolist()):
            raise InputError("x: this model was fitted to other people; make a new one for these")
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        if self.seen_items is not None:
            self.seen_items.take(people)
        if self.rating is not None:
            self.mean.assign(people.weights.mean(dtype=np.float64))

    def train_step(self, batch):
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            # by the rows, not by the pairs there are: a batch that is not full makes a smaller step
            each = self.losses_of_pairs(batch) * batch["weight"]
            scaled = self.optimizer.scale_loss(tf.reduce_mean(each))
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        pairs = zip(gradients, variables, strict=True)
        touched = [pair for pair in pairs if pair[0] is not None]  # not every loss has biases
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

    @property
    def training_state(self):
        """What training changes beside the weights that Keras knows, for `training.Checkpoint`."""
        return self.grams

    def sum_grams(self) -> None:
        """The Gramians of items and users from the tables: rounding of the steps between does not add up."""
        for gram, table in zip(self.grams, (self.item_vectors()[2:], self.user_table.table.value), strict=False):
            gram.assign(tf.matmul(table, table, transpose_a=True))


class Settle(keras.callbacks.Callback):
    """Takes what follows from the tables when it is needed: before an epoch, before validation, and at the end."""

    def __init__(self, people: Interactions):
        super().__init__()
        self.people = people

    def on_epoch_begin(self, epoch, logs=None):
        self.model.sum_grams()

    def on_test_begin(self, logs=None):
        self.model.settle(self.people)

    def on_train_end(self, logs=None):
        self.model.settle(self.people)
