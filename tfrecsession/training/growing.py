"""A trained model goes on with a newer log: its vocabulary grows, and what it has learned of known items stays."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.models import SequenceModel, by_name
from tfrecsession.optimizers import LazyOptimizer
from tfrecsession.sessions.vocabulary import Items
from tfrecsession.training.new_item_vectors import STARTS, Kin

GONE = ("keep", "drop")


def grow(model: SequenceModel, newer: Data, start: str = "neighbours", gone: str = "keep") -> SequenceModel:
    """A model that goes on where `model` is, on a newer log with other items.

        grown = trs.training.grow(model, newer, start="neighbours")
        grown.fit(newer.train.batches(rows=64, steps=16), validation_data=newer.validation, epochs=1)

    Items are known by their ids in the log, whatever their numbers. A known item keeps its vectors (input and output),
    its bias, and what a lazy optimizer holds of it; every other weight stays as it is. An item that is new starts from
    the vectors of items that are alike, with the optimizer's state of a row that was never touched. Item counts, and
    the negatives that are drawn by them, become those of the newer log. States that lanes carry start anew. Other
    optimizers than the lazy ones start afresh.

    Args:
        model: GRU4Rec, NARM, HRNN, or another `SequenceModel` whose tables of items are `ItemEmbedding`. Left as it is.
        newer: the newer data, prepared by itself.
        start: of new items. "neighbours": the mean of the items that they are seen with in the newer training sessions,
            an item once in each session; "content": the mean, over the values that they have in content columns, of
            the items that share the value; "mean", and where there is nobody alike: the mean of all items.
        gone: of items that the newer training sessions do not have. "keep": they stay known, behind the newer data's
            items and with a count of 0, in histories and as answers, so that all that was ever exported remains
            answerable. "drop": they are unknown from now on.

    Returns:
        A model of the same class and settings, compiled as `model` is. It takes the newer data as its own.

    Raises:
        InputError: the model has no table of items that could grow, shares no item with the newer data, `start` or
            `gone` is none of these, or there is no content.
    """
    growth = Growth.of(model, newer, start, gone)
    config = _unbuilt(model.get_config()) | {"items": growth.items}
    grown = type(model).from_config(config)
    if model.compiled:
        grown.compile_from_config(model.get_compile_config())
    growth.carry(model, grown)
    return grown


@dataclass(frozen=True)
class Growth:
    """What becomes of a vocabulary.

    Attributes:
        items: the grown vocabulary: the newer data's, then what is kept of the old one.
        before: int64 [items.size], the row of an id in the trained model's tables; -1: a new item.
        kin: who new items are alike.
    """

    items: Items
    before: np.ndarray
    kin: Kin

    @classmethod
    def of(cls, model: SequenceModel, newer: Data, start: str, gone: str) -> Growth:
        """See `grow`."""
        if not (model.learning and model.learning.grows):
            raise InputError(f"{type(model).__name__} does not grow: train it anew on the newer log")
        if start not in STARTS:
            raise InputError(f"start={start!r}: say one of {', '.join(STARTS)}")
        if gone not in GONE:
            raise InputError(f"gone={gone!r}: say one of {', '.join(GONE)}")
        old, items = model.items, newer.items
        known = old.encode(items.ids).astype(np.int64)
        if not (known > 1).any():
            raise InputError("the newer data has no item that the model knows: are its ids written differently?")
        before = np.concatenate([[0, 1], np.where(known > 1, known, -1)])
        kin = STARTS[start](newer, before, old.size)
        if gone == "keep":
            left = np.ones(old.size, bool)
            left[:2], left[before[before >= 0]] = False, False
            row = np.flatnonzero(left)
            kept = Items([*items.ids, *old.ids[row - 2]], np.pad(items.counts, (0, len(row))))
            kept.content = items.content_of(kept)
            items, before = kept, np.concatenate([before, row])
        return cls(items, before, kin)

    @property
    def counts(self) -> dict[str, int]:
        """How many items are new, and how many of the vocabulary are not in the newer data."""
        return {"new": int((self.before < 0).sum()), "kept": int((self.items.counts == 0).sum())}

    def carry(self, old: SequenceModel, model: SequenceModel) -> None:
        """Give what `old` has learned to `model`, which was made for the grown vocabulary.

        Raises:
            InputError: they are not of one architecture, or hold something of every item that is no `ItemEmbedding`.
        """
        pairs = [(_learned(old), _learned(model)), (old.trainable_variables, model.trainable_variables)]
        if any([v.name for v in theirs] != [v.name for v in mine] for theirs, mine in pairs):
            raise InputError(f"this {type(model).__name__} is another architecture than the one that was trained")
        (theirs, mine), _ = pairs
        tables = _tables(model)
        for one, other in zip(theirs, mine, strict=True):
            if id(other) not in tables and one.shape != other.shape:
                raise InputError(
                    f"{type(model).__name__} does not grow: its {other.path} is {list(one.shape)} in the trained model "
                    f"and would be {list(other.shape)}"
                )
        for one, other in zip(theirs, mine, strict=True):
            value = one.numpy()
            other.assign(self._grown(value, self.kin.start(value)) if id(other) in tables else value)
        self._carry_state(old, model, tables)
        model.fitted = old.fitted

    def _carry_state(self, old, model, tables) -> None:
        """The state of a lazy optimizer, where both have the same kind."""
        theirs, mine = (getattr(one.optimizer, "inner_optimizer", one.optimizer) for one in (old, model))
        if not isinstance(mine, LazyOptimizer) or type(theirs) is not type(mine) or not theirs.built:
            return
        mine.build(model.trainable_variables)
        if list(theirs.state) != list(mine.state):
            return
        mine._iterations.assign(theirs.iterations * (mine.gradient_accumulation_steps or 1))  # a step begins
        for name, slots in mine.state.items():
            for one, other, variable in zip(theirs.state[name], slots, model.trainable_variables, strict=True):
                value = one.numpy()
                other.assign(self._grown(value, other.numpy()[self.before < 0]) if id(variable) in tables else value)

    def _grown(self, value: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Rows of the old table where ids are known, `fresh` ones for the others."""
        grown = value[np.maximum(self.before, 0)]
        grown[self.before < 0] = fresh
        return grown


def earlier_run(run, model: str, settings: dict):
    """The run that a training goes on from, if its weights mean the same under these settings.

    Args:
        run: a `Run`.
        model: the snake-case name of the model now.
        settings: all settings of now.

    Raises:
        InputError: names the first setting that differs.
    """
    cls, trained = by_name(model), run.info["settings"]
    if run.info["model"] != model:
        raise InputError(f"model={model}: {run.path} is a {run.info['model']}, which cannot go on as another model")
    if not (cls.learning and cls.learning.grows):
        raise InputError(f"model={model}: it does not grow; train it anew on the newer log")
    own = [*inspect.signature(cls.__init__).parameters, *cls.learning.arguments]
    for name in own:
        then, now = (_listed(said.get(name)) for said in (trained, settings))
        if name in trained and name not in cls.learning.harmless and then != now:
            raise InputError(
                f"{name}={now!r}: the model that goes on was trained with {then!r}, and its weights fit no other; "
                "leave it out, or train anew"
            )
    return run


def _listed(value):
    return list(value) if isinstance(value, tuple) else value  # as it comes back from a file


def _learned(model) -> list:
    """The weights that hold what was learned: not the counts, the samplers' tables, or the states that lanes carry."""
    other = [model.item_counts, *model.carried, *(model.negatives.weights if model.negatives else ())]
    known = {id(variable) for variable in other}
    return [variable for variable in model.weights if id(variable) not in known]


def _tables(model) -> set[int]:
    """Returns the ids of the variables that have a row for every item."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, ItemScores) and layer.size == model.size]
    return {id(variable) for layer in layers for variable in layer.item_variables()}


def _unbuilt(config):
    """A config without the shapes that its parts were built for."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    return [_unbuilt(part) for part in config] if isinstance(config, list) else config
