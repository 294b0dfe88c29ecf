"""The models and variants that every promise is tested over, one row each, and what a test may know of a model.

A new model is one row of `ROWS`. Its promises are then tested in `make test-all`, and in `make test` while it is new.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests import logs
from tfrecsession import training
from tfrecsession.models import MODELS, SequenceModel, Streaming

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Model:
    """A model of the package, or a variant of one, as the tests train it.

    Args:
        name: the name in the ids of the tests.
        model: the registered name; None: `name`.
        settings: what makes a variant. They win over `small`, `ceiling` and what a test asks for.
        small: settings that make it small and quick in tests.
        ceiling: further settings with which it learns the large shop to near its ceiling.
        data: the fixture of its data set. Beside it stand `large_`, `another_` and `noisy_` of the same name.
        represents: whether it stands for its family, so that `make test` always runs it.
        like: the row that it differs from by a formula, or by a layer with tests of its own. A change in the shared
            files of the family does not bring it into `make test`; for a variant neither does one in the model's file.
        cost: "small" or "large"; the tests marked `long` of a large one are slow.
    """

    name: str
    model: str | None = None
    settings: Mapping = field(default_factory=dict)
    small: Mapping = field(default_factory=dict)
    ceiling: Mapping = field(default_factory=dict)
    data: str = "shop"
    represents: bool = False
    like: str | None = None
    cost: str = "small"

    @property
    def registered(self) -> str:
        return self.model or self.name

    @property
    def cls(self) -> type:
        return MODELS[self.registered]

    @property
    def file(self) -> str:
        """Path of the model's file, from the root of the project."""
        return file_of(self.cls)

    @property
    def files(self) -> set[str]:
        """Paths of the files of the model and of the classes it derives from."""
        return {file_of(cls) for cls in self.cls.__mro__ if cls.__module__.startswith("tfrecsession.")}

    @property
    def family(self) -> str:
        """Name of the folder that the model's file is in."""
        return Path(self.file).parent.name

    def settings_with(self, wanted: Mapping | None = None) -> dict:
        """All settings of a training: the defaults, `small`, those that a test wants, those of the variant."""
        return training.settings_of(self.registered, self.small, wanted or {}, self.settings)


def file_of(cls: type) -> str:
    """Path of a class's file, from the root of the project."""
    return Path(inspect.getfile(sys.modules[cls.__module__])).relative_to(ROOT).as_posix()


PAIRS = {"small": {"epochs": 3, "rows": 16, "negatives": 64}}
SEQUENCES = {
    "small": {"epochs": 3, "rows": 16, "steps": 8, "negatives": 64},
    "ceiling": {"epochs": 8, "negatives": 128},
}
WITH_DROPOUT = SEQUENCES | {"ceiling": {**SEQUENCES["ceiling"], "dropout": 0.1}}
OF_USERS = WITH_DROPOUT | {"ceiling": {**WITH_DROPOUT["ceiling"], "user_dropout": 0.9}}  # users tell nothing there
GAN = {
    "small": {**SEQUENCES["small"], "pretraining": 2, "zeros": 16},
    "ceiling": {**WITH_DROPOUT["ceiling"], "pretraining": 8},
}
ATTENTION = {
    "small": {**SEQUENCES["small"], "dim": 32, "window": 6, "learning_rate": 0.01},
    "ceiling": {**WITH_DROPOUT["ceiling"], "dim": 64},
}
LINEAR = {
    "small": {**SEQUENCES["small"], "dim": 32, "learning_rate": 0.01},
    "ceiling": {**WITH_DROPOUT["ceiling"], "dim": 64},
}
LONG = {
    "small": {**SEQUENCES["small"], "dim": 32, "past": 6, "window": 6, "learning_rate": 0.01},
    "ceiling": {**WITH_DROPOUT["ceiling"], "dim": 64},
}
CHARACTERS = {
    "small": {**SEQUENCES["small"], "characters": 12, "filters": [8, 16], "clicks": 4, "hidden": 32},
    "ceiling": {**WITH_DROPOUT["ceiling"], "hidden": 64},
}
REST = {"content": ["title", "category"], "targets": "rest"}
MODERN = {"style": "modern", "positions": "learned", "heads": 2, "layers": 1}
DIV = {"history": "div"}
ALL_PAIRS = {"loss": "all_pairs", "dim": 16}
WHOLE = {"neighbours": None, "direction": "part"}
LSTM = {"cell": "lstm", "discount": 0.5}
RNN = {"cell": "rnn", "embedding": "one_hot", "learning_rate": 0.05}
RESIDUAL = {"units": [64, 64], "residual": True, "embedding": "separate"}
JOINED = {"joined": True, "lanes": 16}
BIDIRECTIONAL = {"units": [32, 32], "bidirectional": True, "epochs": 3}
HRNN_ALL = {"form": "all", "units": [32, 32], "initialize": "first", "last_event": False}
REPEATS = {"repeats": True}
TREND = {"trend": [0.25, 2], "trend_every": 0.5}
JPQ = {"items_as": "jpq", "codes": 4}
BLOOM = {"items_as": "bloom", "code_values": 512}
HASHED = {"items_as": "hashed", "code_values": 4096}
QR = {"items_as": "qr"}
CHARS = {"items_as": "chars"}
CONTENT = {"content": ["title", "price", "category"]}
SHARED_OUTPUT = {**CONTENT, "architecture": "shared", "schedule": "residual", "units": [32, 32]}
TAGS = {"tags": ["title", "category"], "content": ["price"]}
CONTEXT = {"context": ["gap", "hour", "position"], "request": ["gap", "weekday"]}
TRIPS = {"cell": "rnn", "units": [32, 32], "trips": 0.5}
NARM_RAW = {"normalize": False, "activation": "hard_sigmoid", "bias": True, "reset_after": False}

ROWS = [
    # popularity
    Model("random"),
    Model("popularity"),
    Model("session_popularity", represents=True),
    # rules
    Model("association_rules", like="sequential_rules"),
    Model("markov", like="sequential_rules"),
    Model("sequential_rules", represents=True),
    Model("item_knn"),
    Model("item_knn-div", "item_knn", DIV, like="item_knn"),
    # neighbours
    Model("sknn", like="vstan"),
    Model("vsknn"),
    Model("stan", like="vstan"),
    Model("vstan", represents=True),
    # linear
    Model("session_aggregation"),
    Model("slist", represents=True),
    Model("slist-whole", "slist", WHOLE, like="slist"),
    # factorization
    Model("matrix_factorization", **PAIRS, represents=True),
    Model("matrix_factorization-all_pairs", "matrix_factorization", ALL_PAIRS, **PAIRS, like="matrix_factorization"),
    Model("als", represents=True),
    # content
    Model("two_tower", **PAIRS, represents=True),
    Model("content_to_factors", settings={**CONTENT, "epochs": 3, "layers": [16]}),
    Model("parallel_rnn", settings=CONTENT, **WITH_DROPOUT, cost="large"),
    Model("parallel_rnn-shared", "parallel_rnn", SHARED_OUTPUT, **WITH_DROPOUT, like="parallel_rnn", cost="large"),
    Model("attentive_music", **WITH_DROPOUT, cost="large"),
    Model("attentive_music-tags", "attentive_music", TAGS, **WITH_DROPOUT, like="attentive_music", cost="large"),
    Model("character_cnn", **CHARACTERS, cost="large"),
    Model("character_cnn-rest", "character_cnn", REST, **CHARACTERS, like="character_cnn", cost="large"),
    # recurrent
    Model("gru4rec", **WITH_DROPOUT, represents=True),
    Model("gru4rec-lstm", "gru4rec", LSTM, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-rnn", "gru4rec", RNN, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-residual", "gru4rec", RESIDUAL, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-joined", "gru4rec", JOINED, **WITH_DROPOUT, like="gru4rec", cost="large"),
    Model("gru4rec-bidirectional", "gru4rec", BIDIRECTIONAL, **WITH_DROPOUT, cost="large"),
    Model("gru4rec-context", "gru4rec", CONTEXT, **WITH_DROPOUT, like="gru4rec", cost="large"),
    Model("gru4rec-content", "gru4rec", CONTENT, **WITH_DROPOUT, like="gru4rec", cost="large"),
    Model("gru4rec-jpq", "gru4rec", JPQ, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-bloom", "gru4rec", BLOOM, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-hashed", "gru4rec", HASHED, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-qr", "gru4rec", QR, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-chars", "gru4rec", CHARS, **WITH_DROPOUT, like="gru4rec"),
    Model("gru4rec-repeats", "gru4rec", REPEATS, **WITH_DROPOUT, represents=True, cost="large"),
    Model("gru4rec-trend", "gru4rec", TREND, **WITH_DROPOUT, like="gru4rec"),
    Model("hrnn", **WITH_DROPOUT, represents=True, cost="large"),
    Model("hrnn-all", "hrnn", HRNN_ALL, **WITH_DROPOUT, like="hrnn", cost="large"),
    Model("hrnn-context", "hrnn", {**CONTEXT, "context_as": "both"}, **WITH_DROPOUT, like="hrnn", cost="large"),
    Model("min_gru", **LINEAR, cost="large"),
    Model("lru", **LINEAR, cost="large"),
    Model("contextual_gru", settings=CONTEXT, **SEQUENCES, represents=True, cost="large"),
    Model("location_sequences", settings=CONTEXT, **WITH_DROPOUT, cost="large"),
    Model(
        "location_sequences-rnn", "location_sequences", TRIPS, **WITH_DROPOUT, like="location_sequences", cost="large"
    ),
    Model("user_gru", **OF_USERS, cost="large"),
    Model("user_gru-rectified", "user_gru", {"cell": "rectified"}, **OF_USERS, like="user_gru"),
    Model("user_gru-linear", "user_gru", {"cell": "linear", **CONTEXT}, **OF_USERS, like="user_gru"),
    Model("user_gru-features", "user_gru", {"user_content": ["age"]}, **OF_USERS, like="user_gru"),
    Model("rec_gan", **GAN, cost="large"),
    Model("rec_gan-likelihood", "rec_gan", {"pretraining": None, "cell": "plain"}, **GAN, like="rec_gan"),
    Model("lru-context", "lru", CONTEXT, **LINEAR, like="lru"),
    # attention
    Model("narm", **WITH_DROPOUT, represents=True, cost="large"),
    Model("narm-context", "narm", {**CONTEXT, "context_as": "latent_cross"}, **WITH_DROPOUT, like="narm", cost="large"),
    Model("narm-raw", "narm", NARM_RAW, **WITH_DROPOUT, like="narm", cost="large"),
    Model("repeat_net", **WITH_DROPOUT, cost="large"),
    Model("sasrec", **ATTENTION, represents=True, cost="large"),
    Model("sasrec-context", "sasrec", CONTEXT, **ATTENTION, like="sasrec", cost="large"),
    Model("core", **ATTENTION, cost="large"),
    Model("long_short_term", **LONG, cost="large"),
    Model("long_short_term-shan", "long_short_term", {"encoder": "shan"}, **LONG, like="long_short_term"),
    Model("long_short_term-narm", "long_short_term", {"encoder": "narm"}, **LONG, like="long_short_term", cost="large"),
    Model(
        "long_short_term-sasrec", "long_short_term", {"encoder": "sasrec"}, **LONG, like="long_short_term", cost="large"
    ),
    Model("long_short_term-context", "long_short_term", CONTEXT, **LONG, like="long_short_term", cost="large"),
    Model("sasrec-modern", "sasrec", MODERN, **ATTENTION, like="sasrec", cost="large"),
]
TABLE = {row.name: row for row in ROWS}


# Questions of the tests about a model: the one place that knows the package's flags ----------------------------------


def reads_both_ends(model) -> bool:
    """Whether a session is read up to its end, so that its last step alone has a target."""
    return model.reads.one_target


def users_read(model) -> str | None:
    """How a model, or its class, reads the earlier sessions of a user: None, "visits" or "joined"."""
    return model.reads.users


def by_user_of(model):
    """The `by_user` of the batches that a model is trained on."""
    return model.reads.by_user


def goes_on_from_a_state(model) -> bool:
    """Whether `advance` answers event by event."""
    return "advance" in model.abilities


def packed(model, *rows) -> dict:
    """Packs rows of sessions of item ids into a batch with all that the model reads, each session of another user.

    Context is missing but for the position, which is always known.
    """
    batch = logs.packed(*rows)
    batch["visit"] = np.zeros_like(batch["items"])
    for key, column in (model.context.keys if model.context else {}).items():
        batch[key] = np.full(batch["items"].shape, column.missing)
        if column.kind == "position":
            batch[key] = np.minimum(batch["position"] + 2 + key.startswith("request"), 33)
    return batch


# The rows that a promise holds for: known before a model is built ----------------------------------------------------


def learned(row: Model) -> bool:
    """Whether it is a sequence model, learned by gradient."""
    return issubclass(row.cls, SequenceModel)


def recurrent(row: Model) -> bool:
    """Whether it goes on from a state: a recurrence that reads forward only."""
    return issubclass(row.cls, Streaming) and not row.settings.get("bidirectional")


def in_context(row: Model) -> bool:
    """Whether it reads context of events and of requests."""
    return bool(row.settings.get("context"))


def across_sessions(row: Model) -> bool:
    """Whether it is a sequence model that reads earlier sessions of the user."""
    return learned(row) and bool(row.settings.get("joined") or users_read(row.cls))
