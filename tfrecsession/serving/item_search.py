"""The items of the served models, to be searched and named by those who look at answers."""

from __future__ import annotations

from itertools import chain, islice, zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfrecsession.serving.refusal import Refusal

VOCABULARY = Path("assets") / "vocabulary.txt"
ITEM_TABLE = Path("assets.extra") / "items.parquet"
BLOCK = 4096  # items searched at a time
MOST_WORDS = 8  # of a search; the rest is not looked at


class ItemTable:
    """The items of one export, the most popular first, as its vocabulary has them.

    Args:
        folder: of the version. Titles and images come from its `assets.extra/items.parquet`, ids alone from
            `assets/vocabulary.txt`; a SavedModel with neither has no items that can be found.

    Attributes:
        table: `item`, and `title` and `image` where there are any, strings.
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
        # What is searched: "id<tab>title" without upper case, a line per item, a bytes object per block. Scanning bytes
        # is faster than Arrow's match_substring, and a search that has found enough stops early.
        texts = [pc.fill_null(self.table[name], "") for name in self.table.column_names if name != "image"]
        lines = pc.replace_substring(pc.binary_join_element_wise(*texts, "\t"), "\n", " ")
        starts = range(0, len(lines), BLOCK)
        self._blocks = ["\n".join(lines.slice(start, BLOCK).to_pylist()).casefold().encode() for start in starts]

    def search(self, text: str, limit: int) -> list[dict]:
        """Items whose id or title hold all words of the text, in any case: the one with this id, then by popularity."""
        same = pc.index(self.table["item"], text.strip()).as_py() if text.strip() else -1
        words = [word.encode() for word in text.casefold().split()[:MOST_WORDS]]
        found = islice((row for row in self._rows(words) if row != same), limit - (same >= 0))
        return self.rows(([same] if same >= 0 else []) + list(found))

    def named(self, items: list[str]) -> list[dict]:
        """The rows of these ids, in no particular order; unknown ones have none."""
        here = pc.is_in(self.table["item"], pa.array(items, pa.string()))
        return self.table.filter(here).to_pylist()

    def rows(self, places: list[int]) -> list[dict]:
        return self.table.take(pa.array(places, pa.int64())).to_pylist()

    def _rows(self, words: list[bytes]):
        if not words:
            yield from range(len(self.table))
            return
        for number, block in enumerate(self._blocks):
            if all(word in block for word in words):
                yield from (number * BLOCK + line for line in lines_with(block, words))


def lines_with(block: bytes, words: list[bytes]):
    """Numbers of the lines that hold all words; those of the rarest word are looked at."""
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
    """Searches the items of models in a ModelFolder, each list of items once, and reads them when first asked.

    One call at a time, from any thread.
    """

    def __init__(self, models):
        self.models = models
        self._tables: dict[tuple, tuple[frozenset, ItemTable]] = {}

    def search(self, versions: list, text: str, limit: int) -> list[dict]:
        """See `ItemTable.search`; of different catalogues in turns. Raises Refusal."""
        return self._merged(versions, lambda table: table.search(text, limit))[:limit]

    def named(self, versions: list, items: list[str]) -> list[dict]:
        """See `ItemTable.named`. Raises Refusal."""
        return self._merged(versions, lambda table: table.named(items))

    def _merged(self, versions: list, ask) -> list[dict]:
        """Rows without nulls, one per item."""
        lists, asked = [], set()
        self._forget()
        # Titles first: models of one catalogue may have been exported with and without.
        for version in sorted(versions, key=lambda one: not (self.models.path(one) / ITEM_TABLE).is_file()):
            catalogue = str(version.card.get("vocabulary", (version.name, version.number)))
            if catalogue not in asked:
                asked.add(catalogue)
                lists.append(ask(self._table(version)))
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
        """Let go of what is not served any more."""
        served = {(version.name, version.number) for version in self.models.all_states() if version.signatures}
        for key in self._tables.keys() - served:
            del self._tables[key]
