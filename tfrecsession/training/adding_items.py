"""Items that training never saw, added to a trained model by their content, or by the codes of their ids."""

from __future__ import annotations

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.sessions.item_table import ItemTable, read_item_table
from tfrecsession.sessions.vocabulary import Items
from tfrecsession.training.growing import unbuilt
from tfrecsession.training.grown_codes import grown_codes

UNKNOWN = 1


def add_items(model, items, *, key: str | None = None, columns=None, encoding: str | None = None):
    """Returns a copy of `model` that also knows the new items of a table, by their content; nothing is trained.

        model = trs.training.add_items(model, "new.csv")
        model.recommend([["item-of-new.csv"]])

    New items stand behind the catalogue, with an event count of 0. Rows of known items change nothing: their vectors,
    and scores, stay as they are. Where content is read but not scored (`content_side="input"`, tags), new items are
    known in histories; as answers they have no vector, and the lowest bias. With a compressed table whose codes follow
    from the id ("hashed", "qr", "bloom", "chars") a new item has the vector of these codes, and the lowest bias.

    Args:
        model: a session network with `content=[...]`, or with such a table. It is not changed.
        items: an item table with the columns that the model reads, see `prepare(items=...)`.
        key: its column of item ids; None: a usual name.
        columns: those of a text file without a header.
        encoding: of a text file; None: UTF-8.

    Returns:
        A model of the same class and settings. Its optimizer is new, if it is compiled.

    Raises:
        InputError: new items have no vector in the model, the table lacks a column, a value does not fit, or no item
            is new.
    """
    by_ids = model.codes_follow_from_ids
    if "content" not in model.abilities and not by_ids:
        if model.code_table is not None:
            raise InputError(
                f"model: codes of items_as={model.items_as!r} are learned from sessions, so new items have none; "
                "continue the training on a newer log, trs.training.grow"
            )
        raise InputError(f"model: must be a session network with content=[...]; this {type(model).__name__} reads none")
    kinds = {} if by_ids else {column.name: column.kind for column in model.content.columns}
    table = read_item_table(items, key, kinds, names=columns, encoding=encoding)
    new = [row for row, item in enumerate(table.items) if item not in model.items._known]
    if not new:
        raise InputError(f"{table.source}: no item of its {len(table.items):,} is new to the model")
    cells = {name: [values[row] for row in new] for name, values in table.columns.items()}
    table = ItemTable(table.source, [table.items[row] for row in new], cells, table.text, table.folder)
    encoded, tensors = ({}, {}) if by_ids else model.content.encode_contents(table)
    model.settle()
    catalogue = Items([*model.items.ids, *table.items], np.pad(model.items.counts, (0, len(new))))
    catalogue.context_log = model.context  # codes stay as they were learned
    before = np.concatenate([np.arange(model.size), np.full(len(new), -1)])
    codes = {"items_as": grown_codes(model, catalogue, before)} if by_ids else {}
    larger = type(model).from_config(unbuilt(model.config_of_copies()) | {"items": catalogue} | codes)
    if model.compiled:
        larger.compile_from_config(model.get_compile_config())
    _carry(model, larger, encoded)
    larger.settle_new(np.arange(model.size, larger.size), encoded, tensors)
    larger.fitted = model.fitted
    return larger


def _carry(model, larger, encoded: dict) -> None:
    """Copies the weights; the rows of new items are those of the unknown item, and hold their content."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, ItemScores) and layer.size == model.size]
    per_item = {id(variable) for layer in layers for variable in layer.item_variables()}
    per_item |= {id(weight) for weight in model.content_state}
    unscored = {id(getattr(model.output_items, "biases", None))}  # no content joins this table
    own_rows = {id(layer.own_row) for layer in layers if hasattr(layer, "own_row")}
    stored = model.item_content.stored if model.item_content is not None else {}
    content = {id(weight): encoded[key] for key, weight in stored.items()}
    given = {id(weight) for weight in model.code_state}  # the larger model has its codes already
    samples = model.learning.samples and model.negatives
    sampled = {id(weight) for weight in (model.negatives.weights if samples else ())}
    for old, new in zip(model.weights, larger.weights, strict=True):
        if id(old) in sampled or id(old) in given or old is model.item_counts:
            continue
        value = old.numpy() if hasattr(old, "numpy") else np.asarray(old)
        if id(old) in per_item and old.shape != new.shape:  # a teacher keeps its catalogue
            rows = np.zeros((larger.size - model.size, *value.shape[1:]), value.dtype)
            rows = content.get(id(old), rows + UNKNOWN if id(old) in own_rows else rows)
            rows = rows + value[2:].min() if id(old) in unscored else rows
            value = np.concatenate([value, rows])
        new.assign(value)
