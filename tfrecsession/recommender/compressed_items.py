"""Compressed item tables of models trained by gradient: the arguments `items_as`, `codes` and `code_values`."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.layers.items.coded_items import CodedItems, CodeTable
from tfrecsession.layers.items.item_embedding import ItemEmbedding
from tfrecsession.recommender.arguments import check_choice, check_whole, refuse
from tfrecsession.sessions.item_codes import KINDS, ItemCodes, make_codes, shape_of

FULL = "full"
JOINED_BY = {"jpq": "concatenate", "qr": "sum", "chars": "sum", "hashed": "shared", "bloom": "shared"}


class CompressedItems:
    """Mixed into `SequenceModel`: item tables with a vector per item, or with a few codes per item.

    A model calls `set_item_table` first, then creates its tables by `item_table`. They share the codes.
    """

    code_table: CodeTable | None = None  # the codes of the items; None: every item has a vector of its own
    scoring: dict = {}  # arguments of `ItemEmbedding`

    def set_item_table(self, items_as, codes, code_values, saved: bool) -> None:
        """Takes the arguments `items_as`, `codes`, `code_values`; the codes of a `saved` model come from its file."""
        self._given_codes, self._saved = None, saved
        if isinstance(items_as, ItemCodes):
            items_as.check(self.items)
            self._given_codes, items_as = items_as, items_as.kind
            shape = self._given_codes.codes.shape[1], self._given_codes.values
            for name, given, own in zip(("codes", "code_values"), (codes, code_values), shape, strict=True):
                if given not in (None, own):
                    refuse(name, given, f"{own}, that of the code table, or left out")
            codes, code_values = shape
        check_choice("items_as", items_as, (FULL, *KINDS))
        check_whole("codes", codes, optional=True)
        check_whole("code_values", code_values, least=2, optional=True)
        if items_as == FULL and (codes, code_values) != (None, None):
            name = "codes" if codes is not None else "code_values"
            refuse(name, codes if codes is not None else code_values, "left out with items_as='full'")
        self.items_as, self.code_count, self.code_values = items_as, codes, code_values
        if items_as != FULL and self.content is not None:
            refuse("items_as", items_as, "'full' with content=[...], which keeps a vector of every item")

    def item_table(self, dim: int, scored: bool = True, **kwargs):
        """Creates a table of item vectors of width `dim`.

        Args:
            dim: width of a vector.
            scored: whether it is scored against, by the arguments `normalize` and `temperature`.
            **kwargs: `bias`, `initializer` and `name`, as in `ItemEmbedding`.
        """
        scoring = self.scoring if scored else {}
        if self.items_as == FULL:
            return self._scored(ItemEmbedding(self.size, dim, **kwargs, **scoring))
        if self.code_table is None:
            self.code_count, self.code_values = shape_of(
                self.items_as, self.items, dim, self.code_count, self.code_values
            )
            self.code_table = CodeTable(self.size, self.code_count, self.code_values, name="item_codes")
            if not self._saved:
                self.code_table.take(self._given_codes or self._codes_of(self.items))
        return self._scored(CodedItems(self.code_table, dim, JOINED_BY[self.items_as], **kwargs, **scoring))

    def _scored(self, table):
        """Returns a new table, which ranks items last that training will not see.

        A trend may lift them later, and all items as negatives reach them.
        """
        if self.negatives is not None and self.trend_head is None and not self._saved:
            table.rank_unseen_last(self.items.counts)
        return table

    def check_item_table(self) -> None:
        """Refuses a compressed table where the model has none."""
        if self.items_as != FULL and self.code_table is None:
            refuse(
                "items_as", self.items_as, f"'full': this {type(self).__name__} has no table that could be compressed"
            )

    def _codes_of(self, items) -> ItemCodes:
        """Makes the codes of a catalogue, from its log where they are learned."""
        sessions = getattr(items.context_log, "sessions", None)
        return make_codes(self.items_as, items, self.code_count, self.code_values, sessions)

    def take_items(self, items) -> None:
        super().take_items(items)
        if self.code_table is not None:
            self.code_table.take(self._codes_of(items))

    @property
    def codes_follow_from_ids(self) -> bool:
        """Whether an item that training never saw has codes too, those of its id."""
        return self.items_as not in (FULL, "jpq")

    @property
    def code_state(self) -> list:
        """The variables that hold codes."""
        return [] if self.code_table is None else [self.code_table.codes]

    def item_codes(self) -> ItemCodes:
        """Returns the codes of the catalogue, for a model with the same ones: `items_as=model.item_codes()`."""
        if self.code_table is None:
            raise InputError(f"items_as={self.items_as!r}: an item of this {type(self).__name__} has no codes")
        codes = self.code_table.codes.numpy()[2:]
        return ItemCodes(self.items_as, codes, self.code_values, self.items.fingerprint)

    def get_config(self):
        own = {"items_as": self.items_as, "codes": self.code_count, "code_values": self.code_values}
        return {**super().get_config(), **own}
