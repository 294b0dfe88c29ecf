"""ParallelRNN: a recurrent network over ids and one over content, joined, and trained together or in turn."""

from __future__ import annotations

from functools import partial

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers import SessionGRU
from tfrecsession.layers.items.content_items import drops_ids
from tfrecsession.layers.items.content_vectors import ContentVectors
from tfrecsession.layers.items.item_content import ContentEncoder
from tfrecsession.layers.items.joined_items import JoinedItems
from tfrecsession.optimizers.grouped import Grouped
from tfrecsession.recommender.arguments import (
    check_choice,
    check_items,
    check_number,
    check_whole,
    checked_widths,
    refuse,
)
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel, as_list
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.sessions.item_columns import kinds_of

JOINED = ("parallel", "shared", "interaction")  # architectures of two subnets
ARCHITECTURES = ("id", "feature", "concatenated", *JOINED)
EMBEDDINGS = ("tied", "separate")
SCHEDULES = ("simultaneous", "alternating", "residual", "interleaved")
GROUPS = ("id", "feature", "shared")  # of variables; those of "shared" learn with each of the others


@keras.saving.register_keras_serializable(package="tfrecsession")
class ParallelRNN(Streaming, SequenceModel):
    """Parallel recurrent networks over ids and content of items (p-RNN, Hidasi et al., RecSys 2016).

        h = GRU_id(x_id), g = GRU_feature(x_feature)              x_feature: the encoded content of the event's item
        id             W h                feature       V g                  concatenated   W GRU([x_id; x_feature])
        parallel       w W h + v V g      shared        W (w h + v g)        interaction    w W h + v V (g * h)

    with v = `feature_weight`, w = 1 - v, and a bias per item. Two subnets learn by one of the paper's schedules:

        simultaneous   all of it in every step
        alternating    one subnet per epoch, the ids first
        residual       the ids for `phase_epochs` epochs, then the features on the error that is left
        interleaved    in every batch the ids, then the features on what the ids have just learned

    A subnet that does not learn stays in the forward pass. W of "shared" learns with both.

    With `content_side="both"` the items are also scored by their content: encodings c_i join the rows of V, or those of
    the only table. Items that training never saw are then recommended.

    From the paper are architectures and schedules. Ours are: losses without a final tanh, encoders of every kind of
    content with weights of their own, and by default an input that is the row of W.

    Args:
        items: the vocabulary, `data.items`, with content.
        units: widths of the GRU of ids and of that of features; one number is both. "shared" and "interaction" need
            equal ones, "concatenated" reads the first.
        architecture, schedule: see above; a single subnet has no schedule.
        feature_weight: v, from 0 to 1.
        phase_epochs: of "residual"; None: half of the epochs.
        feature_dim: width of the encoded content; None: that of its GRU.
        embedding: the input of an item's id: "tied", its row of W; "separate", a table of its own.
        dropout: share of each GRU's output set to zero in training.
        lanes: see `GRU4Rec`.
        content: columns that are read, see `SequenceModel`; None: all columns of the item table.
        content_side: "input" or "both"; of "id", which reads no content, "output".
        id_dropout: with content on the output side, see `SequenceModel`.
        negatives, score_dtype, joined, context, request, context_as, context_dropout, repeats, repeat_window: see
            `SequenceModel`. Context joins the input of the ids.

    Raises:
        InputError: an argument out of its range, or no content.

    Example:

        model = trs.models.ParallelRNN(data.items, units=[100], content=["title", "price"], schedule="residual")
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=20)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"content": None, "content_side": "input", "epochs": 10},
        harmless=("dropout", "lanes", "schedule", "phase_epochs"),
        shares_rows=False,
    )
    search_space = {
        "architecture": Choice("parallel", "interaction", "concatenated", "shared"),
        "schedule": Choice("interleaved", "residual", "alternating", "simultaneous", when={"architecture": JOINED}),
        "feature_weight": Float(0.2, 0.8, when={"architecture": JOINED}),
        "units": Choice([100], [200]),
        "dropout": Float(0.0, 0.6),
    }

    def __init__(
        self,
        items,
        units=(100,),
        architecture="parallel",
        schedule="interleaved",
        feature_weight=0.5,
        phase_epochs=None,
        feature_dim=None,
        embedding="tied",
        dropout=0.3,
        lanes=None,
        content=None,
        content_side="input",
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("architecture", architecture, ARCHITECTURES)
        check_choice("schedule", schedule, SCHEDULES)
        check_number("feature_weight", feature_weight, 0, 1)
        check_whole("phase_epochs", phase_epochs, optional=True)
        check_whole("feature_dim", feature_dim, optional=True)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("dropout", dropout, 0, 1)
        if len(units) > 2 or (architecture in ("shared", "interaction") and len(set(units)) > 1):
            refuse("units", units, "one width, or with architecture='parallel' one for ids and one for features")
        if content is None:
            reads_none = architecture == "id" and content_side == "input"
            check_items(items)
            content = () if reads_none else list(kinds_of(items.content, items.tensors))
        super().__init__(items, negatives=negatives, content=content, content_side=content_side, **kwargs)
        if self.content is None and (architecture != "id" or content_side != "input"):
            text = f"content={list(content)!r}: must be columns of the item table with architecture={architecture!r}; "
            how = "prepare the log with items=TABLE", "prepare the log with --items TABLE"
            raise InputError(text + how[0], command_line=text + how[1])
        reads = "both" if architecture != "id" else "output"
        if content_side not in ("input", reads):
            refuse("content_side", content_side, f"'input' or {reads!r} with architecture={architecture!r}")
        self.units = units
        self.architecture = architecture
        self.schedule = schedule
        self.feature_weight = feature_weight
        self.phase_epochs = phase_epochs
        self.feature_dim = feature_dim
        self.embedding = embedding
        self.dropout = dropout
        self.lanes = lanes

        # Layers
        of_id, of_feature = units[0], units[-1]
        self.id_gru = SessionGRU(of_id, name="gru_id") if architecture != "feature" else None
        single = architecture in ("id", "concatenated")
        self.feature_gru = None if single else SessionGRU(of_feature, name="gru_feature")
        if architecture in ("parallel", "interaction"):
            self.output_items = JoinedItems(self.size, (of_id, of_feature), bias=True, name="items", **self.scoring)
        else:
            width = of_feature if architecture == "feature" else of_id
            self.output_items = self.item_table(width, bias=True, name="items")
        separate = embedding == "separate" and architecture != "feature"
        self.input_items = self.item_table(of_id, name="input_items", scored=False) if separate else None
        self.features = None
        if self.content is not None and architecture != "id":
            encoder = ContentEncoder(self.content.columns, feature_dim or of_feature, name="feature_encoder")
            self.features = ContentVectors(self.item_content, encoder, name="features")
            self._content_layers = [self.features]
        if content_side != "input":
            dim = of_feature if architecture in ("parallel", "interaction") else None  # of V
            self.output_items = self.content_items(self.output_items, "output", dim=dim)
            self._content_layers.append(self.output_items)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.phase = self.add_weight(name="phase", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.keep_states([layer for layer in (self.id_gru, self.feature_gru) if layer is not None])
        self.build()

    # Training

    @property
    def phased(self) -> bool:
        """Whether the subnets learn in different steps."""
        return self.architecture in JOINED and self.schedule != "simultaneous"

    def group_of(self, variable) -> str:
        """Returns the group of a variable, one of GROUPS; what no subnet has for itself learns with the ids."""
        of_feature = [*self.feature_gru.weights, *self.features.weights]
        if self.architecture != "shared" and self.content_side == "both":
            of_feature += [*self.output_items.encoder.weights, *self.output_items.items.tables[1:]]
        elif self.architecture != "shared":
            of_feature += self.output_items.tables[1:]
        if any(variable is weight for weight in of_feature):
            return "feature"
        shared = self.architecture == "shared" and any(variable is weight for weight in self.output_items.weights)
        return "shared" if shared else "id"

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        optimizer = keras.optimizers.get(optimizer)
        if self.phased and not isinstance(optimizer, Grouped):
            if self.dtype_policy.name == "mixed_float16":
                refuse("schedule", self.schedule, "'simultaneous' in mixed_float16; mixed_bfloat16 has all schedules")
            groups = GROUPS if self.architecture == "shared" else GROUPS[:2]
            optimizer = Grouped({name: type(optimizer).from_config(optimizer.get_config()) for name in groups})
        if isinstance(optimizer, Grouped):
            optimizer.group_of = self.group_of
        super().compile(optimizer, loss, metrics, **kwargs)
        if self.phased:
            self.optimizer.build(self.trainable_variables)  # a step may see those of one subnet only

    def fit(self, x=None, *args, callbacks=None, **kwargs):
        if self.phased:
            import tfrecsession as trs  # training imports the models

            callbacks = [*as_list(callbacks), trs.training.Phases(epochs=self.phase_epochs)]
        return super().fit(x, *args, callbacks=callbacks, **kwargs)

    @drops_ids
    def train_step(self, data):
        trained = self.trainable_variables
        if not self.phased or not trained:
            return super().train_step(data)
        groups = [self.group_of(variable) for variable in trained]
        steps = [
            partial(self.learn_from, data, [v for v, g in zip(trained, groups, strict=True) if g in (name, "shared")])
            for name in GROUPS[:2]
        ]
        if self.schedule == "interleaved":
            before = [tf.identity(weight.value) for weight in self.carried]
            loss, events = steps[0]()
            for weight, value in zip(self.carried, before, strict=True):
                weight.assign(value)  # the second step reads the same batch
            steps[1]()
        else:
            loss, events = tf.switch_case(tf.convert_to_tensor(self.phase.value), steps)
        self._loss_tracker.update_state(loss, sample_weight=events)
        return {"loss": self._loss_tracker.result()}

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        features = None if self.features is None else self.features(batch["items"])  # (rows, steps, feature_dim)
        inputs = [features] if self.architecture == "feature" else [self._id_input(batch["items"])]
        if self.architecture == "concatenated":
            inputs = [ops.concatenate([inputs[0], features], axis=-1)]  # (rows, steps, units + feature_dim)
        inputs = [self.with_context(inputs[0], batch, training)]
        inputs += [features] if self.architecture in JOINED else []
        layers = [layer for layer in (self.id_gru, self.feature_gru) if layer is not None]
        outputs, after = [], []
        for layer, vectors, before in zip(layers, inputs, self.states(state), strict=True):
            output, last = layer(vectors, starts, before)  # (rows, steps, units), (rows, units)
            outputs.append(self.output_dropout(output, training=training))
            after.append(last)
        return self._joined(outputs), ops.cast(ops.concatenate(after, axis=-1), "float32")  # (rows, state_width)

    def encode_state(self, state):
        return self._joined([ops.cast(part, self.compute_dtype) for part in self.states(state)])  # (rows, dim)

    def _id_input(self, ids):
        table = self.output_items
        if self.content_side != "input":
            ids, table = table.own_ids(ids), table.items  # content is read by the features
        if self.input_items is not None:
            return self.input_items(ids)  # (rows, steps, units)
        if self.architecture in ("parallel", "interaction"):
            return table.rows_of(0, ids)  # (rows, steps, units)
        return table(ids)

    def _joined(self, outputs):
        """Joins the outputs of the subnets, [..., units] each, to the state that is scored."""
        if len(outputs) == 1:
            return outputs[0]
        h, g = outputs
        h, g = (1 - self.feature_weight) * h, self.feature_weight * (g * h if self.architecture == "interaction" else g)
        return h + g if self.architecture == "shared" else ops.concatenate([h, g], axis=-1)  # (..., units or both)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "architecture": self.architecture,
            "schedule": self.schedule,
            "feature_weight": self.feature_weight,
            "phase_epochs": self.phase_epochs,
            "feature_dim": self.feature_dim,
            "embedding": self.embedding,
            "dropout": self.dropout,
            "lanes": self.lanes,
        }
