"""HRNN: a recurrent network over a person's sessions starts the recurrent network over each of them."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.batches.batch import Reads
from tfrecsession.errors import InputError
from tfrecsession.layers import ItemEmbedding, SessionHierarchy
from tfrecsession.recommender.search_space import Choice, Float
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming
from tfrecsession.recommender.user_states import UserStates

CHOICES = {
    "form": ("init", "all"),
    "user_in": ("all_gates", "reset_update"),
    "initialize": ("all", "first"),
    "embedding": ("tied", "separate", "one_hot"),
}


@keras.saving.register_keras_serializable(package="tfrecsession")
class HRNN(UserStates, Streaming, SequenceModel):
    """The hierarchical recurrent network of arXiv 1706.04148: GRU4Rec that remembers who returns.

    When a session ends, the user GRU reads its last state; the next session of that person starts from what the user
    GRU then says, instead of from zeros (`SessionHierarchy` has the equations). Somebody new starts from zeros. An
    item's score is its dot product with the state after the last event, plus the item's bias. Where the paper and the
    authors' code differ, the defaults are the paper's; the code is
    `HRNN(..., user_in="reset_update", initialize="first", last_event=False, embedding="one_hot")`.

    Args:
        items: the vocabulary, `data.items`.
        units, user_units: width of each session layer and of each user layer, first to last.
        form: "init", the user state starts the session; "all", it is an input of every step too.
        user_in: of the form "all": whether it enters "all_gates" of the session GRU or "reset_update" alone.
        initialize: whether "all" session layers start from the user state, or the "first" alone and the others go on
            from where the last session left them.
        last_event: whether the user GRU knows of a session's last event. The authors' batches never feed it.
        embedding: how an item enters: "tied", one table for input and output; "separate", a table of its own;
            "one_hot", the paper's 1-of-N input: a row per item and gate, no input kernel.
        dim: width of the input table where it is separate; None: the first layer's units.
        embedding_dropout: share of the input embedding set to zero in training.
        dropout, user_dropout, init_dropout: share of each session state, user state and initial session state set to
            zero in training; the next step starts from the dropped state, as in the authors' code.
        lanes: rows of user-parallel batches (`data.train.batches(rows=lanes, steps=20, by_user=True, carry=True)`),
            whose state is carried from batch to batch as a constant; None: every batch starts afresh.
        initializer: of the item tables, see `ItemEmbedding`; the authors' is "glorot_uniform".
        negatives, score_dtype: see `SequenceModel`.

    Example:

        model = trs.models.HRNN(data.items, units=[100], user_units=[100], lanes=64)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=64, steps=20, by_user=True, carry=True), epochs=5)
        model.recommend_with_sessions([[["item-4", "item-7"], ["item-17"]]], k=20)  # one person, two sessions
    """

    reads = Reads(users="visits")
    learning = SequenceModel.learning.but(
        defaults={"lanes": 64, "steps": 20},
        harmless=("embedding_dropout", "dropout", "user_dropout", "init_dropout", "lanes"),
    )
    search_space = {
        "form": Choice("init", "all"),
        "units": Choice([100], [200], [400]),
        "user_units": Choice([100], [200], [400]),
        "embedding_dropout": Float(0.0, 0.5, when={"embedding": ("tied", "separate")}),
        "dropout": Float(0.0, 0.6),
        "user_dropout": Float(0.0, 0.5),
        "init_dropout": Float(0.0, 0.5),
    }

    def __init__(
        self,
        items,
        units=(100,),
        user_units=(100,),
        form="init",
        user_in="all_gates",
        initialize="all",
        last_event=True,
        embedding="tied",
        dim=None,
        embedding_dropout=0.0,
        dropout=0.1,
        user_dropout=0.0,
        init_dropout=0.0,
        lanes=None,
        initializer=None,
        negatives="popularity",
        **kwargs,
    ):
        units, user_units = _widths("units", units), _widths("user_units", user_units)
        _check(embedding_dropout, form=form, user_in=user_in, initialize=initialize, embedding=embedding)
        super().__init__(items, negatives=negatives, **kwargs)
        self.form = form
        self.user_in = user_in
        self.embedding = embedding
        self.dim = dim
        self.lanes = lanes
        self.initializer = initializer

        self.output_items = ItemEmbedding(self.size, units[-1], bias=True, initializer=initializer, name="items")
        self.input_items, dims = self.output_items, units[-1]
        if embedding != "tied":
            dims = 3 * units[0] if embedding == "one_hot" else dim or units[0]
            self.input_items = ItemEmbedding(self.size, dims, initializer=initializer, name="input_items")
        self.embedding_dropout = keras.layers.Dropout(embedding_dropout)
        self.hierarchy = SessionHierarchy(
            units,
            user_units,
            user_in if form == "all" else None,
            initialize,
            last_event,
            dropout=dropout,
            user_dropout=user_dropout,
            init_dropout=init_dropout,
            project=embedding != "one_hot",
            name="hierarchy",
        )
        self.keep_states([self.hierarchy])
        self.build()

    def encode_from(self, batch, state, training=False):
        """`encode`, from where something before it ended.

        Args:
            batch: packed rows with `visit`, the number of the session among its person's.
            state: float32 [rows, state_width], used where the first step starts no person; None: zeros.
            training: whether dropout acts.

        Returns:
            [rows, steps, dim], and the state after the last step; but in training, padding leaves it as it was.
        """
        if "visit" not in batch:
            raise InputError(
                "these batches do not say which sessions are of one person, which HRNN learns from: "
                "say batches(by_user=True)"
            )
        starts = batch["position"] == 0
        vectors = self.embedding_dropout(self.input_items(batch["items"]), training=training)  # (rows, steps, dim)
        there = None if training else batch["segment"] > 0
        hidden, state = self.hierarchy(vectors, starts, starts & (batch["visit"] == 0), there, state, training=training)
        return hidden, tf.cast(state, tf.float32)

    def encode_state(self, state):
        return self.hierarchy.output(state)

    @property
    def user_width(self) -> int:
        return self.hierarchy.user_width

    def end_session(self, state):
        return self.hierarchy.end_session(state)

    def state_from_user(self, user_state):
        return self.hierarchy.state_from_user(user_state)

    def get_config(self):
        hierarchy = self.hierarchy.get_config()
        own = ("units", "user_units", "initialize", "last_event", "dropout", "user_dropout", "init_dropout")
        return {
            **super().get_config(),
            **{name: hierarchy[name] for name in own},
            "form": self.form,
            "user_in": self.user_in,
            "embedding": self.embedding,
            "dim": self.dim,
            "embedding_dropout": self.embedding_dropout.rate,
            "lanes": self.lanes,
            "initializer": self.initializer,
        }


def _widths(name, units):
    units = [units] if isinstance(units, int) else list(units)
    if not units or any(not isinstance(width, int) or width < 1 for width in units):
        raise InputError(f"{name}={units!r}: say the width of each layer, e.g. [100]")
    return units


def _check(embedding_dropout, **chosen):
    for name, value in chosen.items():
        if value not in CHOICES[name]:
            raise InputError(f"{name}={value!r}: say one of {', '.join(CHOICES[name])}")
    if chosen["embedding"] == "one_hot" and embedding_dropout:
        raise InputError(f"embedding_dropout={embedding_dropout}: a one-hot input has no embedding, say 0")
