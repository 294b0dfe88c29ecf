"""The prepared data set as its users hold it: `data = trs.load("clicks/")`, `data.train.batches(...)`."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, fields
from difflib import get_close_matches
from inspect import signature
from pathlib import Path

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.shop.shop import Shop
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.store import SessionArrays, read_prepared
from tfrecsession.sessions.vocabulary import Items


class Sessions:
    """One split of a data set: its sessions as flat arrays, and as batches.

    Attributes:
        items: the vocabulary.
        values: int32 [events], item ids, session after session in start-time order.
        offsets: int64 [sessions + 1]: session `s` is `values[offsets[s]:offsets[s + 1]]`.
        role: "train", "validation" or "test".
        timed: whether the log has times; otherwise its events stand in order, and `times` numbers the rows of a file.
        earlier: the splits before this one, oldest first: what its users did before.
    """

    def __init__(self, arrays: SessionArrays, role: str, timed: bool = True, earlier: tuple[Sessions, ...] = ()):
        self.arrays = arrays
        self.items: Items = arrays.items
        self.role = role
        self.timed = timed
        self.earlier = tuple(earlier)

    @property
    def values(self) -> np.ndarray:
        return self.arrays.values

    @property
    def offsets(self) -> np.ndarray:
        return self.arrays.offsets

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, session: int) -> np.ndarray:
        """The item ids of one session, int32 [events]."""
        if not -len(self) <= session < len(self):
            raise IndexError(f"session {session} of {len(self)}")
        session %= len(self)
        return self.values[self.offsets[session] : self.offsets[session + 1]]

    def __repr__(self) -> str:
        return f"<{self.role}: {len(self):,} sessions, {self.events:,} events>"

    @property
    def events(self) -> int:
        return self.arrays.events

    @property
    def scored_events(self) -> int:
        """Events that have an event before them in their session: what evaluation scores."""
        return self.arrays.scored_events

    def column(self, name: str) -> np.ndarray:
        """A further column (`times`, `user`, `event`, a context column), loaded when first asked for."""
        return self.arrays.column(name)

    def only(self, kept: np.ndarray) -> Sessions:
        """The sessions where `kept`, bool [sessions], is true; what is `earlier` stays whole."""
        lengths = np.diff(self.offsets)
        event = np.repeat(kept, lengths)
        columns = {}
        for name in self.arrays.columns:
            column = np.asarray(self.column(name))
            # of a column per session and one per event that are of one length, all sessions have one event: either does
            columns[name] = column[event if len(column) == len(event) else kept]
        offsets = np.concatenate([[0], np.cumsum(lengths[kept])])
        arrays = SessionArrays(self.items, self.values[event], offsets, columns)
        return Sessions(arrays, self.role, self.timed, self.earlier)

    def batches(
        self,
        rows: int = 64,
        steps: int = 20,
        *,
        carry: bool = False,
        one_target: bool = False,
        every_event: bool | None = None,
        by_user: bool | str = False,
        memory: str | int | None = None,
        shard: tuple[int, int] = (0, 1),
        **options,
    ):
        """A `tf.data.Dataset` of `(batch, targets)`, see `tfrecsession.batches.datasets`.

        The train split is packed into `[rows, steps]`, shuffled (options: `shuffle`, `seed`, `long`); with `carry` its
        rows are session-parallel lanes in time order, for models that carry their state. The other splits give every
        event exactly once and ignore `rows` and `steps`; `every_event` says otherwise. With `one_target` every prefix
        of a session is laid out by itself and only its last step has a target, for models that read a session from both
        ends.

        `by_user` lays out persons, the sessions of each end to end, for models that remember from session to session;
        "joined": as if each person had but one session. With `carry` they are user-parallel lanes; without, everybody's
        newest `steps` events are taken. The other splits begin with what the `earlier` ones have of their people.

        `memory` ("512MB", or bytes) is for data larger than memory: packed batches as above, read from the files a
        window of shards at a time, so that no more than that is held; with `shard`, (i, n), worker i of n reads only
        its part of them. See `tfrecsession.batches.out_of_core`.

        Raises:
            InputError: `one_target` with `carry` or `by_user`, `by_user` where the log names no users, `memory` where
                all sessions are needed or too little of it, or an option that the layout does not know.
        """
        from tfrecsession.batches import datasets  # brings in TensorFlow, which reading a data set does not need

        if every_event is None:
            every_event = self.role != "train"
        if carry and one_target:
            raise InputError(
                "carry, one_target: a lane goes on with its session, a prefix is read once; say one of them"
            )
        if memory is None and tuple(shard) != (0, 1):
            raise InputError("shard: is for data that is read from its files part by part; say memory= too")
        if memory is not None:
            from tfrecsession.batches.out_of_core import streamed

            for name, said in (("carry", carry), ("every_event", every_event), ("by_user", by_user)):
                if said:
                    raise InputError(f"memory, {name}: needs all sessions at once, in their order; leave memory out")
            if not hasattr(self.arrays, "read_shard"):
                raise InputError("memory: these sessions are in memory already, leave it out")
            dataset = streamed(self.arrays, memory, rows, steps, one_target=one_target, shard=shard, **options)
        elif by_user:
            dataset = self._batches_by_user(rows, steps, carry, one_target, every_event, by_user, options)
        elif every_event:
            dataset = datasets.every_event(self.values, self.offsets, one_target=one_target)
        elif carry:
            dataset = datasets.session_parallel(self.values, self.offsets, rows, steps)
        else:
            dataset = datasets.packed(self.values, self.offsets, rows, steps, one_target=one_target, **options)
        return dataset.of(sessions=self, one_target=one_target, by_user=by_user)

    def beginnings(self, most: int, seed: int = 0) -> list[list[str]]:
        """At most `most` sessions, drawn evenly, each up to one of its events: histories that a model may be asked."""
        random = np.random.default_rng(seed)
        drawn = (self[int(number)] for number in random.permutation(len(self))[:most])
        return [self.items.decode(ids[: random.integers(1, len(ids) + 1)]).tolist() for ids in drawn]

    def _batches_by_user(self, rows, steps, carry, one_target, every_event, by_user, options):
        from tfrecsession.batches import datasets
        from tfrecsession.batches.user_sequences import UserSequences

        if by_user not in (True, "joined"):
            raise InputError(f"by_user={by_user!r}: say True, 'joined' or False")
        if one_target:
            raise InputError("by_user, one_target: a prefix by itself has no earlier sessions; say one of them")
        people = UserSequences.of(self, self.earlier if every_event else (), joined=by_user == "joined")
        if every_event:
            return datasets.every_event_of_users(people)
        if people.overlapping:
            warnings.warn(
                f"{people.overlapping:,} of {len(self):,} sessions begin before an earlier one of their user has "
                "ended: each is played alone, without a past",
                stacklevel=3,
            )
        return (datasets.user_parallel if carry else datasets.packed_users)(people, rows, steps, **options)


@dataclass(frozen=True)
class Data:
    """A prepared data set.

    Attributes:
        items: the vocabulary.
        train, validation, test: the splits; one that is not there has no sessions.
        info: what `dataset.json` says.
        path: where it lies; None: in memory.
    """

    items: Items
    train: Sessions
    validation: Sessions
    test: Sessions
    info: dict
    path: str | None = None

    @property
    def fingerprint(self) -> str:
        return self.info["fingerprint"]


def load(path: str | Path) -> Data:
    """Open a data set that `prepare` made.

    Raises:
        InputError: there is none, or it is not whole.
    """
    prepared = read_prepared(path)
    timed = prepared.info["timed"]
    splits = {}
    for role in ("train", "validation", "test"):
        splits[role] = Sessions(getattr(prepared, role), role, timed, earlier=tuple(splits.values()))
    return Data(items=prepared.items, info=prepared.info, path=str(path), **splits)


def synthetic_sessions(items: int = 1000, sessions: int = 10_000, seed: int = 0, days: int = 8, **options) -> Data:
    """A prepared data set from the synthetic shop, in memory.

        data = trs.synthetic_sessions(items=500, sessions=6000, users=400, loyal=0.6, follow=0.2, taste=0.1)

    Args:
        items, sessions, seed, days: of the shop.
        options: the shop's further arguments (`users`, `loyal`, `follow`, ..., see `events.synthetic.Shop`), and those
            of `prepare` (`drop_repeats`, `min_item_support`, `test_span`, ...).

    Raises:
        InputError: an option that neither has, or a value out of range.
    """
    of_shop = {field.name for field in fields(Shop)}
    known = of_shop | (set(signature(prepare).parameters) - {"source", "out"})
    for name in options.keys() - known:
        nearest = get_close_matches(name, known, 1)
        hint = f", did you mean {nearest[0]}?" if nearest else ""
        raise InputError(f"synthetic_sessions: neither the shop nor prepare has an argument {name!r}{hint}")
    law = {name: options.pop(name) for name in of_shop & options.keys()}
    shop = Shop(items=items, sessions=sessions, seed=seed, days=days, **law)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shop"
        prepare(shop.spec, out, **options)
        data = load(out)
        for split in (data.train, data.validation, data.test):
            columns = {name: split.column(name) for name in split.arrays.columns}  # read before the files are gone
            split.arrays = SessionArrays(split.items, split.values, split.offsets, columns)
        return Data(data.items, data.train, data.validation, data.test, data.info)
