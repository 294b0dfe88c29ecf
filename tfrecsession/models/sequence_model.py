"""Training by gradient on packed rows, with sampled negatives: shared by every neural session model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers import ItemEmbedding
from tfrecsession.losses import RankingLoss
from tfrecsession.models.recommender import Recommender
from tfrecsession.negatives import Negatives, Popularity


class SequenceModel(Recommender):
    """A model whose `encode` is learned against `output_items`, an embedding of the items.

    Args:
        items: the vocabulary.
        negatives: draws the items that a training step compares the targets with.
    """

    # What `tfrecsession train` takes where neither a preset nor --set says otherwise.
    training_defaults = {
        "rows": 64,
        "steps": 16,
        "epochs": 5,
        "negatives": 2048,
        "alpha": 0.5,
        "loss": "cross_entropy",
        "logq": 1.0,
        "optimizer": "adagrad",
        "learning_rate": 0.1,
    }

    output_items: ItemEmbedding  # scores are dot products with its rows

    def __init__(self, items, negatives: Negatives | None = None, **kwargs):
        super().__init__(items, **kwargs)
        self.negatives = negatives if negatives is not None else Popularity(2048, alpha=0.5)
        if not isinstance(items, int):  # a saved model brings its sampler's weights along
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        if not isinstance(loss, RankingLoss):
            raise InputError(f"loss={loss!r}: {type(self).__name__} learns with one of trs.losses, e.g. CrossEntropy()")
        super().compile(optimizer, loss, metrics, **kwargs)

    def fit(self, *args, callbacks=None, **kwargs):
        return super().fit(*args, callbacks=[*(callbacks or []), StopOnNaN()], **kwargs)

    def score_all(self, encoded):
        return self.output_items.score_all(encoded)

    def scorer(self):
        return self.output_items.scorer()

    def item_vectors(self):
        return tf.convert_to_tensor(self.output_items.table.value)

    def training_loss(self, encoded, targets):
        """Mean loss of the targets there are, each against one shared draw of negatives; and how many there are.

        Args:
            encoded: [rows, steps, dim].
            targets: int32 [rows, steps], 0 where there is none.
        """
        targets = tf.reshape(targets, [-1])
        hidden = tf.reshape(encoded, [-1, encoded.shape[-1]])
        drawn = self.negatives.draw()
        positive = tf.cast(self.output_items.score_each(hidden, targets), tf.float32)
        negative = tf.cast(self.output_items.score(hidden, drawn), tf.float32)
        loss = self.ranking_loss
        if loss.logq:
            positive -= loss.logq * self.negatives.log_probability(targets)
            negative -= loss.logq * self.negatives.log_probability(drawn)[None, :]
        each = tf.cast(loss.compare(positive, negative, self.negatives.keep(targets, drawn)), tf.float32)
        weight = tf.cast(targets > 1, tf.float32)
        # where, not a product: an empty cell must not bring in a NaN of its own
        total = tf.reduce_sum(tf.where(weight > 0, each, 0.0))
        return total / tf.maximum(tf.reduce_sum(weight), 1.0), tf.reduce_sum(weight)

    def train_step(self, data):
        batch, targets = data[:2]
        variables = [variable.value for variable in self.trainable_variables]
        with tf.GradientTape() as tape:
            loss, events = self.training_loss(self.encode(batch, training=True), targets)
            scaled = self.optimizer.scale_loss(loss)
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), self.trainable_variables, strict=True))
        self._loss_tracker.update_state(loss, sample_weight=events)
        return {"loss": self._loss_tracker.result()}

    def test_step(self, data):
        batch, targets = data[:2]
        loss, events = self.training_loss(self.encode(batch, training=False), targets)
        self._loss_tracker.update_state(loss, sample_weight=events)
        return {"loss": self._loss_tracker.result(), **super().test_step(data)}

    def get_config(self):
        return {**super().get_config(), "negatives": keras.saving.serialize_keras_object(self.negatives)}


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number, and says which settings to look at."""

    EVERY = 50  # batches between looks: each look waits for the step to finish

    def on_train_batch_end(self, batch, logs=None):
        if batch % self.EVERY == 0:
            self._look(logs, f"batch {batch + 1:,}")

    def on_epoch_end(self, epoch, logs=None):
        self._look(logs, f"epoch {epoch + 1}")

    def _look(self, logs, where):
        if logs and not np.isfinite(float(logs.get("loss", 0.0))):
            rate = float(self.model.optimizer.learning_rate)
            raise InputError(
                f"the loss is {float(logs['loss'])} at {where}: lower learning_rate (now {rate:g}), or clip gradients "
                "with the optimizer's clipnorm; with BPRMax also lower regularization"
            )
