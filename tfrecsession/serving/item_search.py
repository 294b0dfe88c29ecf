"""Search over the items of the served models, for the demo page."""

from __future__ import annotations

from itertools import chain, islice, zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfrecsession.serving.refusal import Refusal

VOCABULARY = Path("assets") / "vocabulary.txt"
ITEM_TABLE = Path("assets.extra") / "items.parquet"
BLOCK = 4096  # items per searched block
MOST_WORDS = 8  # words of a search that are used


class ItemTable:
    """The items of one export, in the order of its vocabulary: the most popular first.

    Args:
        folder: folder of the version. Titles and images come from its `assets.extra/items.parquet`, ids alone from
            `assets/vocabulary.txt`; without either file no items are found.

    Attributes:
        table: the columns `item`, and `title` and `image` if there are any; strings.
    """

    def __init__(self, folder: Path):
        if (folder / ITEM_TABLE).is_file():
            table = pq.read_table(folder / ITEM_TABLE)
            names = ["item", *(name for name in ("title", "image") if name in table.column_names)]
            self.table = table.select(names).cast(pa.schema([(name, pa.string()) for name in names]))
        else:
            file = folder / VOCABULARY
            items = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
            self.table = pa.table({"item": pa.array(items, pa.string())})
        # The searched text: a case-folded line "id<tab>title" per item, a bytes object per block. Scanning bytes is
        # faster than Arrow's match_substring, and a search that has found enough items stops early.
        texts = [pc.fill_null(self.table[name], "") for name in self.table.column_names if name != "image"]
        lines = pc.replace_substring(pc.binary_join_element_wise(*texts, "\t"), "\n", " ")
        starts = range(0, len(lines), BLOCK)
        self._blocks = ["\n".join(lines.slice(start, BLOCK).to_pylist()).casefold().encode() for start in starts]

    def search(self, text: str, limit: int) -> list[dict]:
        """Returns items whose id or title contains all words of the text, ignoring case.

        The item whose id equals the text comes first, then the others by popularity.
        """
        exact = pc.index(self.table["item"], text.strip()).as_py() if text.strip() else -1
        words = [word.encode() for word in text.casefold().split()[:MOST_WORDS]]
        found = islice((row for row in self._rows(words) if row != exact), limit - (exact >= 0))
        return self.rows(([exact] if exact >= 0 else []) + list(found))

    def named(self, items: list[str]) -> list[dict]:
        """Returns the rows of these ids, in no particular order; unknown ids have none."""
        is_named = pc.is_in(self.table["item"], pa.array(items, pa.string()))
        return self.table.filter(is_named).to_pylist()

    def rows(self, indices: list[int]) -> list[dict]:
        return self.table.take(pa.array(indices, pa.int64())).to_pylist()

    def _rows(self, words: list[bytes]):
        if not words:
            yield from range(len(self.table))
            return
        for index, block in enumerate(self._blocks):
            if all(word in block for word in words):
                yield from (index * BLOCK + line for line in lines_with(block, words))


def lines_with(block: bytes, words: list[bytes]):
    """Yields the indices of the lines that contain all words; only lines with the rarest word are checked."""
    rarest = min(words, key=block.count)
    at, line, counted = block.find(rarest), 0, 0
    while at >= 0:
        line += block.count(b"\n", counted, at)
        start, end = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
        end = len(block) if end < 0 else end
        if all(block.find(word, start, end) >= 0 for word in words):
            yield line
        counted = end
        at = block.find(rarest, end)


class ItemSearch:
    """Search over the items of the models in a ModelFolder; a catalogue that several models share is searched once.

    Items are read on the first search. One call at a time, from any thread.
    """

    def __init__(self, models):
        self.models = models
        self._tables: dict[tuple, tuple[frozenset, ItemTable]] = {}

    def search(self, versions: list, text: str, limit: int) -> list[dict]:
        """Searches as `ItemTable.search`; items of different catalogues alternate. Raises Refusal."""
        return self._merged(versions, lambda table: table.search(text, limit))[:limit]

    def named(self, versions: list, items: list[str]) -> list[dict]:
        """Returns the rows of these ids as `ItemTable.named`. Raises Refusal."""
        return self._merged(versions, lambda table: table.named(items))

    def _merged(self, versions: list, rows_of) -> list[dict]:
        """Merges the rows of all catalogues, one per item, without nulls."""
        lists, catalogues = [], set()
        self._forget()
        # Versions with titles first: models of one catalogue may have been exported with and without them.
        for version in sorted(versions, key=lambda each: not (self.models.path(each) / ITEM_TABLE).is_file()):
            catalogue = str(version.card.get("vocabulary", (version.name, version.number)))
            if catalogue not in catalogues:
                catalogues.add(catalogue)
                lists.append(rows_of(self._table(version)))
        found = {}
        for row in filter(None, chain.from_iterable(zip_longest(*lists))):
            found.setdefault(row["item"], {name: value for name, value in row.items() if value is not None})
        return list(found.values())

    def _table(self, version) -> ItemTable:
        files, table = self._tables.get((version.name, version.number), (None, None))
        if files != version.files:
            try:
                table = ItemTable(self.models.path(version))
            except (OSError, KeyError, ValueError, pa.ArrowException) as error:
                raise Refusal("INTERNAL", f"the items of {version.name} cannot be read: {error}") from None
            self._tables[version.name, version.number] = version.files, table
        return table

    def _forget(self) -> None:
        """Drops the tables of versions that are no longer served."""
        served = {(version.name, version.number) for version in self.models.all_states() if version.signatures}
        for key in self._tables.keys() - served:
            del self._tables[key]
