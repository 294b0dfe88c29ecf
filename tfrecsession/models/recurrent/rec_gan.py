"""RecGAN: a recurrent generator of the next items against a recurrent discriminator."""

from __future__ import annotations

from functools import partial

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers import ItemEmbedding, SessionGRU, SessionRectifiedGRU
from tfrecsession.layers.items.content_items import drops_ids
from tfrecsession.models.recurrent.discriminator import Discriminator, Judged
from tfrecsession.optimizers.grouped import Grouped
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, checked_widths, refuse
from tfrecsession.recommender.keras_contract import unpacked
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel, as_list
from tfrecsession.recommender.streaming import Streaming

CELLS = {"plain": SessionGRU, "rectified": SessionRectifiedGRU}
PLAYERS = ("generator", "discriminator")
LARGEST = 20_000  # items whose probabilities a step computes for all of its events
LEAST = -1e9  # the score of padding and the unknown item


@keras.saving.register_keras_serializable(package="tfrecsession")
class RecGAN(Streaming, SequenceModel):
    """Recurrent generative adversarial network (Bharadhwaj, Park and Lim, RecSys 2018).

        h_t = cell(W y_t, h_{t-1})                       [units]; y_t is the one-hot vector of item t
        p_t = softmax(V h_t + b)                         [items]; the generated vector of the next item
        D_t = sigmoid(V' g_t + b'), g_t = cell'(W' q_t, g_{t-1})    q_t the real next item, or p_t
        L_D = -mean over t, i of log D_ti(real) + log(1 - D_ti(generated))
        L_G = mean over t, i of log(1 - D_ti(generated)) + reconstruction * L(likelihood)

    Two cells of one kind play: `SessionGRU` or `SessionRectifiedGRU`. The first `pretraining` epochs train the
    generator by likelihood, the loss of `compile`; then players take turns. Recommendations are the generator's.

    Ours are what the paper leaves open. Both players see the entries i of the next item and of `zeros` sampled items
    alone, for else a dense vector is told from a sparse one at once. The generator reads real histories. Its loss keeps
    the likelihood unless reconstruction=0. The update gate is bounded, see `SessionRectifiedGRU`. RecGAN reads whole
    histories of users: so does `joined=True`. With pretraining=None there is no discriminator: likelihood alone, as in
    recurrent recommender networks (Wu et al., WSDM 2017), is the baseline to beat.

    Args:
        items: the vocabulary, at most 20,000 items unless pretraining=None.
        units: width of each recurrent layer of both players, first to last.
        cell: "plain" or "rectified".
        pretraining: epochs of likelihood alone; None: all of them.
        reconstruction: weight of the likelihood in the generator's adversarial steps.
        generator_steps, discriminator_steps: batches that each player learns from in turn.
        zeros: items sampled in a step, on whose entries the players are compared beside the next item.
        bounded: whether the update gate of "rectified" is cut to 0..1.
        dropout: share of each layer's output set to zero in training, in both players.
        initializer: of the item tables, see `ItemEmbedding`.
        negatives: see `SequenceModel`, as for score_dtype, joined, context, request, context_as, context_dropout,
            content, content_side, id_dropout, normalize, temperature, repeats and repeat_window.

    Raises:
        InputError: an argument out of its range, or too many items.

    Example:

        model = trs.models.RecGAN(data.items, units=[100], pretraining=3)
        model.compile(trs.optimizers.LazyAdam(0.001, clipnorm=10.0), trs.losses.CrossEntropy(logq=1.0))
        model.fit(data.train.batches(rows=64, steps=16), epochs=6)
    """

    # Declarations
    learning = SequenceModel.learning.but(harmless=("dropout", "zeros", "reconstruction"))
    search_space = {
        "units": Choice([100], [200], [400]),
        "cell": Choice("plain", "rectified"),
        "pretraining": Int(1, 4),
        "reconstruction": Float(0.0, 1.0),
        "dropout": Float(0.0, 0.6),
    }
    keeps_input_width = True

    def __init__(
        self,
        items,
        units=(100,),
        cell="rectified",
        pretraining=2,
        reconstruction=1.0,
        generator_steps=1,
        discriminator_steps=1,
        zeros=64,
        bounded=True,
        dropout=0.3,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("cell", cell, CELLS)
        check_whole("pretraining", pretraining, 0, optional=True)
        check_number("reconstruction", reconstruction, 0)
        check_whole("generator_steps", generator_steps)
        check_whole("discriminator_steps", discriminator_steps)
        check_whole("zeros", zeros)
        check_choice("bounded", bounded, (False, True))
        check_number("dropout", dropout, 0, 1)
        super().__init__(items, negatives=negatives, **kwargs)
        if pretraining is not None and self.size - 2 > LARGEST:
            raise InputError(
                f"items: must be at most {LARGEST:,} for RecGAN, whose players compare probabilities of all items, and "
                f"there are {self.size - 2:,}: prepare the log with a higher min_item_support=, or train the generator "
                "alone with pretraining=None"
            )
        self.units = units
        self.cell = cell
        self.pretraining = pretraining
        self.reconstruction = reconstruction
        self.generator_steps = generator_steps
        self.discriminator_steps = discriminator_steps
        self.zeros = zeros
        self.bounded = bounded
        self.dropout = dropout
        self.initializer = initializer

        # Layers
        self.recurrent = self._cells("generator")
        first = CELLS[cell].gates * units[0]
        self.output_items = ItemEmbedding(
            self.size, units[-1], bias=True, initializer=initializer, name="items", **self.scoring
        )
        self.input_items = ItemEmbedding(self.size, first, initializer=initializer, name="input_items")
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.keep_states(self.recurrent)
        self.discriminator = None
        if pretraining is not None:
            self.discriminator = Discriminator(self._cells("discriminator"), self.size, dropout, initializer)
            self.seed_generator = keras.random.SeedGenerator()
            self.phase = self.add_weight(name="phase", shape=(), dtype="int32", initializer="zeros", trainable=False)
            self.turn = self.add_weight(name="turn", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.build()

    def _cells(self, player: str) -> list:
        """Creates the recurrent layers of a player; the first one takes rows of a table, the products of one-hots."""
        bounded = {"bounded": self.bounded} if self.cell == "rectified" else {}
        return [
            CELLS[self.cell](width, name=f"{player}_{index}", project=index > 0, **bounded)
            for index, width in enumerate(self.units)
        ]

    # Training

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        optimizer = keras.optimizers.get(optimizer)
        if self.discriminator is not None and not isinstance(optimizer, Grouped):
            if self.dtype_policy.name == "mixed_float16":
                refuse("pretraining", self.pretraining, "None in mixed_float16; mixed_bfloat16 has both players")
            optimizer = Grouped({name: type(optimizer).from_config(optimizer.get_config()) for name in PLAYERS})
        if isinstance(optimizer, Grouped):
            optimizer.group_of = self.player_of
        super().compile(optimizer, loss, metrics, **kwargs)
        if self.discriminator is not None:
            self.optimizer.build(self.trainable_variables)  # a step sees those of one player

    @property
    def can_be_taught(self) -> bool:
        """Whether `fit` takes a teacher: not where players take turns."""
        return self.discriminator is None

    def player_of(self, variable) -> str:
        """Returns the player that a variable belongs to, one of PLAYERS."""
        own = () if self.discriminator is None else self.discriminator.weights
        return PLAYERS[any(variable is weight for weight in own)]

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        if self.discriminator is not None:
            import tfrecsession as trs  # training imports the models

            self.phase.assign(int(not self.pretraining))
            if self.pretraining:
                callbacks = [*as_list(callbacks), trs.training.Phases("residual", epochs=self.pretraining)]
        return super().fit(x, *args, callbacks=callbacks, **kwargs)

    @drops_ids
    def train_step(self, data):
        if self.discriminator is None or not self.trainable_variables:
            return super().train_step(data)
        own = {name: [v for v in self.trainable_variables if self.player_of(v) == name] for name in PLAYERS}
        steps = [partial(self.learn_from, data, own["generator"])]
        steps += [partial(self.play, data, name, own[name]) for name in PLAYERS]
        turn = self.turn.value % (self.generator_steps + self.discriminator_steps)
        plays = tf.where(turn < self.generator_steps, 1, 2)
        step = tf.where(tf.equal(self.phase.value, 0), 0, plays)
        self.turn.assign_add(tf.minimum(tf.convert_to_tensor(self.phase.value), 1))
        loss, events = tf.switch_case(step, steps)
        self._loss_tracker.update_state(loss, sample_weight=events)
        return {"loss": self._loss_tracker.result()}

    def play(self, data, player: str, trained: list):
        """Takes an adversarial step of one player; returns the likelihood's loss before it, and its events."""
        batch, targets, weight = unpacked(data)
        self._check_targets(batch, targets)
        variables = [variable.value for variable in trained]
        self._clear_losses()
        with tf.GradientTape() as tape:
            encoded = self.encode(batch, training=True)  # (rows, steps, units)
            likelihood, events = self.training_loss(encoded, targets, weight)
            known = targets > 1 if weight is None else (targets > 1) & (weight > 0)  # (rows, steps)
            adversarial = self.loss_of(player, batch["position"] == 0, encoded, tf.where(known, targets, 0))
            loss = adversarial + (self.reconstruction * likelihood if player == "generator" else 0.0)
            share = events / tf.cast(tf.size(targets), tf.float32)
            scaled = self.optimizer.scale_loss(loss * share + self._further_losses())
        self._step(tape.gradient(scaled, variables), trained)
        return likelihood, events

    def loss_of(self, player: str, starts, encoded, targets):
        """Returns L_D, or the adversarial part of L_G.

        Args:
            player: one of PLAYERS.
            starts: bool [rows, steps], where sessions start.
            encoded: [rows, steps, units], the states of the generator.
            targets: int32 [rows, steps], 0 where there is none.
        """
        zeros = self.draw_zeros()  # (zeros,)
        scores = self.scorer_of(self.output_items.score_all)(ops.reshape(encoded, (-1, encoded.shape[-1])))
        scores = tf.cast(scores, tf.float32) + tf.pad([LEAST, LEAST], [[0, self.size - 2]])  # (rows * steps, size)
        p = tf.reshape(tf.nn.softmax(scores), [*tf.unstack(tf.shape(targets)), self.size])  # (rows, steps, size)
        generated = Judged(tf.gather(p, targets, batch_dims=2), tf.gather(p, zeros, axis=-1))
        if player == "generator":
            logits, mask = self.discriminator(starts, targets, zeros, generated, training=True)
            return -tf.math.divide_no_nan(tf.reduce_sum(tf.nn.softplus(logits) * mask), tf.reduce_sum(mask))
        generated = Judged(*map(tf.stop_gradient, generated))
        fake, mask = self.discriminator(starts, targets, zeros, generated, training=True)
        real, _ = self.discriminator(starts, targets, zeros, None, training=True)
        each = (tf.nn.softplus(-real) + tf.nn.softplus(fake)) * mask  # (rows, steps, 1 + zeros)
        return tf.math.divide_no_nan(tf.reduce_sum(each), tf.reduce_sum(mask))

    def draw_zeros(self):
        """Draws items evenly: int32 [zeros]."""
        return keras.random.randint((self.zeros,), 2, self.size, seed=self.seed_generator)

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        hidden = self.with_context(self.input_items(batch["items"]), batch, training)  # (rows, steps, gates * units)
        after = []
        for layer, before in zip(self.recurrent, self.states(state), strict=True):
            hidden, last = layer(hidden, starts, before, training=training)  # (rows, steps, units), (rows, units)
            after.append(last)
            hidden = self.output_dropout(hidden, training=training)
        return hidden, ops.cast(ops.concatenate(after, axis=-1), "float32")  # (rows, state_width)

    def encode_state(self, state):
        return ops.cast(self.states(state)[-1], self.compute_dtype)  # (rows, units)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "cell": self.cell,
            "pretraining": self.pretraining,
            "reconstruction": self.reconstruction,
            "generator_steps": self.generator_steps,
            "discriminator_steps": self.discriminator_steps,
            "zeros": self.zeros,
            "bounded": self.bounded,
            "dropout": self.dropout,
            "initializer": self.initializer,
        }
