"""The synthetic shop: click logs of any size with a known law, and therefore a known best attainable score.

Each item belongs to a cluster (its category) and has a Zipf popularity, a birth day and a few fixed successors inside
its cluster. A session starts with an item of the user's lasting or passing taste; the cluster `c` of that first item is
the taste of the whole session, so a model can observe it. From item `i`, on the day `d` the session began, the next is

    with probability follow           one of i's successors alive on d (none alive: as taste)
    with probability taste            an item of c alive on d, by popularity
    with probability loyal            an item of the user's own cluster alive on d, by popularity (none alive: any item)
    otherwise                         any item alive on d, by popularity

The user's own cluster is sampled uniformly, independent of all else. The first item of a session reveals nothing of it;
the loyal steps do, one by one. With `loyal` above 0 (default: 0), a model that remembers the user knows it at the start
of a session. With `context=True`, part of the day, device and event type change what comes next, see `context.py`.
p(next | first, i, d, user) is known in closed form: `walks.py` samples from it, `oracle.py` ranks by it,
and `catalogue.py` has the items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, cached_property
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.events.shop.catalogue import NEVER, Day, stream
from tfrecsession.events.shop.context import DEVICES, HOURLY, states_of
from tfrecsession.events.shop.law import Law
from tfrecsession.events.shop.oracle import Oracle
from tfrecsession.events.shop.walks import Walks

SECOND = 1_000_000  # microseconds
DAY = 86_400 * SECOND
EVENTS = ("view", "cart", "purchase")
CHUNK = 1 << 17  # sessions generated at a time, about 650,000 events
SCHEMA = pa.schema(
    [
        ("session", pa.int64()),
        ("user", pa.int64()),
        ("item", pa.string()),
        ("time", pa.int64()),
        ("event", pa.string()),
    ]
)


@dataclass(frozen=True)
class Shop(Law):
    """A seeded click log: `items` for sale, `sessions` over `days` days from `start`, by `users` (default: a third).

    The same arguments give the same log, bit for bit. `Catalogue` has its items. The law of a session: it starts with
    an item of a cluster c, and from item i, on the day d the session began, the next is

        with probability follow   one of i's successors alive on d (none alive: as taste)
        with probability taste    an item of c alive on d, by popularity
        with probability loyal    one of the user's own cluster (none alive: any item)
        otherwise                 any item alive on d, by popularity

    Args:
        items, sessions, seed, days, users, start: see above; `start` as 2026-01-01.
        zipf: exponent of the popularity law, weight = rank ^ -zipf.
        late: share of the items that are born after day 0.
        home: probability that a session follows its user's lasting taste.
        follow, taste, loyal: probabilities of the law; together at most 1.
        cart, purchase: shares of the events that are not views.
        context: whether the part of the day in which a session starts, its device (a further column, `device`) and the
            type of event change what comes next: the first two, which successors are followed most; after a cart the
            item is purchased with probability 0.6; after a purchase any item comes with probability 0.8. `cart` is
            then the share among events that are no purchases, and `purchase` is not read.
        described: whether the content of the items tells their successors: all items of one group, which a word of the
            title names, follow an item whose `goes_with` is that word. A model that reads content can then recommend
            items that training never saw.
        media: whether the items have a photo and a song, small files whose color and pitch tell the cluster.

    Raises:
        InputError: arguments out of range.

    Examples:
        >>> shop = Shop(items=20, sessions=100, seed=1)
        >>> shop.spec
        'synthetic:items=20,sessions=100,seed=1,days=8'
        >>> Shop.from_spec(shop.spec) == shop
        True
        >>> shop.reader().read_all().num_rows > 100
        True
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
    loyal: float = 0.0
    cart: float = 0.08
    purchase: float = 0.03
    context: bool = False
    described: bool = False
    media: bool = False

    def __post_init__(self):
        for name, least in {"items": 4, "sessions": 1, "seed": 0, "days": 1, "users": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"synthetic: {name}={value} must be at least {least}")
        for name in ("home", "follow", "taste", "loyal", "cart", "purchase"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"synthetic: {name}={getattr(self, name)} must be between 0 and 1")
        if not 0 <= self.late <= 0.9:
            raise InputError(f"synthetic: late={self.late} must be between 0 and 0.9")
        if not 0 <= self.zipf <= 3:
            raise InputError(f"synthetic: zipf={self.zipf} must be between 0 and 3")
        if self.days >= NEVER:
            raise InputError(f"synthetic: days={self.days} must be below {NEVER}")
        for names in (("follow", "taste", "loyal"), ("cart", "purchase")):
            shares = [getattr(self, name) for name in names]
            if sum(shares) > 1 + 1e-9:
                values = ", ".join(f"{name}={share}" for name, share in zip(names, shares, strict=True))
                raise InputError(f"synthetic: {' + '.join(names)} must not exceed 1; lower one of {values}")
        for name in ("context", "described", "media"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"synthetic: {name}={getattr(self, name)!r} must be True or False")
        if self.context and self.purchase != type(self).purchase:
            raise InputError(f"synthetic: purchase={self.purchase} is not read with context=True; set cart")
        try:
            datetime.strptime(self.start, "%Y-%m-%d")
        except ValueError:
            raise InputError(f"synthetic: start={self.start!r} must be a date such as 2026-01-01") from None
        if self.users is None:
            object.__setattr__(self, "users", max(1, self.sessions // 3))

    @classmethod
    def from_spec(cls, spec: str) -> Shop:
        """Returns the shop of a spec such as `synthetic:items=1000,sessions=5000,seed=1`, else raises InputError."""
        kinds = {"int": int, "int | None": int, "float": float, "str": str, "bool": _truth}
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
            except (ValueError, KeyError):
                kind = {int: "a whole number", _truth: "true or false"}.get(known[key], "a number")
                raise InputError(f"{spec!r}: {key} must be {kind}, not {text!r} {keys}") from None
        return cls(**arguments)

    @property
    def spec(self) -> str:
        """The string that `from_spec` turns back into an equal shop."""
        default = {field.name: field.default for field in fields(self)}
        default["users"] = max(1, self.sessions // 3)
        always = ("items", "sessions", "seed", "days")
        names = [name for name in default if name in always or getattr(self, name) != default[name]]
        return "synthetic:" + ",".join(f"{name}={getattr(self, name)}" for name in names)

    def day(self, times) -> np.ndarray:
        """Converts microseconds since 1970 to int64 day numbers. The law uses the day a session began."""
        return (np.asarray(times, np.int64) - self._origin) // DAY

    @cached_property
    def _origin(self) -> int:
        start = datetime.strptime(self.start, "%Y-%m-%d").replace(tzinfo=UTC)
        return int(start.timestamp()) * SECOND

    def oracle(self, known=None) -> Oracle:
        """Returns the best attainable ranking; `known`: bool [items], those that can be recommended (None: all)."""
        return Oracle(self, known)

    def reader(self) -> pa.RecordBatchReader:
        """Returns the log as a stream, generated as it is read, in bounded memory.

        Columns session int64, user int64, item string, time int64 (microseconds since 1970-01-01 UTC), event string;
        with `context=True` also device string. Sessions are ordered and numbered by their start. The events of a
        session are consecutive, in strictly rising time. Sessions overlap, so the rows as a whole are not in order.
        """
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    @property
    def _schema(self) -> pa.Schema:
        return SCHEMA.append(pa.field("device", pa.string())) if self.context else SCHEMA

    def write_parquet(self, path) -> None:
        """Writes the log to a Parquet file, batch by batch."""
        with pq.ParquetWriter(path, self._schema) as writer:
            for batch in self._batches():
                writer.write_batch(batch)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        walks = Walks(self)
        for number in range(self.days):
            first, last = (self.sessions * day // self.days for day in (number, number + 1))
            day = self.popularity(number) if last > first else None
            for chunk, low in enumerate(range(first, last, CHUNK)):
                high = min(low + CHUNK, last)
                generator = stream(self.seed, 5, number, chunk)
                began = self._starts(generator, number, (low - first, high - first), last - first)
                yield self._chunk(generator, walks, day, np.arange(low, high), began)

    def _starts(self, generator, day: int, span: tuple[int, int], of: int) -> np.ndarray:
        """int64 microseconds: rising start times of the sessions `span` among the `of` sessions of a day."""
        rank = np.arange(*span)
        part = (rank + generator.random(len(rank))) / of
        hours = np.cumsum(np.r_[0, HOURLY]) / np.sum(HOURLY)
        hour = np.minimum(np.searchsorted(hours, part, side="right") - 1, 23)
        within = (part - hours[hour]) / (hours[hour + 1] - hours[hour])
        offset = np.minimum(np.floor((hour + within) * (DAY // 24)).astype(np.int64), DAY - 1)
        return self._origin + day * DAY + offset

    def _chunk(self, generator, walks: Walks, day: Day, session: np.ndarray, began: np.ndarray) -> pa.RecordBatch:
        """Generates the sessions that begin on `day`; session, began: int64 [sessions], numbers and start times."""
        lengths = 2 + np.searchsorted(_length_law(), generator.random(len(session)), side="right")
        ends = np.cumsum(lengths)
        user = np.floor(generator.random(len(session)) ** 2 * self.users).astype(np.int64)
        rotation = None
        if self.context:
            device = (generator.random(len(session)) < 0.5).astype(np.int64)
            rotation = states_of((began - self._origin) % DAY // (DAY // 24), device, 0) // 3
        item, kind = walks.items(generator, day, user, lengths, ends - lengths, rotation)
        steps = _quantiles(_step_law(), generator.random(ends[-1], np.float32))
        clock = np.cumsum(steps)
        time = clock + np.repeat(began - clock[ends - lengths], lengths)
        chance = generator.random(ends[-1], np.float32)
        event = (chance < self.cart + self.purchase).astype(np.int8) + (chance < self.purchase)
        columns = [
            pa.array(np.repeat(session, lengths)),
            pa.array(np.repeat(user, lengths)),
            self.names.take(pa.array(item)),
            pa.array(time),
            pa.array(EVENTS).take(pa.array(event if kind is None else kind)),
        ]
        if self.context:
            columns.append(pa.array(DEVICES).take(pa.array(np.repeat(device, lengths))))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


def _truth(text: str) -> bool:
    """Reads "true" or "false"."""
    return {"true": True, "false": False}[text.lower()]


@cache
def _length_law() -> np.ndarray:
    """float64 [198]: cumulative chance of the lengths 2..200: mostly geometric, with a heavy tail; 4.8 on average."""
    length = np.arange(2, 201)
    geometric = np.cumprod(np.r_[0.3, np.full(len(length) - 1, 0.7)])
    tail = 1.0 / (length * length)
    return np.cumsum(0.85 * geometric / geometric.sum() + 0.15 * tail / tail.sum())[:-1]


@cache
def _step_law() -> np.ndarray:
    """float64 [1024]: quantiles of the lognormal time between events, in whole ms: median 40 s, at most 18 min."""
    points = (np.arange(1024) + 0.5) / 1024
    normal = np.array([NormalDist().inv_cdf(point) for point in points])
    return np.rint(np.exp(normal) * 40_000)


def _quantiles(table: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """int64 [n] microseconds: linear interpolation in `table` of milliseconds at `chance`, [n].

    There is no exponential per event: its last bit differs between processors, and the log must not.
    """
    position = chance.astype(np.float64) * (len(table) - 1)
    below = position.astype(np.int64)
    step = table[below] + (position - below) * (table[below + 1] - table[below])
    return (step * 1000).astype(np.int64)
