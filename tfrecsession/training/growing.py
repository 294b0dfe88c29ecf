"""Continued training on a newer log: the vocabulary grows, and the vectors of known items stay."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.layers.items.item_embedding import UNSEEN_BIAS
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.models import SequenceModel
from tfrecsession.optimizers import LazyOptimizer
from tfrecsession.sessions.vocabulary import UNKNOWN, Items
from tfrecsession.training.grown_codes import grown_codes
from tfrecsession.training.new_item_vectors import STARTS, SimilarItems

GONE = ("keep", "drop")


def grow(model: SequenceModel, newer: Data, start: str = "neighbours", gone: str = "keep") -> SequenceModel:
    """Returns a copy of `model` that continues training on a newer log with other items.

        grown = trs.training.grow(model, newer, start="neighbours")
        grown.fit(newer.train.batches(rows=64, steps=16), validation_data=newer.validation, epochs=1)

    Items are matched by their ids in the log. A known item keeps its vectors (input and output), its bias, and its
    state in a lazy optimizer; every other weight stays as it is, and context is read as it was learned. A new item
    starts from the vectors of similar items, with the optimizer state of an untouched row. Item counts, those of
    `trend`, and the negatives sampled by them become those of the newer log. States that lanes carry start anew, and so
    do optimizers other than the lazy ones.

    Args:
        model: GRU4Rec, NARM, HRNN, or another `SequenceModel` whose item tables are `ItemEmbedding` or
            `CodedItems`. It is not changed.
        newer: the newer data, prepared by itself.
        start: initial vectors of new items. "neighbours": the mean of the items in the same sessions of the newer
            training split, an item once in each session; "content": the mean, over the item's values in content
            columns, of the items that share the value; "mean", and without similar items: the mean of all items.
        gone: items that the newer training sessions do not have. "keep": they stay known, in histories and as
            recommendations, behind the newer data's items and with a count of 0, so that every item ever exported can
            still be requested. "drop": they become unknown.

    Returns:
        A model of the same class and settings, compiled as `model` is, for the newer data.

    Raises:
        InputError: the model has no item table that could grow, it shares no item with the newer data, `start` or
            `gone` has an unknown value, or there is no content.
    """
    growth = Growth.of(model, newer, start, gone)
    config = unbuilt(model.get_config()) | {"items": growth.items} | growth.codes(model)
    grown = type(model).from_config(config)
    if model.compiled:
        grown.compile_from_config(model.get_compile_config())
    growth.carry(model, grown)
    grown.count_trend(newer.train)
    return grown


@dataclass(frozen=True)
class Growth:
    """A grown vocabulary, and the origin of each of its rows.

    Attributes:
        items: the grown vocabulary: the newer data's items, then the kept ones of the old vocabulary.
        before: int64 [items.size], the row of an id in the trained model's tables; -1: a new item.
        similar: the known items that each new item is similar to.
    """

    items: Items
    before: np.ndarray
    similar: SimilarItems

    @classmethod
    def of(cls, model: SequenceModel, newer: Data, start: str, gone: str) -> Growth:
        """Compares the vocabularies of a model and of newer data, see `grow`."""
        if not (model.learning and model.learning.grows):
            raise InputError(f"{type(model).__name__} does not grow: train it anew on the newer log")
        if start not in STARTS:
            raise InputError(f"start={start!r}: must be one of {', '.join(STARTS)}")
        if gone not in GONE:
            raise InputError(f"gone={gone!r}: must be one of {', '.join(GONE)}")
        old, items = model.items, newer.items
        known = old.encode(items.ids).astype(np.int64)
        if not (known > 1).any():
            raise InputError("the newer data has no item that the model knows: are its ids written differently?")
        new = (known == UNKNOWN) | (_never_trained(model)[known] & (items.counts > 0))
        before = np.concatenate([[0, 1], np.where(new, -1, known)])
        similar = STARTS[start](newer, before, old.size)
        if gone == "keep":
            left = np.ones(old.size, bool)
            left[:2], left[known] = False, False
            row = np.flatnonzero(left)
            kept = Items([*items.ids, *old.ids[row - 2]], np.pad(items.counts, (0, len(row))))
            kept.content, kept.tensors = items.content_of(kept), items.tensors_of(kept)
            items, before = kept, np.concatenate([before, row])
        if model.context is not None:
            items = copy.copy(items)
            items.context_log = model.context  # codes stay as they were learned
            items.users = model.user_features
        return cls(items, before, similar)

    @property
    def counts(self) -> dict[str, int]:
        """The number of new items, and of items that are kept but not in the newer data."""
        return {"new": int((self.before < 0).sum()), "kept": int((self.items.counts == 0).sum())}

    def codes(self, model: SequenceModel) -> dict:
        """Returns the codes of the grown vocabulary as an argument of a model whose item table is compressed.

        Known items keep theirs. Those of new items follow from the id; with "jpq", from the vectors of similar items.
        """
        if model.code_table is None:
            return {}
        return {"items_as": grown_codes(model, self.items, self.before, self.similar.start)}

    def carry(self, old: SequenceModel, model: SequenceModel) -> None:
        """Copies what `old` has learned to `model`, which was built for the grown vocabulary.

        Raises:
            InputError: the architectures differ, or a layer other than `ItemEmbedding` has a row per item.
        """
        pairs = [(_learned(old), _learned(model)), (old.trainable_variables, model.trainable_variables)]
        if any([v.name for v in from_old] != [v.name for v in own] for from_old, own in pairs):
            raise InputError(f"this {type(model).__name__} has another architecture than the trained one")
        (old_weights, weights), _ = pairs
        tables = _tables(model)
        for trained, weight in zip(old_weights, weights, strict=True):
            if id(weight) not in tables and trained.shape != weight.shape:
                raise InputError(
                    f"{type(model).__name__} does not grow: its {weight.path} is {list(trained.shape)} in the trained "
                    f"model and would be {list(weight.shape)}"
                )
        for trained, weight in zip(old_weights, weights, strict=True):
            value = trained.numpy()
            if id(weight) in tables:
                value = self._grown(value, self.similar.start(_without_unseen(value)))
            weight.assign(value)
        self._carry_state(old, model, tables)
        model.fitted = old.fitted
        model.settle(force=True)

    def _carry_state(self, old, model, tables) -> None:
        """Copies the state of a lazy optimizer, if both models have the same kind."""
        source, target = (getattr(m.optimizer, "inner_optimizer", m.optimizer) for m in (old, model))
        if not isinstance(target, LazyOptimizer) or type(source) is not type(target) or not source.built:
            return
        target.build(model.trainable_variables)
        if list(source.state) != list(target.state):
            return
        target._iterations.assign(source.iterations * (target.gradient_accumulation_steps or 1))  # a step begins
        for name, slots in target.state.items():
            for trained, slot, variable in zip(source.state[name], slots, model.trainable_variables, strict=True):
                value = trained.numpy()
                slot.assign(self._grown(value, slot.numpy()[self.before < 0]) if id(variable) in tables else value)

    def _grown(self, value: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Returns the rows of the old table where ids are known, and `fresh` ones for the others."""
        grown = value[np.maximum(self.before, 0)]
        grown[self.before < 0] = fresh
        return grown


def _learned(model) -> list:
    """Returns the learned weights: not item counts, the catalogue's content, samplers' tables, or states of lanes."""
    counted = [] if model.trend_head is None else [model.trend_head.counts, model.trend_head.now]
    sampled = model.negatives.weights if model.negatives else ()
    other = [model.item_counts, *counted, *model.content_state, *model.code_state, *model.carried, *sampled]
    known = {id(variable) for variable in other}
    return [variable for variable in model.weights if id(variable) not in known]


def _tables(model) -> set[int]:
    """Returns the ids of the variables that have a row for every item."""
    return {id(variable) for layer in _layers(model) for variable in layer.item_variables()}


def _layers(model) -> list[ItemScores]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, ItemScores) and layer.size == model.size]


def _never_trained(model) -> np.ndarray:
    """Returns which ids have no trained vector, as training never saw them: bool [size]."""
    never = np.zeros(model.size, bool)
    for layer in _layers(model):
        if getattr(layer, "biases", None) is not None:
            never |= layer.biases.numpy() == UNSEEN_BIAS
    return never


def _without_unseen(table: np.ndarray) -> np.ndarray:
    """Replaces the biases of items that training never saw, which similar items must not start from, by the mean."""
    unseen = table == UNSEEN_BIAS
    return np.where(unseen, table[~unseen].mean(), table) if table.ndim == 1 and unseen.any() else table


def unbuilt(config):
    """Removes from a config the shapes that its parts were built for."""
    if isinstance(config, dict):
        return {key: unbuilt(value) for key, value in config.items() if key != "build_config"}
    return [unbuilt(part) for part in config] if isinstance(config, list) else config
