"""The synthetic shop: click logs of any size whose best attainable score is known, because their law is.

Each item belongs to a cluster (its category) and has a Zipf popularity, a birth day and a few fixed successors inside
its cluster. A session starts with an item of the user's lasting or passing taste; the cluster `c` of that first item is
the taste of the whole session, so a model can observe it. From item `i`, on the day `d` the session began, the next is

    with probability follow           one of i's successors alive on d (none alive: as taste)
    with probability taste            an item of c alive on d, by popularity
    with probability 1-follow-taste   any item alive on d, by popularity

so p(next | first, i, d) is known in closed form: `tfrecsession.events.oracle` ranks with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfrecsession.errors import InputError

if TYPE_CHECKING:
    from tfrecsession.events.oracle import Oracle

SECOND = 1_000_000  # microseconds
DAY = 86_400 * SECOND
EVENTS = ("view", "cart", "purchase")
SUCCESSORS = 8
SUCCESSOR_WEIGHTS = np.cumprod(np.r_[1.0, np.full(SUCCESSORS - 1, 0.7)])
CHUNK = 1 << 17  # sessions generated at a time, about 650,000 events
NEVER = np.iinfo(np.int16).max  # birth day of the item that fills empty successor slots
TITLE_WORDS = 6  # words a category has for its titles
SCHEMA = pa.schema(
    [
        ("session", pa.int64()),
        ("user", pa.int64()),
        ("item", pa.string()),
        ("time", pa.int64()),
        ("event", pa.string()),
    ]
)
# Visits by hour of the day, UTC: a quiet night, a lunch bump, a busy evening.
HOURLY = [3, 2, 1, 1, 1, 2, 4, 6, 8, 9, 10, 11, 12, 11, 10, 10, 11, 12, 14, 16, 17, 15, 10, 6]


class Day(NamedTuple):
    """Popularity on one day. Weights are whole numbers below 2**52 in all, so that these sums are exact."""

    number: int
    cumulative: np.ndarray  # float64 [items]: summed weight of the items alive, in index order
    cluster_low: np.ndarray  # float64 [clusters]: summed weight before the cluster
    cluster_weight: np.ndarray  # float64 [clusters]: 0 where nothing is alive
    weight: float


@dataclass(frozen=True)
class Shop:
    """A seeded click log: `items` for sale, `sessions` over `days` days from `start`, by `users` (default: a third).

    zipf: exponent of the popularity law, weight = rank ** -zipf. late: share of the items that are born after day 0.
    home: probability that a session follows its user's lasting taste. follow, taste: see the module. cart, purchase:
    shares of the events that are not views. The same arguments give the same log, bit for bit. Raises InputError for
    arguments out of range.

    Indices: items are numbered 0.. by cluster; an item's name carries another, shuffled number.
    """

    items: int = 1000
    sessions: int = 10_000
    seed: int = 0
    days: int = 8
    users: int | None = None
    start: str = "2026-01-01"
    zipf: float = 0.8
    late: float = 0.1
    home: float = 0.7
    follow: float = 0.5
    taste: float = 0.35
    cart: float = 0.08
    purchase: float = 0.03

    def __post_init__(self):
        for name, least in {"items": 4, "sessions": 1, "seed": 0, "days": 1, "users": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"synthetic: {name}={value} must be at least {least}")
        for name in ("home", "follow", "taste", "cart", "purchase"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"synthetic: {name}={getattr(self, name)} must be between 0 and 1")
        if not 0 <= self.late <= 0.9:
            raise InputError(f"synthetic: late={self.late} must be between 0 and 0.9")
        if not 0 <= self.zipf <= 3:
            raise InputError(f"synthetic: zipf={self.zipf} must be between 0 and 3")
        if self.days >= NEVER:
            raise InputError(f"synthetic: days={self.days} must be below {NEVER}")
        if self.follow + self.taste > 1 + 1e-9 or self.cart + self.purchase > 1 + 1e-9:
            raise InputError("synthetic: follow + taste and cart + purchase must not exceed 1")
        try:
            datetime.strptime(self.start, "%Y-%m-%d")
        except ValueError:
            raise InputError(f"synthetic: start={self.start!r} must be a date as 2026-01-01") from None
        if self.users is None:
            object.__setattr__(self, "users", max(1, self.sessions // 3))

    @classmethod
    def from_spec(cls, spec: str) -> Shop:
        """The shop of a string as `synthetic:items=1000,sessions=5000,seed=1`; InputError names what is wrong."""
        kinds = {"int": int, "int | None": int, "float": float, "str": str}
        known = {field.name: kinds[field.type] for field in fields(cls)}
        keys = f"(known keys: {', '.join(known)})"
        arguments = {}
        for part in filter(None, spec.removeprefix("synthetic:").split(",")):
            key, _, text = (piece.strip() for piece in part.partition("="))
            if key not in known:
                nearest = get_close_matches(key, known, 1)
                hint = f", did you mean {nearest[0]}?" if nearest else ""
                raise InputError(f"{spec!r}: unknown key {key!r}{hint} {keys}")
            if key in arguments:
                raise InputError(f"{spec!r}: {key} is given twice")
            try:
                arguments[key] = known[key](text)
            except ValueError:
                wanted = "a whole number" if known[key] is int else "a number"
                raise InputError(f"{spec!r}: {key} needs {wanted}, not {text!r} {keys}") from None
        return cls(**arguments)

    @property
    def spec(self) -> str:
        """The string that `from_spec` turns back into an equal shop."""
        default = {field.name: field.default for field in fields(self)}
        default["users"] = max(1, self.sessions // 3)
        always = ("items", "sessions", "seed", "days")
        said = [name for name in default if name in always or getattr(self, name) != default[name]]
        return "synthetic:" + ",".join(f"{name}={getattr(self, name)}" for name in said)

    @property
    def wide(self) -> float:
        """Probability that the next item is from the whole shop."""
        return max(1 - self.follow - self.taste, 0.0)

    # The catalogue. Arrays by item index unless said otherwise.

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))

    @cached_property
    def cluster_start(self) -> np.ndarray:
        """int64 [clusters + 1]: cluster c holds the items `cluster_start[c]:cluster_start[c + 1]`, at least one."""
        clusters = max(4, self.items // 100)
        share = np.cumsum(self._generator(0).random(clusters) + 0.2)
        spread = (share / share[-1] * (self.items - clusters)).astype(np.int64)
        return np.r_[0, spread + np.arange(1, clusters + 1)]

    @cached_property
    def cluster(self) -> np.ndarray:
        """int32: the cluster of each item."""
        sizes = np.diff(self.cluster_start)
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def weight(self) -> np.ndarray:
        """float64: popularity, rank ** -zipf scaled to whole numbers (see `Day`), ranks dealt at random."""
        rank = self._generator(1).permutation(self.items) + 1.0
        law = rank**-self.zipf
        scale = 2.0 ** (51 - np.frexp(law.sum())[1])
        return np.maximum(np.rint(law * scale), 1.0)

    @cached_property
    def birth(self) -> np.ndarray:
        """int16 [items + 1]: the day from which an item is sold; the extra, last one is never born."""
        birth = np.zeros(self.items + 1, np.int16)
        birth[-1] = NEVER
        if self.days > 1:
            late = self._generator(2).permutation(self.items)[: int(self.late * self.items)]
            birth[late] = self.days - 1 - np.arange(len(late)) % (self.days - 1)
        return birth

    @cached_property
    def successors(self) -> np.ndarray:
        """int32 [items, 8]: distinct other items of the same cluster; `items` (never born) fills empty slots.

        Drawn by the square root of popularity, so that what is popular is also led to more often.
        """
        reach = np.r_[0.0, np.cumsum(np.rint(np.sqrt(self.weight)))]
        low, high = (reach[self.cluster_start[self.cluster + side]] for side in (0, 1))
        slots = np.empty((self.items, SUCCESSORS), np.int32)
        generator = self._generator(3)
        for slot in range(SUCCESSORS):
            point = low + np.floor(generator.random(self.items) * (high - low))
            drawn = np.searchsorted(reach, point, side="right") - 1
            again = (slots[:, :slot] == drawn[:, None]).any(1) | (drawn == np.arange(self.items))
            slots[:, slot] = np.where(again, self.items, drawn)
        return slots

    def popularity(self, day: int) -> Day:
        """What is alive on a day, and how popular."""
        cumulative = np.cumsum(np.where(self.birth[:-1] <= day, self.weight, 0.0))
        edges = np.r_[0.0, cumulative][self.cluster_start]
        return Day(day, cumulative, edges[:-1], np.diff(edges), cumulative[-1])

    @cached_property
    def _number(self) -> np.ndarray:
        return self._generator(4).permutation(self.items)

    @cached_property
    def names(self) -> pa.Array:
        """string: the name of each item, `item-<n>`."""
        return pc.binary_join_element_wise("item", pc.cast(self._number, pa.string()), "-")

    def item_table(self) -> pa.Table:
        """The items: item string, category string, price float64 (lognormal by category), title string."""
        generator, clusters = self._generator(7), len(self.cluster_start) - 1
        category = _words(np.arange(clusters)).take(pa.array(self.cluster))
        one = generator.integers(0, TITLE_WORDS, self.items)
        other = (one + generator.integers(1, TITLE_WORDS, self.items)) % TITLE_WORDS
        vocabulary = _words(np.arange(clusters, clusters * (1 + TITLE_WORDS)))
        first, second = (vocabulary.take(pa.array(self.cluster * TITLE_WORDS + word)) for word in (one, other))
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

    def index(self, names) -> np.ndarray:
        """Item names (a sequence or an Arrow array of strings) -> int64 indices; InputError for a stranger."""
        names = pa.array(names, pa.string()) if not isinstance(names, pa.Array) else names
        inverse = np.empty(self.items, np.int64)
        inverse[self._number] = np.arange(self.items)
        ours = pc.fill_null(pc.match_substring_regex(names, r"^item-(0|[1-9]\d{0,17})$"), False)
        number = np.full(len(names), self.items)
        digits = pc.utf8_slice_codeunits(names.filter(ours), len("item-"))
        number[np.asarray(ours)] = pc.cast(digits, pa.int64())
        if (number >= self.items).any():
            stranger = names[int(np.argmax(number >= self.items))].as_py()
            raise InputError(f"{self.spec}: {stranger!r} is not an item of this shop")
        return inverse[number]

    def day(self, times) -> np.ndarray:
        """Microseconds since 1970 -> int64 day numbers. The law asks for the day a session began."""
        return (np.asarray(times, np.int64) - self._origin) // DAY

    @cached_property
    def _origin(self) -> int:
        start = datetime.strptime(self.start, "%Y-%m-%d").replace(tzinfo=UTC)
        return int(start.timestamp()) * SECOND

    def oracle(self, known=None) -> Oracle:
        """What a perfect model would score; `known`: bool [items], those that can be recommended (None: all)."""
        from tfrecsession.events.oracle import Oracle  # which imports this module

        return Oracle(self, known)

    # The log.

    def reader(self) -> pa.RecordBatchReader:
        """The log, generated as it is read, in bounded memory.

        Columns session int64, user int64, item string, time int64 (microseconds since 1970-01-01 UTC), event string.
        Sessions come in the order of their start and are numbered so; the events of a session stand together, in
        strictly rising time. Sessions overlap, so the rows as a whole are not in time order.
        """
        return pa.RecordBatchReader.from_batches(SCHEMA, self._batches())

    def write_parquet(self, path) -> None:
        """Write the log to a Parquet file, batch by batch."""
        with pq.ParquetWriter(path, SCHEMA) as writer:
            for batch in self._batches():
                writer.write_batch(batch)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for number in range(self.days):
            first, last = (self.sessions * day // self.days for day in (number, number + 1))
            day = self.popularity(number) if last > first else None
            for chunk, low in enumerate(range(first, last, CHUNK)):
                high = min(low + CHUNK, last)
                generator = self._generator(5, number, chunk)
                began = self._starts(generator, number, (low - first, high - first), last - first)
                yield self._chunk(generator, day, np.arange(low, high), began)

    def _starts(self, generator, day: int, span: tuple[int, int], of: int) -> np.ndarray:
        """int64 microseconds: rising start times of the sessions `span` among the `of` sessions of a day."""
        rank = np.arange(*span)
        part = (rank + generator.random(len(rank))) / of
        hours = np.cumsum(np.r_[0, HOURLY]) / np.sum(HOURLY)
        hour = np.minimum(np.searchsorted(hours, part, side="right") - 1, 23)
        within = (part - hours[hour]) / (hours[hour + 1] - hours[hour])
        offset = np.minimum(np.floor((hour + within) * (DAY // 24)).astype(np.int64), DAY - 1)
        return self._origin + day * DAY + offset

    def _chunk(self, generator, day: Day, session: np.ndarray, began: np.ndarray) -> pa.RecordBatch:
        lengths = 2 + np.searchsorted(LENGTHS, generator.random(len(session)), side="right")
        ends = np.cumsum(lengths)
        user = np.floor(generator.random(len(session)) ** 2 * self.users).astype(np.int64)
        item = self._walk(generator, day, user, lengths, ends - lengths)
        steps = _quantiles(STEPS, generator.random(ends[-1], np.float32))
        clock = np.cumsum(steps)
        time = clock + np.repeat(began - clock[ends - lengths], lengths)
        draw = generator.random(ends[-1], np.float32)
        event = (draw < self.cart + self.purchase).astype(np.int8) + (draw < self.purchase)
        columns = [
            pa.array(np.repeat(session, lengths)),
            pa.array(np.repeat(user, lengths)),
            self.names.take(pa.array(item)),
            pa.array(time),
            pa.array(EVENTS).take(pa.array(event)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def _walk(self, generator, day: Day, user, lengths, offsets) -> np.ndarray:
        """int32 [events]: the items of all sessions, advanced together one position at a time."""
        items = np.empty(lengths.sum(), np.int32)
        longest_first = np.argsort(-lengths, kind="stable")
        offsets = offsets[longest_first]
        remaining = np.bincount(lengths)[::-1].cumsum()[::-1]  # sessions at least so long
        current = self._first(generator, day, self._home(user[longest_first]))
        taste = self.cluster[current]
        low, width = day.cluster_low[taste], day.cluster_weight[taste]
        items[offsets] = current
        for position in range(1, lengths.max()):
            active = remaining[position + 1]
            current = self._next(generator, day, current[:active], low[:active], width[:active])
            items[offsets[:active] + position] = current
        return items

    def _home(self, user: np.ndarray) -> np.ndarray:
        """The lasting taste of users: a cluster by popularity, hashed, so that no table of users is held."""
        key = self._generator(6).integers(0, 2**64, dtype=np.uint64)
        point = np.floor(_hashed_uniform(user.astype(np.uint64) + key) * self._popularity_ever[-1])
        return self.cluster[np.searchsorted(self._popularity_ever, point, side="right")]

    @cached_property
    def _popularity_ever(self) -> np.ndarray:
        return np.cumsum(self.weight)

    def _first(self, generator, day: Day, home: np.ndarray) -> np.ndarray:
        """First items: from the home cluster, else from a cluster by its popularity, which is from the whole shop."""
        settled = (generator.random(len(home)) < self.home) & (day.cluster_weight[home] > 0)
        low = np.where(settled, day.cluster_low[home], 0.0)
        width = np.where(settled, day.cluster_weight[home], day.weight)
        return _draw(day.cumulative, low, width, generator.random(len(home)))

    def _next(self, generator, day: Day, current, low, width) -> np.ndarray:
        """Next items; `low` and `width` bound the session's cluster on the scale of `day.cumulative`."""
        chance = generator.random(len(current))
        follows = np.flatnonzero(chance < self.follow)
        led = self._successor(generator, day, current[follows], chance[follows] / self.follow)
        others = np.flatnonzero(chance >= self.follow)
        chance[others] -= self.follow
        wide = chance[others] >= self.taste
        chance[others] = np.where(
            wide, (chance[others] - self.taste) / (self.wide or 1.0), chance[others] / (self.taste or 1.0)
        )
        stuck = follows[led == self.items]
        chance[stuck] = generator.random(len(stuck))
        others, wide = np.r_[others, stuck], np.r_[wide, np.zeros(len(stuck), bool)]
        following = np.empty(len(current), np.int32)
        following[follows] = led
        following[others] = _draw(
            day.cumulative,
            np.where(wide, 0.0, low[others]),
            np.where(wide, day.weight, width[others]),
            chance[others],
        )
        return following

    def _successor(self, generator, day: Day, current, chance) -> np.ndarray:
        """A successor alive on the day, or `items` where there is none."""
        weights = np.cumsum(SUCCESSOR_WEIGHTS)
        slot = np.minimum(np.searchsorted(weights, chance * weights[-1], side="right"), SUCCESSORS - 1)
        led = self.successors.ravel()[current.astype(np.int64) * SUCCESSORS + slot]
        # A dead slot is drawn again among the living: in all that is the renormalised law, at a tenth of its cost.
        dead = np.flatnonzero(self.birth[led] > day.number)
        slots = self.successors[current[dead]]
        alive = np.cumsum(SUCCESSOR_WEIGHTS * (self.birth[slots] <= day.number), axis=1)
        point = generator.random(len(dead)) * alive[:, -1]
        slot = np.minimum((alive <= point[:, None]).sum(1), SUCCESSORS - 1)
        led[dead] = np.where(alive[:, -1] > 0, slots[np.arange(len(dead)), slot], self.items)
        return led


def _draw(cumulative, low, width, chance) -> np.ndarray:
    """Indices drawn by weight from stretches of a cumulative sum of whole numbers."""
    point = low + np.minimum(np.floor(chance * width), width - 1)
    return np.searchsorted(cumulative, point, side="right").astype(np.int32)


def _hashed_uniform(key: np.ndarray) -> np.ndarray:
    """uint64 -> float64 in [0, 1) by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((key ^ (key >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def _words(number: np.ndarray) -> pa.Array:
    """Distinct pronounceable words for distinct numbers below 70**3, in no visible order."""
    syllables = pa.array([a + b for a in "bdfgklmnprstvz" for b in "aeiou"])
    code = (number * 104_729 + 31_337) % 70**3  # a prime: a permutation of the codes
    parts = [syllables.take(pa.array(code // 70**place % 70)) for place in range(3)]
    return pc.binary_join_element_wise(*parts, "")


def _length_law() -> np.ndarray:
    """Cumulative chance of the lengths 2..200: mostly geometric, with a heavy tail; 4.8 on average."""
    length = np.arange(2, 201)
    geometric = np.cumprod(np.r_[0.3, np.full(len(length) - 1, 0.7)])
    tail = 1.0 / (length * length)
    return np.cumsum(0.85 * geometric / geometric.sum() + 0.15 * tail / tail.sum())[:-1]


def _step_law() -> np.ndarray:
    """Quantiles of the lognormal time between events in whole milliseconds: median 40 s, at most 18 minutes."""
    points = (np.arange(1024) + 0.5) / 1024
    normal = np.array([NormalDist().inv_cdf(point) for point in points])
    return np.rint(np.exp(normal) * 40_000)


def _quantiles(table: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Milliseconds by linear interpolation in `table`, as int64 microseconds.

    No exponential is taken per event: its last bit differs between processors, and the log must not.
    """
    place = chance.astype(np.float64) * (len(table) - 1)
    below = place.astype(np.int64)
    step = table[below] + (place - below) * (table[below + 1] - table[below])
    return (step * 1000).astype(np.int64)


LENGTHS = _length_law()
STEPS = _step_law()
