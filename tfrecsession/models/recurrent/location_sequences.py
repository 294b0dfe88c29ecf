"""LocationSequences: a recurrent network over places, whose state is multiplied by attributes of each place."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers import PlaceAttributes, SessionAttributeLSTM, SessionAttributeRNN
from tfrecsession.layers.event_input import JOINS
from tfrecsession.models.recurrent.trips import START, Trips
from tfrecsession.recommender.arguments import check_choice, check_number, checked_widths
from tfrecsession.recommender.keras_contract import unpacked
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.sessions.places import learn_places

CELLS = {"lstm": SessionAttributeLSTM, "rnn": SessionAttributeRNN}
EMBEDDINGS = ("tied", "separate")


@keras.saving.register_keras_serializable(package="tfrecsession")
class LocationSequences(Trips, Streaming, SequenceModel):
    """A recurrent network over sequences of places, in their attributes (CLoSe, Baral et al., RecSys 2018).

        a_t = [distance, stay time, popularity by hour, category of place i_t ; c_t]      c_t is the context of event t
        A_t = 1 + tanh(K a_t)                                          [units]
        h_t = tanh(U e_{i_t} + W (h_{t-1} * A_t) + F f + b)            cell="rnn"; "lstm" has these terms in every gate
        score of place i = e_i . (h_t + G f) + b_i                     [size]

    A place is an item. What is known of places is learned from the train split when the model is created: the columns
    latitude, longitude and category, where the log has them, and the times of the events. It is saved with the model,
    so a request holds places alone. The distance is that from the event before. A stay is the mean time from a visit
    to the next event, which stands for the paper's stay time of a user. No answer depends on later events.

    f, the features of a whole trip (its start, its end, the hours between), is for `generate` alone. With `trips`, a
    share of the training sessions is read with it. Validation, evaluation and recommendations never see it: f is 0.

    From the paper are the two cells, the factor of the state and f in cell and output. Ours are: how A follows from a,
    so that A is 1 where nothing is known; places' own stay times, not each user's, and no friends; item vectors, where
    the paper has one-hot inputs; G f added to the state, so that one item table scores it; and the training, which is
    that of `GRU4Rec`.

    Args:
        items: the vocabulary, `data.items`.
        units: width of each recurrent layer, first to last. All layers read a_t and f.
        cell: "lstm", the paper's best, or "rnn".
        latitude, longitude, category: names of columns of the log, kept by `prepare --context`. "auto": latitude or
            lat, longitude, lon or lng, and category, where the log has them; None: not read.
        trips: share of the training sessions that are read with f; 0: `generate` takes no end.
        context_as: how context also joins an event's vector, see `EventInput`; None: it is in a_t alone. A request
            then joins the state by "concatenate".
        embedding: the input of a place: "tied", one table for input and output; "separate", a table of its own.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout: share of each layer's output set to zero in training.
        lanes: see `GRU4Rec`.
        initializer: of the item tables, see `ItemEmbedding`.
        negatives, score_dtype, joined, context, request, context_dropout, repeats, repeat_window: see `SequenceModel`.

    Raises:
        InputError: an argument out of its range, a column that the log does not have, or coordinates that are no
            degrees.

    Example:

        model = trs.models.LocationSequences(data.items, units=[100], trips=0.5, context=["hour", "gap"])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=16), validation_data=data.validation.batches(), epochs=5)
        model.generate("home", end="museum", hours=6)
    """

    # Declarations
    learning = SequenceModel.learning.but(
        defaults={"context_as": None}, harmless=("embedding_dropout", "dropout", "lanes"), grows=False
    )
    search_space = {
        "units": Choice([100], [200], [400]),
        "cell": Choice("lstm", "rnn"),
        "embedding_dropout": Float(0.0, 0.5),
        "dropout": Float(0.0, 0.6),
    }
    joins = (*JOINS, None)

    def __init__(
        self,
        items,
        units=(100,),
        cell="lstm",
        latitude="auto",
        longitude="auto",
        category="auto",
        trips=0.0,
        context_as=None,
        embedding="tied",
        embedding_dropout=0.0,
        dropout=0.3,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        # Arguments
        units = checked_widths("units", units)
        check_choice("cell", cell, CELLS)
        check_number("trips", trips, 0, 1)
        check_choice("embedding", embedding, EMBEDDINGS)
        check_number("embedding_dropout", embedding_dropout, 0, 1)
        check_number("dropout", dropout, 0, 1)
        super().__init__(items, negatives=negatives, context_as=context_as, **kwargs)
        self.units = units
        self.cell = cell
        self.latitude = latitude
        self.longitude = longitude
        self.category = category
        self.trips = trips
        self.embedding = embedding
        self.dropout = dropout
        self.lanes = lanes
        self.initializer = initializer

        # Layers
        self.places = PlaceAttributes(self.size, name="places")
        dim = units[-1] if embedding == "tied" else units[0]
        self.recurrent = [
            CELLS[cell](width, features=self.feature_width(dim) if trips else 0, name=f"{cell}_{index}")
            for index, width in enumerate(units)
        ]
        self.output_items = self.item_table(units[-1], bias=True, initializer=initializer, name="items")
        self.input_items = self.output_items
        if embedding == "separate":
            self.input_items = self.item_table(dim, initializer=initializer, name="input_items", scored=False)
        self.output_features = None
        if trips:
            self.output_features = keras.layers.Dense(
                units[-1], use_bias=False, kernel_initializer="zeros", name="output_features"
            )
            self.output_features.build((None, self.feature_width(dim)))
        self.input_items, self.output_items = self.with_content(self.input_items, self.output_items)
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.output_dropout = keras.layers.Dropout(dropout)
        self.keep_states([*self.recurrent, self.places])
        self.build()
        if not isinstance(items, int):
            self.places.take(learn_places(self.items.context_log, self.items, latitude, longitude, category))

    def take_items(self, items):
        super().take_items(items)
        if items.context_log is not None:
            self.places.take(learn_places(items.context_log, items, self.latitude, self.longitude, self.category))

    def context_join(self, side):
        return self.context_as if side == "context" else self.context_as or "concatenate"

    # Training

    def train_step(self, data):
        if self.trips:
            batch, targets, _ = unpacked(data)
            data = ({**batch, **self.trip_columns(batch, targets)}, *data[1:])
        return super().train_step(data)

    # Recommendations

    def encode_from(self, batch, state, training=False):
        starts = batch["position"] == 0  # (rows, steps)
        *states, last_place = self.states(state)
        hidden = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        # (rows, steps, width), (rows, 3)
        attributes, place = self.places(batch["items"], starts, last_place)
        if self.event_input:
            # (rows, steps, dim or more), (rows, steps, width of the context)
            hidden, context = self.event_input(hidden, batch, training=training, return_context=True)
            attributes = ops.concatenate([attributes, context], axis=-1)
        features = self.features_of(batch) if self.trips and START in batch else None  # (rows, steps, features)
        after = []
        for layer, before in zip(self.recurrent, states, strict=True):
            # (rows, steps, units), (rows, units or 2 units)
            hidden, last = layer(hidden, starts, before, attributes, features, training=training)
            after.append(ops.cast(last, "float32"))
            hidden = self.output_dropout(hidden, training=training)
        if features is not None:
            hidden = hidden + self.output_features(features)
        return hidden, ops.concatenate([*after, place], axis=-1)  # (rows, state_width)

    def encode_state(self, state):
        return ops.cast(self.recurrent[-1].output(self.states(state)[-2]), self.compute_dtype)  # (rows, units)

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "cell": self.cell,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "category": self.category,
            "trips": self.trips,
            "embedding": self.embedding,
            "embedding_dropout": self.embedding_dropout.rate,
            "dropout": self.dropout,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }
