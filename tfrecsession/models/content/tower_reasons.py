"""Reasons of two towers in the content of items: what an item's vector loses where a column is missing."""

from __future__ import annotations


class TowerReasons:
    """Mixed into `TwoTower`, which has the towers and the columns."""

    @property
    def explained_content(self) -> tuple:
        return self.content.columns

    def part_of_column(self, column, ids):
        return self.item_tower(ids) - self.item_tower(ids, read=self.content.all_but(column))  # (n, dim)
