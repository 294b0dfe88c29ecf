"""Base of the neural session models: training by gradient on packed rows, with sampled negatives."""

from __future__ import annotations

import warnings
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.data import Sessions
from tfrecsession.batches.epochs import input_errors_of
from tfrecsession.errors import InputError
from tfrecsession.layers.event_input import JOINS, EventInput
from tfrecsession.layers.items.content_items import computes_vectors, drops_ids
from tfrecsession.layers.items.repeat_head import LARGEST_ID, RepeatHead
from tfrecsession.losses import CrossEntropy, RankingLoss
from tfrecsession.negatives import Negatives, Popularity
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, refuse
from tfrecsession.recommender.compressed_items import CompressedItems
from tfrecsession.recommender.distilling import Distilling
from tfrecsession.recommender.in_context import context_of
from tfrecsession.recommender.keras_contract import unpacked
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.reads_content import ReadsContent
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_defaults import rows, steps
from tfrecsession.recommender.trending import Trending

SLOW_FROM = 100_000  # items, from which the full softmax deserves a warning
POPULAR = ("popularity", "in_batch+popularity")  # the samplers by popularity
MAXIMAL = ("bpr_max", "top1_max")


class SequenceModel(Trending, Distilling, ReadsContent, CompressedItems, Recommender):
    """Base of models whose `encode` is trained against `output_items`, an `ItemScores`.

    A subclass creates `output_items` and its layers in the constructor, calls `build` last, and defines `encode`.

    Args:
        items: the vocabulary.
        negatives: the sampler of the items that a training step compares the targets with; "popularity" stands for
            `trs.negatives.Popularity(2048, alpha=0.5)`. None: all items, the full softmax, whose step costs events *
            items (see `trs.losses.full_softmax`); the loss is then `CrossEntropy`, and its logq has nothing to correct.
        score_dtype: of the sampled scores in training; None: that of the model. "bfloat16" is faster on CPUs and GPUs
            that multiply it; evaluation and recommendations keep the precision of the model's dtype.
        joined: whether all sessions of a user are read as one, the baseline of models with user states (arXiv
            1706.04148). Needs a log with users; the histories of `recommend` are then whole user histories.
        context: columns of the log that are read of the input events, such as ["device", "hour", "gap"], see
            `Data.context`; or a `Context`, `data.context(...)`.
        request: columns that are read of the event to be predicted, such as ["hour", "gap"]. They must be known when a
            recommendation is requested.
        context_as: how context joins an event, and a request the state, see `EventInput`: "concatenate", "multiply",
            "both" or "latent_cross".
        context_dropout: share of the rows of training that hide all their context, and of the columns that hide their
            values, so that answers without context, or with a part of it, are good ones.
        context_rate: share of the learning rate by which the vectors of context learn; None: 1 / columns, see
            `EventInput`.
        content: columns of the item table that are read, such as ["title", "price"] or ["title:characters"], see
            `prepare`; or a `ContentColumns`. An item's vector is then that of its id plus that of its content; an item
            without an event in training has the latter alone.
        content_side: "both", or "input", the vectors that are read, or "output", those that are scored.
        id_dropout: share of the items of a training step that are known by content alone.
        normalize, temperature: whether items score by the cosine of state and item vector over a temperature, see
            `ItemEmbedding`.
        repeats: whether a `RepeatHead` mixes the scores with the items of the session so far, for logs whose sessions
            return to their items (`data.statistics` has the share). Scores are then log probabilities, and the loss
            must be `CrossEntropy` without smoothing.
        repeat_window: the newest events of the session that can be repeated.
        trend: half-lives in days, such as [0.25, 1, 7], of counts of each item's recent events; a `TrendHead` adds
            their logarithms to the scores, with learned weights, for logs whose items go stale. Needs a log with times.
        trend_every: days between two updates of the counts. A session is trained on the counts of the last update
            before its start: set it to the time between two updates of the served model, or between its trainings.
        items_as: how item vectors are stored. "full", a vector per item; or a few codes per item and small tables of
            vectors, see `CodedItems`: "jpq", learned from the sessions, the best at its size; "hashed", "qr", "bloom",
            "chars", the characters of the id; or an `ItemCodes`, `data.item_codes("jpq")`.
        codes: codes of an item; None: 8 to 4 of jpq, the most that divide the width; 3 of bloom; the bytes of the
            longest id, at most 32, of chars.
        code_values: values of a code, rows of a small table; None: of jpq one for every fourth item, from 256 to
            10,240, most of them for the most frequent items alone; the square root of the items of qr, a twentieth of
            the items of hashed and bloom.
    """

    log_defaults = {"steps": steps, "rows": rows}
    learning = Learning(
        defaults={
            "rows": 64,
            "steps": 16,
            "epochs": 5,
            "negatives": 2048,
            "alpha": 0.5,
            "loss": "cross_entropy",
            "logq": 1.0,
            "optimizer": "adagrad",
            "learning_rate": 0.1,
            "joined": False,
            "context": (),
            "request": (),
            "context_as": "concatenate",
            "context_dropout": 0.1,
            "content": (),
            "content_side": "both",
            "id_dropout": 0.1,
            "normalize": False,
            "temperature": 0.07,
            "repeats": False,
            "repeat_window": 64,
            "trend": (),
            "trend_every": 1.0,
            "items_as": "full",
            "codes": None,
            "code_values": None,
            "teacher": None,
            "teacher_weight": 0.5,
        },
        space={
            "normalize": Choice(False, True),
            "temperature": Float(0.03, 0.3, log=True, when={"normalize": True}),
            # not where `repeats` is given as True: only cross-entropy can learn it
            "loss": Choice("cross_entropy", *MAXIMAL, "gbce", when={"sampler": POPULAR, "repeats": False}),
            "logq": Float(0.0, 1.0, when={"loss": "cross_entropy", "sampler": POPULAR}),
            "repeats": Choice(False, True, when={"loss": "cross_entropy"}),
            "trend": Choice([], [0.25, 1, 7], [0.04, 0.25, 1, 7]),
            "label_smoothing": Float(0.0, 0.2, when={"loss": "cross_entropy", "repeats": False}),
            "top_negatives": Choice(None, 100, 500, when={"loss": "cross_entropy", "sampler": POPULAR}),
            "calibration": Float(0.0, 1.0, when={"loss": "gbce"}),
            "regularization": Float(0.0, 2.0, when={"loss": MAXIMAL}),
            "elu": Choice(0.0, 0.5, 1.0, when={"loss": MAXIMAL}),
            "negatives": Int(512, 4096, log=True, when={"sampler": POPULAR}),
            "alpha": Float(0.0, 1.0, when={"sampler": POPULAR}),
            "rows": Int(32, 256, log=True, when={"lanes": None}),
            "learning_rate": (
                Float(0.01, 0.3, log=True, when={"optimizer": "adagrad"}),
                Float(0.0003, 0.01, log=True, when={"optimizer": "adam"}),
            ),
            "momentum": Float(0.0, 0.7, when={"optimizer": "adagrad"}),
            "decay": Choice(None, "linear"),
        },
        losses=("cross_entropy", "bpr", "bpr_max", "top1", "top1_max", "gbce"),
        arguments=(
            "score_dtype",
            "joined",
            "context",
            "request",
            "context_as",
            "context_dropout",
            "content",
            "content_side",
            "id_dropout",
            "normalize",
            "temperature",
            "repeats",
            "repeat_window",
            "trend",
            "trend_every",
            "items_as",
            "codes",
            "code_values",
        ),
        harmless=("negatives", "score_dtype", "context_dropout", "id_dropout"),
        shares_rows=True,
        streams_from_disk=True,
        grows=True,
        half_precision=True,
        timed=("trend",),
    )

    joins = JOINS  # what `context_as` may be
    event_input = request_input = None  # the layers that read context and request, `EventInput`
    repeat_layer = RepeatHead  # the class of the layer that mixes the scores with the items of the session
    keeps_input_width = False  # whether the input vectors must keep their width when context joins them
    user_features = None  # the features of users that are read, see `ReadsUserContent`
    carried = ()  # a weight [lanes, width] per layer, which carries the state from batch to batch

    def __init__(
        self,
        items,
        negatives: Negatives | str | None = "popularity",
        score_dtype: str | None = None,
        joined: bool = False,
        context=(),
        request=(),
        context_as: str = "concatenate",
        context_dropout: float = 0.1,
        context_rate: float | None = None,
        content=(),
        content_side: str = "both",
        id_dropout: float = 0.1,
        normalize: bool = False,
        temperature: float | str = 0.07,
        repeats: bool = False,
        repeat_window: int = 64,
        trend=(),
        trend_every: float = 1.0,
        items_as="full",
        codes: int | None = None,
        code_values: int | None = None,
        **kwargs,
    ):
        check_choice("repeats", repeats, (False, True))
        check_whole("repeat_window", repeat_window)
        check_choice("context_as", context_as, self.joins)
        check_number("context_dropout", context_dropout, 0, 1)
        if context_rate is not None:
            check_number("context_rate", context_rate, 0, 1)
        super().__init__(items, **kwargs)
        if joined and self.reads.users:
            raise InputError(f"joined={joined}: must be False, {type(self).__name__} tells a user's sessions apart")
        self.read_content(content, content_side, id_dropout)
        self.set_item_table(items_as, codes, code_values, saved=isinstance(items, int))
        self.joined = joined
        if joined:
            self.reads = replace(self.reads, users="joined")
        if isinstance(negatives, str):
            if negatives != "popularity":
                refuse("negatives", negatives, "'popularity', None or one of trs.negatives")
            negatives = Popularity(2048, alpha=0.5)
        self.negatives = negatives
        self.score_dtype = score_dtype
        self.scoring = {"normalize": normalize, "temperature": temperature}  # arguments of `ItemEmbedding`
        self.repeats = bool(repeats)
        self.repeat_window = repeat_window
        if repeats:
            if self.size > LARGEST_ID:
                refuse("repeats", repeats, f"False for {self.size - 2:,} items, it holds ids below {LARGEST_ID:,}")
            self.repeat_head = self.repeat_layer(repeat_window, name="repeat_head")
        self.set_trend(trend, trend_every)
        self.context_as = context_as
        self.context_dropout = context_dropout
        self.context_rate = context_rate
        self.context = context_of(context, request, self.items)
        if self.context:
            self.reads = replace(self.reads, context=self.context.context, request=self.context.request)
            self.event_input = self._event_input("context")
            self.request_input = self._event_input("request")
        if isinstance(items, int):
            return  # a saved model reads its sampler's weights from its file
        if negatives is not None:
            negatives.build_from(np.concatenate([[0, 0], self.items.counts]))
        elif self.size > SLOW_FROM:
            warnings.warn(
                f"negatives=None scores all {self.size - 2:,} items for every event; "
                "trs.negatives.Popularity(2048, alpha=0.5) trains many times faster",
                stacklevel=3,  # the line that creates the model, not its constructor
            )

    def build(self, input_shape=None):
        """Builds the layers that are not built yet, by encoding one empty session; call it last in the constructor."""
        if not self.built:
            self.encode(self.batch_of_histories(tf.zeros([1, 1], tf.int32)))
            for side, layer in (("context", self.event_input), ("request", self.request_input)):
                if layer is not None and not layer.built:
                    refuse(side, list(getattr(self.context, side)), f"empty: {type(self).__name__} does not read it")
        self.check_content()
        self.check_item_table()
        super().build(input_shape)

    def _event_input(self, side: str):
        """Returns the layer that reads the columns of a side, or None where there are none."""
        columns = [(column.name, column.codes, int(column.kind == "category")) for column in self.input_columns(side)]
        if not columns:
            return None
        name = {"context": "event_input", "request": "request_input"}[side]
        keep_width = side == "request" or self.keeps_input_width
        join = self.context_join(side)
        settings = {"keep_width": keep_width, "rate": self.context_rate, "name": name}
        return EventInput(columns, side, join, self.context_dropout, **settings)

    def input_columns(self, side: str) -> list:
        """Returns the columns of "context" or "request" that join vectors, see `EventInput`."""
        return self.context.side(side)

    def context_join(self, side: str):
        """Returns how the columns of "context" or "request" join vectors, see `EventInput`."""
        return self.context_as

    def with_context(self, vectors, batch, training: bool = False):
        """Joins the context of the input events to their vectors, [rows, steps, dim] -> [rows, steps, dim or more]."""
        return vectors if self.event_input is None else self.event_input(vectors, batch, training=training)

    def with_request(self, hidden, batch, training: bool = False, keys=None):
        """Joins what is known of the requests, and may be repeated, to the states: [rows, steps, dim] -> the encoding.

        The encoding is as wide as the states; with `repeats` it is what `RepeatHead` returns, whose keys are `keys`,
        [rows, steps, any], by default the states. With `trend`, the update that a step sees follows, where the batch
        has it.
        """
        scored = self.in_request(hidden, batch, training)
        if self.trend_head is not None:
            self.trend_head.width = scored.shape[-1]
        if self.repeat_head is not None:
            keys = hidden if keys is None else keys
            scored = self.repeat_head(scored, keys, batch["items"], batch["position"])
        return self.with_update(scored, batch)

    def in_request(self, hidden, batch, training: bool = False):
        """Joins what is known of the requests to the states that are scored, [rows, steps, dim] -> the same."""
        return hidden if self.request_input is None else self.request_input(hidden, batch, training=training)

    def score_all(self, encoded):
        return self.scorer_of(super().score_all)(encoded)

    def scorer(self):
        return self.scorer_of(super().scorer())

    def scorer_of(self, score):
        """Returns a function that scores encodings, from one that scores states: [n, dim] -> [n, size]."""
        head, trend = self.repeat_head, self.trend_head
        if trend is None:
            return score if head is None else lambda encoded: head.mixed(score(head.split(encoded)[0]), encoded)
        score = trend.over(score)

        def scored(encoded):
            joined, updates = self.split_update(encoded)
            if head is None:
                return score(joined, updates)
            return head.mixed(score(head.split(joined)[0], updates), joined)

        return scored

    def cells_of_an_event(self, batch):
        return 0 if self.repeat_head is None else 2 * self.repeat_window**2

    def copies_of_events(self, ids, items, scores, given=None):
        if self.repeat_head is None or self.trend_head is not None:  # with a trend, scores are no log probabilities
            return None
        encoded, _, _ = self._encode_histories(ids, given)
        _, gate, weights, repeated = self.repeat_head.split(encoded)
        log_copied = tf.math.log_sigmoid(gate)[:, None] + weights  # (n, ages): log of g a_j
        is_same = (repeated[:, None] == items[..., None]) & (items > 1)[..., None]  # (n, m, ages)
        return tf.where(is_same, tf.exp(log_copied[:, None] - scores[..., None]), 0.0)

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        if not isinstance(loss, RankingLoss):
            refuse("loss", loss, f"one of trs.losses for {type(self).__name__}, e.g. CrossEntropy()")
        if self.negatives is None and not isinstance(loss, CrossEntropy):
            raise InputError(
                "negatives=None: must be a sampler, e.g. trs.negatives.Popularity(2048, alpha=0.5); "
                f"{type(loss).__name__} needs a sampler, and the full softmax needs CrossEntropy()"
            )
        if self.repeats and (not isinstance(loss, CrossEntropy) or loss.smoothing):
            smoothed = f"CrossEntropy(smoothing={loss.smoothing:g})" if isinstance(loss, CrossEntropy) else None
            raise InputError(
                f"repeats=True: must be False with {smoothed or type(loss).__name__ + '()'}; a mixture with the items "
                "of the session learns from CrossEntropy() without smoothing alone"
            )
        if not self.built:
            self.build()  # a model whose constructor does not
        super().compile(optimizer, loss, metrics, **kwargs)

    def fit(self, x=None, *args, callbacks=None, teacher=None, teacher_weight: float = 0.5, **kwargs):
        """Trains like Keras' `fit`, see `Recommender`.

        Args:
            x, callbacks, *args, **kwargs: as in `fit` of every model.
            teacher: a fitted model of the same data, such as a `Blend`, whose best items are learned beside the next
                event, see `Distilling`; None: none.
            teacher_weight: the share of the teacher in the loss.

        Raises:
            InputError: as `fit` of every model, or a teacher that cannot teach this model.
        """
        self.count_trend(x if isinstance(x, Sessions) else getattr(x, "sessions", None))
        x = self._batches(x, args, kwargs, training=True)
        with input_errors_of(x), self.taught_by(teacher, teacher_weight):
            return super().fit(x, *args, callbacks=[*as_list(callbacks), StopOnNaN()], **kwargs)

    def evaluate(self, *args, **kwargs):
        """Evaluates as `Recommender` does, then restores the sampler's random state.

        Training so samples the same negatives with and without validation.
        """
        layers = self.negatives._flatten_layers() if self.negatives else ()
        states = [layer.seed_generator.state for layer in layers if hasattr(layer, "seed_generator")]
        before = [state.numpy() for state in states]
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            for state, value in zip(states, before, strict=True):
                state.assign(value)

    def training_batches(self, sessions, settings: dict, seed: int, memory: int | None = None):
        """Returns the batches that `tfrecsession train` fits to; with `memory`, read from files."""
        self.count_trend(sessions)
        if lanes := settings.get("lanes"):  # the state is carried: sessions in the order of the log
            order = {"by_user": self.reads.by_user, "seed": seed} if self.reads.by_user else {}
            order["context"] = self.training_context
            return sessions.batches(rows=lanes, steps=settings["steps"], carry=True, memory=memory, **order)
        shape = {"rows": settings["rows"], "steps": settings["steps"], "memory": memory}
        shape["context"] = self.training_context
        return sessions.batches(**shape, seed=seed, one_target=self.reads.one_target, by_user=self.reads.by_user)

    def newest_batches(self, sessions, is_newest, settings: dict, seed: int):
        """Returns batches as `training_batches` does, of the sessions where `is_newest`, bool [sessions], is true."""
        return self.training_batches(sessions.only(is_newest), settings, seed)

    def compared(self, batch, encoded, targets, weight):
        """Returns encodings, targets and weights as the loss compares them; a model with other targets overrides it."""
        return encoded, targets, weight

    @computes_vectors
    def training_loss(self, encoded, targets, weight=None):
        """Returns the weighted mean loss of the known targets, and the sum of their weights, by default their number.

        Args:
            encoded: [rows, steps, dim].
            targets: int32 [rows, steps], 0 where there is none.
            weight: float [rows, steps], how often an event counts; 0: not at all. None: every event counts once.
        """
        targets = tf.reshape(targets, [-1])  # (rows * steps,)
        if weight is not None:
            weight = tf.reshape(tf.cast(weight, tf.float32), [-1])  # (rows * steps,)
            targets = tf.where(weight > 0, targets, 0)  # not a negative for other events either
        hidden, updates = self.split_update(tf.reshape(encoded, [-1, encoded.shape[-1]]))  # (rows * steps, dim)
        items = self.compared_items(updates)
        if self.repeat_head is None:
            hidden = hidden if updates is None else tf.cast(hidden, self.compute_dtype)
            each = items.losses(hidden, targets, self.ranking_loss, self.negatives, self.score_dtype)
        else:
            states, compared = self.repeat_head.split(hidden)[0], (items, self.negatives, self.score_dtype)
            states = tf.cast(states, self.compute_dtype)  # (rows * steps, dim)
            excluded = self.repeat_head.excluded(hidden)
            log_fresh = self.ranking_loss.log_probabilities(states, targets, *compared, excluded=excluded)
            each = self.repeat_head.losses(log_fresh, hidden, targets)
        is_known = targets > 1
        # tf.where, not a product: the undefined loss of an empty cell may be NaN
        each = tf.where(is_known, each, 0.0)
        weight = tf.cast(is_known, tf.float32) if weight is None else tf.where(is_known, weight, 0.0)
        total = tf.reduce_sum(each * weight)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight)), tf.reduce_sum(weight)

    def _check_targets(self, batch, targets):
        """Checks custom batches: a model that reads ahead allows a target only at the end of a session."""
        if not self.reads.one_target:
            return
        goes_on = tf.pad(batch["position"][:, 1:] > 0, [[0, 0], [0, 1]])  # (rows, steps)
        tf.debugging.assert_equal(
            tf.reduce_any(goes_on & (targets > 0)),
            False,
            f"{type(self).__name__} reads a session from both ends: a target is allowed after its last step only",
        )

    @drops_ids
    def train_step(self, data):
        loss, events = self.learn_from(data, self.trainable_variables)
        self._loss_tracker.update_state(loss, sample_weight=events)
        return {"loss": self._loss_tracker.result()}

    def learn_from(self, data, trained: list):
        """Takes one step with the variables `trained`; returns the loss before it, and the weight of its events."""
        batch, targets, weight = unpacked(data)
        self._check_targets(batch, targets)
        self.check_update(batch)
        variables = [variable.value for variable in trained]
        replicas = self.distribute_strategy.num_replicas_in_sync
        self._clear_losses()
        with tf.GradientTape() as tape:
            compared = self.compared(batch, self.encode(batch, training=True), targets, weight)
            loss, events = self.training_loss(*compared)
            loss = self.distilled(loss, batch, *compared)
            further = self._further_losses()
            # Averaged over all cells, padding included: a batch that is not full makes a smaller step. The authors'
            # GRU4Rec does so too: the few sessions left in the lanes at the end of a log must not weigh too much.
            # With several replicas, each has its rows of the batch, and their gradients are summed.
            share = events / tf.cast(tf.size(targets) * replicas, tf.float32)
            scaled = self.optimizer.scale_loss(loss * share + further / replicas)
        if variables:  # none with `trainable=False`
            self._step(tape.gradient(scaled, variables), trained)
        return loss + further, events

    def _step(self, gradients, trained: list) -> None:
        """Applies the gradients of these variables."""
        if self.negatives is None:  # a tied table's gradient is sparse but lists all rows, some of them twice
            whole = {id(variable) for variable in self.output_items.item_variables()}
            gradients = [
                tf.convert_to_tensor(gradient) if id(variable) in whole else gradient
                for gradient, variable in zip(gradients, trained, strict=True)
            ]
        self.optimizer.apply_gradients(zip(gradients, trained, strict=True))

    def test_step(self, data):
        batch, targets, weight = unpacked(data)
        self._check_targets(batch, targets)
        self._clear_losses()
        compared = self.compared(batch, self.encode(batch, training=False), targets, weight)
        loss, events = self.training_loss(*compared)
        self._loss_tracker.update_state(loss + self._further_losses(), sample_weight=events)
        self._rank(batch, targets, weight)
        return {"loss": self._loss_tracker.result(), **self._ranking_results()}

    @classmethod
    def from_config(cls, config):
        config = {"context_rate": 1.0, **config}  # files from before this setting learn on as they did
        model = super().from_config(config)
        if not model.built:
            model.build()
        return model

    def get_config(self):
        negatives = keras.saving.serialize_keras_object(self.negatives) if self.negatives else None
        return {
            **super().get_config(),
            "negatives": negatives,
            "score_dtype": self.score_dtype,
            "joined": self.joined,
            "context": self.context.get_config() if self.context else (),
            "context_as": self.context_as,
            "context_dropout": self.context_dropout,
            "context_rate": self.context_rate,
            **self.scoring,
            "repeats": self.repeats,
            "repeat_window": self.repeat_window,
            "trend": list(self.trend),
            "trend_every": self.trend_every,
        }


def as_list(callbacks) -> list:
    """Returns the callbacks of an argument of `fit` as a list: one, several, or None."""
    if isinstance(callbacks, keras.callbacks.Callback):
        return [callbacks]
    return list(getattr(callbacks, "callbacks", callbacks) or [])


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, with an error that names the settings to change."""

    EVERY = 50  # batches between checks: each check waits for the step to finish

    def on_train_batch_end(self, batch, logs=None):
        if batch % self.EVERY == 0:
            self._check(logs, f"batch {batch + 1:,}")

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, f"epoch {epoch + 1}")

    def _check(self, logs, where):
        if logs and not np.isfinite(float(logs.get("loss", 0.0))):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise InputError(
                f"the loss is {float(logs['loss'])} at {where}: lower learning_rate (now {rate:g}), or clip gradients "
                "with the optimizer's clipnorm; with BPRMax also lower regularization"
            )
