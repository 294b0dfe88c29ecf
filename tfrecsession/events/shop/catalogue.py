"""The items of the synthetic shop: their clusters, popularity, births, successors, names and content."""

from __future__ import annotations

import io
import wave
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.errors import InputError

SUCCESSORS = 8
SUCCESSOR_WEIGHTS = np.cumprod(np.r_[1.0, np.full(SUCCESSORS - 1, 0.7)])  # how often each slot is followed
NEVER = np.iinfo(np.int16).max  # birth day of the item that fills empty successor slots
TITLE_WORDS = 6  # title words per category


def stream(seed: int, *key: int) -> np.random.Generator:
    """Returns the random generator of one purpose, `key`, independent of all others.

    Keys: 0 to 4, 7 and 9 to 12 for the catalogue, (5, day, chunk) for the log, 6 and 8 for the users' tastes.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class Day(NamedTuple):
    """Popularity on one day. Weights are whole numbers below 2**52 in all, so that these sums are exact."""

    number: int
    cumulative: np.ndarray  # float64 [items]: summed weight of the items alive, in index order
    cluster_low: np.ndarray  # float64 [clusters]: summed weight before the cluster
    cluster_weight: np.ndarray  # float64 [clusters]: 0 where nothing is alive
    weight: float  # of all items alive


class Catalogue:
    """The items of `tfrecsession.events.shop.shop.Shop`, which documents the arguments below.

    Indices: items are numbered 0.. by cluster; an item's name has another, shuffled number. Arrays are by item index,
    [items], unless stated otherwise.
    """

    items: int
    seed: int
    days: int
    zipf: float
    late: float
    described: bool
    media: bool
    spec: str  # names the shop in errors

    @cached_property
    def cluster_start(self) -> np.ndarray:
        """int64 [clusters + 1]: cluster c holds the items `cluster_start[c]:cluster_start[c + 1]`, at least one."""
        clusters = max(4, self.items // 100)
        share = np.cumsum(stream(self.seed, 0).random(clusters) + 0.2)
        spread = (share / share[-1] * (self.items - clusters)).astype(np.int64)
        return np.r_[0, spread + np.arange(1, clusters + 1)]

    @cached_property
    def cluster(self) -> np.ndarray:
        """int32: the cluster of each item."""
        sizes = np.diff(self.cluster_start)
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def weight(self) -> np.ndarray:
        """float64: popularity, rank ** -zipf scaled to whole numbers (see `Day`), with ranks in random order."""
        rank = stream(self.seed, 1).permutation(self.items) + 1.0
        law = rank**-self.zipf
        scale = 2.0 ** (51 - np.frexp(law.sum())[1])
        return np.maximum(np.rint(law * scale), 1.0)

    @cached_property
    def birth(self) -> np.ndarray:
        """int16 [items + 1]: the day from which an item is sold; the extra, last one is never born."""
        birth = np.zeros(self.items + 1, np.int16)
        birth[-1] = NEVER
        if self.days > 1:
            late = stream(self.seed, 2).permutation(self.items)[: int(self.late * self.items)]
            birth[late] = self.days - 1 - np.arange(len(late)) % (self.days - 1)
        return birth

    @cached_property
    def successors(self) -> np.ndarray:
        """int32 [items, 8]: distinct other items of the same cluster; `items` (never born) fills empty slots.

        Sampled by the square root of popularity, so that popular items are also more often successors. In a described
        shop they are the items of `leads_to`, the popular ones first, without the item itself.
        """
        if self.described:
            return self._described_successors
        reach = np.r_[0.0, np.cumsum(np.rint(np.sqrt(self.weight)))]
        low, high = (reach[self.cluster_start[self.cluster + side]] for side in (0, 1))
        slots = np.empty((self.items, SUCCESSORS), np.int32)
        generator = stream(self.seed, 3)
        for slot in range(SUCCESSORS):
            point = low + np.floor(generator.random(self.items) * (high - low))
            sampled = np.searchsorted(reach, point, side="right") - 1
            again = (slots[:, :slot] == sampled[:, None]).any(1) | (sampled == np.arange(self.items))
            slots[:, slot] = np.where(again, self.items, sampled)
        return slots

    @cached_property
    def group(self) -> np.ndarray:
        """int64: the group of each item, at most 8 items of one cluster, numbered through the shop."""
        within = (np.arange(self.items) - self.cluster_start[self.cluster]) // SUCCESSORS
        return self._group_start[self.cluster] + within

    @cached_property
    def _group_start(self) -> np.ndarray:
        """int64 [clusters + 1]: cluster c has the groups `_group_start[c]:_group_start[c + 1]`."""
        return np.r_[0, np.cumsum(-(-np.diff(self.cluster_start) // SUCCESSORS))]

    @cached_property
    def leads_to(self) -> np.ndarray:
        """int64: the group of its cluster that follows each item in a described shop."""
        low, high = (self._group_start[self.cluster + side] for side in (0, 1))
        return low + np.floor(stream(self.seed, 9).random(self.items) * (high - low)).astype(np.int64)

    @cached_property
    def _described_successors(self) -> np.ndarray:
        by_weight = np.lexsort((np.arange(self.items), -self.weight, self.group))  # group by group, popular ones first
        first = np.searchsorted(self.group[by_weight], np.arange(self._group_start[-1] + 1))
        slot = first[self.leads_to][:, None] + np.arange(SUCCESSORS)  # (items, 8)
        found = by_weight[np.minimum(slot, self.items - 1)]
        outside = (slot >= first[self.leads_to + 1][:, None]) | (found == np.arange(self.items)[:, None])
        return np.where(outside, self.items, found).astype(np.int32)

    def popularity(self, day: int) -> Day:
        """Returns the popularity of the items alive on a day."""
        cumulative = np.cumsum(np.where(self.birth[:-1] <= day, self.weight, 0.0))
        edges = np.r_[0.0, cumulative][self.cluster_start]
        return Day(day, cumulative, edges[:-1], np.diff(edges), cumulative[-1])

    @cached_property
    def _number(self) -> np.ndarray:
        """int64: the number in the name of each item."""
        return stream(self.seed, 4).permutation(self.items)

    @cached_property
    def names(self) -> pa.Array:
        """string: the name of each item, `item-<n>`."""
        return pc.binary_join_element_wise("item", pc.cast(self._number, pa.string()), "-")

    def item_table(self) -> pa.Table:
        """Returns a table of item string, category string, price float64 (lognormal by category), title string.

        In a described shop a word of the title and the price tell the group of an item, and `goes_with`, string, is
        that word of the group it leads to. A shop with media also has `photo` and `song`, binary: a PNG and a WAV file
        that tell the cluster.
        """
        table = self._described_table() if self.described else self._plain_table()
        if self.media:
            table = table.append_column("photo", pa.array(self._photos())).append_column(
                "song", pa.array(self._songs())
            )
        return table

    def _photos(self) -> list[bytes]:
        """Returns PNG files of 16 x 16 pixels: a color for each cluster, and noise."""
        from PIL import Image

        generator, clusters = stream(self.seed, 11), len(self.cluster_start) - 1
        color = generator.integers(0, 256, (clusters, 1, 1, 3))
        files = []
        for cluster in self.cluster:
            pixels, file = color[cluster] + generator.normal(0, 20, (16, 16, 3)), io.BytesIO()
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "png")
            files.append(file.getvalue())
        return files

    def _songs(self) -> list[bytes]:
        """Returns WAV files of a tenth of a second: a pitch for each cluster, and noise."""
        generator, clusters = stream(self.seed, 12), len(self.cluster_start) - 1
        pitch = 150 * 2 ** (4 * generator.permutation(clusters) / clusters)  # Hz, over four octaves
        time = np.arange(800) / 8000
        files = []
        for cluster in self.cluster:
            signal, file = np.sin(2 * np.pi * pitch[cluster] * time) + generator.normal(0, 0.1, len(time)), io.BytesIO()
            with wave.open(file, "wb") as out:
                out.setparams((1, 1, 8000, 0, "NONE", ""))  # 8 bits without a sign
                out.writeframes((128 + 80 * np.clip(signal, -1.5, 1.5)).astype(np.uint8).tobytes())
            files.append(file.getvalue())
        return files

    def _plain_table(self) -> pa.Table:
        generator, clusters = stream(self.seed, 7), len(self.cluster_start) - 1
        category = _words(np.arange(clusters)).take(pa.array(self.cluster))
        word = generator.integers(0, TITLE_WORDS, self.items)
        other_word = (word + generator.integers(1, TITLE_WORDS, self.items)) % TITLE_WORDS
        vocabulary = _words(np.arange(clusters, clusters * (1 + TITLE_WORDS)))
        first, second = (vocabulary.take(pa.array(self.cluster * TITLE_WORDS + n)) for n in (word, other_word))
        level = 3.0 + generator.standard_normal(clusters)
        price = np.exp(level[self.cluster] + 0.4 * generator.standard_normal(self.items))
        return pa.table(
            {
                "item": self.names,
                "category": category,
                "price": np.maximum(np.round(price, 2), 0.01),
                "title": pc.binary_join_element_wise(first, second, category, " "),
            }
        )

    def _described_table(self) -> pa.Table:
        generator, clusters, groups = stream(self.seed, 10), len(self.cluster_start) - 1, self._group_start[-1]
        category = _words(np.arange(clusters)).take(pa.array(self.cluster))
        word = _words(np.arange(clusters, clusters + groups))
        other = _words(clusters + groups + generator.integers(0, TITLE_WORDS * clusters, self.items))
        level = 3.0 + generator.standard_normal(groups)
        price = np.exp(level[self.group] + 0.05 * generator.standard_normal(self.items))
        return pa.table(
            {
                "item": self.names,
                "category": category,
                "price": np.maximum(np.round(price, 2), 0.01),
                "title": pc.binary_join_element_wise(word.take(pa.array(self.group)), other, category, " "),
                "goes_with": word.take(pa.array(self.leads_to)),
            }
        )

    def index(self, names) -> np.ndarray:
        """Item names (a sequence or an Arrow array of strings) -> int64 indices; raises InputError for other names."""
        names = pa.array(names, pa.string()) if not isinstance(names, pa.Array) else names
        inverse = np.empty(self.items, np.int64)
        inverse[self._number] = np.arange(self.items)
        is_item = pc.fill_null(pc.match_substring_regex(names, r"^item-(0|[1-9]\d{0,17})$"), False)
        number = np.full(len(names), self.items)
        digits = pc.utf8_slice_codeunits(names.filter(is_item), len("item-"))
        number[np.asarray(is_item)] = pc.cast(digits, pa.int64())
        if (number >= self.items).any():
            unknown = names[int(np.argmax(number >= self.items))].as_py()
            raise InputError(f"{self.spec}: {unknown!r} is not an item of this shop")
        return inverse[number]


def _words(number: np.ndarray) -> pa.Array:
    """int64 [n] -> string [n]: distinct pronounceable words for distinct numbers below 70**3, in no visible order."""
    syllables = pa.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    code = (number * 104_729 + 31_337) % 70**3  # a prime: a permutation of the codes
    parts = [syllables.take(pa.array(code // 70**position % 70)) for position in range(3)]
    return pc.binary_join_element_wise(*parts, "")
