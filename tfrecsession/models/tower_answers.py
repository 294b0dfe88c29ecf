"""What two towers can be asked beside what any model can: vectors of people and of new items, and an index of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.sessions.content import Content, aligned, content_table


class TowerAnswers:
    """Mixed into `TwoTower`, on its `item_tower`, `user_tower`, `item_table` and `nobody`."""

    content = Content(())

    def read_content(self, content):
        """The shape of the content columns, and the catalogue encoded by them."""
        table = self.items.content
        if content is not None:
            table = aligned(content_table(content, "content"), self.items.ids)
        if table is None and (self.features or self.words):
            name, said = ("features", self.features) if self.features else ("words", self.words)
            raise InputError(f"{name}={said!r}: nothing is known of the items, give their table as content=")
        if table is not None:
            self.content = Content.of(table, self.features, self.words)
        return self.content.shape, None if table is None else self.content.encode(table)

    def encode_users(self, histories) -> np.ndarray:
        """Histories, as `recommend` takes them -> the vectors of somebody new who had them: float32 [n, dim]."""
        histories = text_lists(histories, "histories")
        mean = np.zeros((len(histories), self.dim), np.float32)
        table = self.item_table.numpy()
        for row, history in enumerate(histories):
            ids = np.unique(self.items.encode(history))
            if len(ids := ids[ids > 1]):
                mean[row] = table[ids].mean(axis=0)
        return self.user_tower(tf.constant(mean), self.nobody).numpy()

    def encode_items(self, content) -> np.ndarray:
        """Items that training has not seen, by their content -> float32 [n, dim], to be compared with `encode_users`.

        Args:
            content: a table (pyarrow, pandas, dict of columns) with the column `item` and those that the model reads.

        Raises:
            InputError: a column is missing, or the model reads no content, so that all new items would be alike.
        """
        if not self.item_tower.reads_content:
            raise InputError("content: this model was made without content columns and knows items by their ids alone")
        codes, numbers = self.content.encode(content_table(content, "content"))
        unknown = tf.ones([len(codes)], tf.int32)
        return self.item_tower.vectors(unknown, tf.constant(codes), tf.constant(numbers)).numpy()

    def index(self, kind: str = "brute_force", k: int = 20, fresh=None, **options):
        """The items in an index of TensorFlow Recommenders, see `tfrecsession.export.retrieval_index`."""
        import tfrecsession as trs  # export comes after the models; people look for it here

        return trs.export.retrieval_index(self, kind, k, fresh, **options)

    def save_assets(self, folder):
        super().save_assets(folder)
        self.content.write(Path(folder) / "content.json")

    def load_assets(self, folder):
        super().load_assets(folder)
        self.content = Content.read(Path(folder) / "content.json")


def check(given: dict) -> None:
    """Raises InputError for an argument that is out of range."""
    for name, least in {"dim": 1, "window": 1}.items():
        if not isinstance(given[name], int | np.integer) or given[name] < least:
            raise InputError(f"{name}={given[name]!r}: say a whole number, at least {least}")
    for name, most in {"user_dropout": 1, "item_dropout": 1, "l2": np.inf, "deviation": np.inf}.items():
        if not 0 <= given[name] <= most:
            raise InputError(f"{name}={given[name]!r}: say a number from 0{' to 1' if most == 1 else ' up'}")
    if not all(isinstance(units, int | np.integer) and units > 0 for units in given["layers"]):
        raise InputError(f"layers={given['layers']!r}: say the widths of the hidden layers, such as [128]")
