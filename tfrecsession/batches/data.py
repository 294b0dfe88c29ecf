"""Prepared data sets: `data = trs.load("clicks/")`, `data.train.batches(...)`."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import cached_property
from inspect import signature
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfrecsession.batches.event_weights import Weighing, Weights
from tfrecsession.batches.joint_vocabulary import JointVocabulary
from tfrecsession.errors import InputError
from tfrecsession.near_names import meant
from tfrecsession.sessions.context import Context, ContextLog
from tfrecsession.sessions.item_codes import ItemCodes, make_codes, shape_of
from tfrecsession.sessions.statistics import Statistics
from tfrecsession.sessions.store import JOINT, ItemEvents, SessionArrays, read_joint, read_prepared
from tfrecsession.sessions.users import Users
from tfrecsession.sessions.vocabulary import Items, shorten

OPTIONS = ("shuffle", "seed", "long")  # of `batches`, passed to the layout


class Sessions:
    """One split of a data set: its sessions as flat arrays, and as batches.

    Attributes:
        items: the vocabulary.
        values: int32 [events], item ids, session after session in start-time order.
        offsets: int64 [sessions + 1]: session `s` is `values[offsets[s]:offsets[s + 1]]`.
        role: "train", "validation" or "test".
        timed: whether the log has times; otherwise its events are in order, and `times` numbers the rows of a file.
        earlier: the splits before this one, oldest first, with the earlier sessions of its users.
        weighing: how its events are weighed, see `weighted`; None: each counts once.
        parent: the split that `only` took these sessions from; None: they are a split themselves.
    """

    weighing: Weighing | None = None
    parent: Sessions | None = None

    def __init__(self, arrays: SessionArrays, role: str, timed: bool = True, earlier: tuple[Sessions, ...] = ()):
        self.arrays = arrays
        self.items: Items = arrays.items
        self.role = role
        self.timed = timed
        self.earlier = tuple(earlier)
        self._encoded = self._weights = self._whole = None

    @property
    def values(self) -> np.ndarray:
        return self.arrays.values

    @property
    def offsets(self) -> np.ndarray:
        return self.arrays.offsets

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, session: int) -> np.ndarray:
        """Returns the item ids of one session, int32 [events]."""
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
        """The number of events with an event before them in their session: those that evaluation scores."""
        return self.arrays.scored_events

    def column(self, name: str) -> np.ndarray:
        """Returns a further column (`times`, `user`, `event`, a context column), loaded at its first use."""
        return self.arrays.column(name)

    @property
    def whole(self) -> Sessions | None:
        """The same sessions with their events that have no item, id 0; None: the log has none, see `prepare`."""
        if self._whole is None and isinstance(self.arrays, ItemEvents):
            self._whole = Sessions(self.arrays.whole, self.role, self.timed, tuple(s.whole or s for s in self.earlier))
            self._whole.weighing = self.weighing
        return self._whole

    def read_in(self, context: Context | None) -> Sessions:
        """Returns the sessions as a model with this context reads them: `whole` if it reads events without an item."""
        return self.whole or self if context is not None and context.itemless else self

    @property
    def scored(self) -> np.ndarray:
        """bool [events]: those that evaluation scores, with an item, after another one of their session."""
        is_item = np.asarray(self.values) > 0
        before = np.concatenate([[0], np.cumsum(is_item)])
        return is_item & (before[:-1] > np.repeat(before[self.offsets[:-1]], np.diff(self.offsets)))

    def encoded(self, context: Context | None) -> dict[str, np.ndarray]:
        """Returns the columns of a `Context`: "context/NAME" or "request/NAME" -> [events], the value of each event.

        Those of the last context are kept. Raises InputError if a column is missing or holds other values than in
        training.
        """
        if context is None:
            return {}
        if self._encoded is None or self._encoded[0] is not context:
            # the rows of a file without times are numbered in `times`
            names = self.arrays.columns if self.timed else [name for name in self.arrays.columns if name != "times"]
            self._encoded = context, context.encode(self.column, names, self.offsets, self.timed)
        return self._encoded[1]

    def weighted(
        self,
        event_weights: Mapping[str, float] | None = None,
        *,
        weight: str | None = None,
        session_decay: float | None = None,
        target_events: Iterable[str] | None = None,
    ) -> Sessions:
        """Returns this split with weights of its events, for `model.fit`.

            model.fit(data.train.weighted({"purchase": 5, "cart": 2}, session_decay=30))

        A training example counts as much as its target, the event to be predicted; all events stay inputs. The weights
        of the arguments are multiplied. They replace earlier ones. The key `weight` of the batches holds them; an event
        of weight 0 is no target. The guide has a table of the models that honour them.

        Args:
            event_weights: event type -> weight; other types count 1.
            weight: a column of numbers of at least 0, such as a dwell time, or an SQL expression of the columns of an
                event: "case when event = 'purchase' then price / 10 else 1 end".
            session_decay: days after which a session counts 1/e: exp(-age / session_decay). The age is the time from
                the session's last event to the last one of the split.
            target_events: the event types that are targets; None: all.

        Raises:
            InputError: an argument of another form, an event type or a column that the split does not have, or a weight
                that is below 0 or missing.
        """
        if all(value is None for value in (event_weights, weight, session_decay, target_events)):
            return self if self.weighing is None else self._with(None)
        return self._with(Weighing(event_weights, weight, session_decay, target_events).bound(self))

    def _with(self, weighing: Weighing | None) -> Sessions:
        found = copy.copy(self)
        found.weighing, found._weights, found._whole = weighing, None, None
        return found

    @property
    def weights(self) -> Weights | None:
        """The weights of the events, computed at their first use; None: each counts once."""
        if self.weighing is not None and self._weights is None:
            self._weights = self.weighing.weights(self.column, self.offsets, counted=self.values > 0)
        return self._weights

    def only(self, kept: np.ndarray) -> Sessions:
        """Selects the sessions where `kept`, bool [sessions], is true; the `earlier` splits stay whole."""
        if self.whole is not None:
            arrays = ItemEvents(self.whole.only(kept).arrays)
            found = Sessions(arrays, self.role, self.timed, self.earlier)._with(self.weighing)
            found.parent = self.parent or self
            return found
        lengths = np.diff(self.offsets)
        kept_events = np.repeat(kept, lengths)
        columns = {}
        for name in self.arrays.columns:
            column = np.asarray(self.column(name))
            # where there are as many events as sessions, every session has one event, and the two masks are equal
            columns[name] = column[kept_events if len(column) == len(kept_events) else kept]
        offsets = np.concatenate([[0], np.cumsum(lengths[kept])])
        arrays = SessionArrays(self.items, self.values[kept_events], offsets, columns)
        found = Sessions(arrays, self.role, self.timed, self.earlier)._with(self.weighing)
        found.parent = self.parent or self
        return found

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
        context: Context | None = None,
        **options,
    ):
        """Returns a `tf.data.Dataset` of `(batch, targets)`, see `tfrecsession.batches.datasets`.

        The train split is packed into `[rows, steps]` and shuffled (options: `shuffle`, `seed`, `long`). The other
        splits give every event exactly once and ignore `rows` and `steps`; `every_event` overrides this choice. With
        `carry` the rows are session-parallel lanes in time order, for models that carry their state. With `one_target`
        every prefix of a session is laid out by itself and only its last step has a target, for models that read a
        session from both ends.

        `by_user` lays out users, the sessions of each end to end, for models that read earlier sessions; "joined"
        treats the sessions of a user as one. With `carry` the rows are user-parallel lanes; without it, only the newest
        `steps` events of each user are used. The other splits begin with their users' sessions in the `earlier` ones.

        `memory` ("512MB", or bytes) is for data larger than memory. Packed batches as above are then read from the
        files, a window of shards at a time, within this bound. With `shard`, (i, n), worker i of n reads only its part
        of the files. See `tfrecsession.batches.out_of_core`.

        `context` adds the columns that a model reads, `model.context`; `fit` and `evaluate` add them by themselves.

        Raises:
            InputError: `one_target` with `carry` or `by_user`, `by_user` where the log names no users, `memory` where
                all sessions are needed or too little of it, or an option that the layout does not have.
        """
        from tfrecsession.batches import datasets  # brings in TensorFlow, which reading a data set does not need

        known = [*signature(self.batches).parameters][:-1] + list(OPTIONS)
        for name, value in options.items():
            if name not in OPTIONS:
                raise InputError(f"{name}={value!r}: batches has no such argument; {meant(name, known)}")
        if by_user and "long" in options:
            raise InputError(f"long={options['long']!r}: must be left out with by_user: the newest events are read")
        arguments = {"rows": rows, "steps": steps, "carry": carry, "one_target": one_target, "by_user": by_user}
        arguments |= {"every_event": every_event, "memory": memory, "shard": shard, **options}
        if self.read_in(context) is not self:
            dataset = self.whole.batches(**arguments, context=context)
            return dataset.of(sessions=self, arguments=arguments)
        if every_event is None:
            every_event = self.role != "train"
        if carry and one_target:
            raise InputError(
                "carry, one_target: must not both be set: a lane continues its session, a prefix is read once"
            )
        if memory is None and tuple(shard) != (0, 1):
            raise InputError(f"shard={shard}: is for data that is read from its files part by part; set memory= too")
        if memory is not None:
            from tfrecsession.batches.out_of_core import streamed

            for name, value in (("carry", carry), ("every_event", every_event), ("by_user", by_user)):
                if value:
                    raise InputError(f"{name}={value!r}: needs all sessions at once, in their order; leave memory out")
            if not hasattr(self.arrays, "read_shard"):
                raise InputError(f"memory={memory!r}: must be left out: these sessions are in memory already")
            options |= {"one_target": one_target, "shard": shard, "context": context, "timed": self.timed}
            options["weighing"] = self.weighing
            dataset = streamed(self.arrays, memory, rows, steps, **options)
        elif by_user:
            dataset = self._batches_by_user(rows, steps, carry, one_target, every_event, by_user, context, options)
        else:
            columns = self.encoded(context)
            if self.weighing is not None:
                columns = {**columns, "weight": self.weights.example.astype(np.float32)}
            encoded = datasets.Encoded(context, columns)
            if every_event:
                scored = None if np.all(self.values > 0) else self.scored
                options = {"one_target": one_target, "encoded": encoded}
                dataset = datasets.every_event(self.values, self.offsets, scored=scored, **options)
            elif carry:
                dataset = datasets.session_parallel(self.values, self.offsets, rows, steps, encoded)
            else:
                options |= {"one_target": one_target, "encoded": encoded}
                dataset = datasets.packed(self.values, self.offsets, rows, steps, **options)
        return dataset.of(sessions=self, context=context, arguments=arguments, one_target=one_target, by_user=by_user)

    def sample(self, events: int, seed: int = 0) -> Sessions:
        """Samples users uniformly, with all their sessions here, until about `events` events are scored.

        A session without a user counts as one of its own. The split itself is returned where it scores no more.
        """
        if self.scored_events <= events:
            return self
        users = np.arange(len(self))
        if "user" in self.arrays.columns:
            known = pa.array(self.column("user"), from_pandas=True).dictionary_encode().indices
            users = np.where(known.is_null(), users + len(known.unique()), known.fill_null(0))
        users = np.unique(users, return_inverse=True)[1]
        before = np.concatenate([[0], np.cumsum(self.scored)])
        scored = np.diff(before[self.offsets])  # per session
        order = np.random.default_rng(seed).permutation(users.max() + 1)
        reached = np.cumsum(np.bincount(users, weights=scored)[order])
        chosen = np.zeros(len(order), bool)
        chosen[order[: np.searchsorted(reached, events) + 1]] = True
        return self.only(chosen[users])

    def beginnings(self, most: int, seed: int = 0) -> list[list[str]]:
        """Samples at most `most` sessions uniformly, each cut after a random event: example histories for a model."""
        random = np.random.default_rng(seed)
        sampled = (self[int(session)] for session in random.permutation(len(self))[:most])
        return [self.items.decode(ids[: random.integers(1, len(ids) + 1)]).tolist() for ids in sampled]

    def _batches_by_user(self, rows, steps, carry, one_target, every_event, by_user, context, options):
        from tfrecsession.batches import datasets
        from tfrecsession.batches.user_sequences import UserSequences

        if by_user not in (True, "joined"):
            raise InputError(f"by_user={by_user!r}: must be True, 'joined' or False")
        if one_target:
            raise InputError("by_user, one_target: must not both be set: a prefix by itself has no earlier sessions")
        users = UserSequences.of(self, self.earlier if every_event else (), joined=by_user == "joined")
        columns = users.encoded(context)
        if self.weighing is not None:
            weights = self.weights.example.astype(np.float32)
            columns["weight"] = np.where(users.event >= 0, weights[users.event], np.float32(0))
        encoded = datasets.Encoded(context, columns)
        if every_event:
            return datasets.every_event_of_users(users, encoded=encoded)
        if users.overlapping:
            warnings.warn(
                f"{users.overlapping:,} of {len(self):,} sessions begin before an earlier one of their user has "
                "ended: each is treated as a separate user",
                stacklevel=3,
            )
        return (datasets.user_parallel if carry else datasets.packed_users)(
            users, rows, steps, encoded=encoded, **options
        )


@dataclass(frozen=True)
class Data:
    """A prepared data set.

    Attributes:
        items: the vocabulary.
        train, validation, test: the splits; a missing one has no sessions.
        info: the content of `dataset.json`.
        path: its folder; None: in memory.
        joint: the vocabulary of train and validation together, for a refit; None: it is not known, as the data set has
            no validation split, or was prepared before `prepare` kept it.
    """

    items: Items
    train: Sessions
    validation: Sessions
    test: Sessions
    info: dict
    path: str | None = None
    joint: JointVocabulary | None = None

    @property
    def fingerprint(self) -> str:
        return self.info["fingerprint"]

    @property
    def users(self) -> Users | None:
        """The users with their features; None: the data set was prepared without a table of users."""
        return self.items.users

    def coded_for(self, items: Items) -> Data:
        """Returns the data with the vocabulary of a model, to score it on: `data.coded_for(model.items).test`.

        A model that was fitted again knows items that occur in validation alone. Its test split has them too: it is the
        one that `prepare` makes without a validation split. For every other model this is the data itself.
        """
        further = 0 if self.joint is None else self.joint.further
        is_longer = further and len(items) >= len(self.items) + further and items.holds(self.joint.items)
        return self.jointly_coded() if is_longer else self

    def jointly_coded(self) -> Data:
        """Returns the data with the vocabulary of train and validation together, where `joint` has further items."""
        if self.joint is None or not self.joint.further:
            return self
        items, validation, test = self.joint.items, self.joint.validation, self.joint.test
        return replace(self, items=items, validation=validation, test=test, joint=None)

    def context(self, context=(), request=(), time_zone: str | None = None) -> Context:
        """Learns context columns from the train split, for `model(data.items, context=...)`, see `Context`.

            data.context(["device", "hour", "gap"], request=["gap", "hour"])

        Args:
            context: columns that are read of the input events: those of the log, `prepare --context`, and `event`;
                "gap", "hour", "weekday", "month" and "position" are derived. "NAME:category" and "NAME:number" choose
                how a column of whole numbers is read.
            request: columns that are read of the event to be predicted. They must be known when a recommendation is
                requested.
            time_zone: of hour, weekday and month, e.g. "Europe/Berlin"; None: that of the data set, else UTC.

        Raises:
            InputError: a column that the log does not have or that cannot be read, or an unknown time zone.
        """
        return self.items.context_log.learn(context, request, time_zone)

    def item_codes(self, kind: str = "jpq", codes: int = 8, code_values: int | None = None) -> ItemCodes:
        """Returns a code for every item, which models of this data may share: `items_as=data.item_codes("jpq")`.

        Args:
            kind: "jpq", learned from the training sessions; or "hashed", "qr", "bloom", "chars".
            codes: codes of an item; "hashed" has 1, "qr" 2.
            code_values: values of a code; None: as in a model.

        Raises:
            InputError: an unknown kind, or numbers that do not fit it.
        """
        return make_codes(kind, self.items, *shape_of(kind, self.items, codes, codes, code_values), self.train)

    @cached_property
    def statistics(self) -> Statistics:
        """The statistics of `train`, which the defaults of models follow."""
        return Statistics(self.train.arrays, self.train.timed)

    def __repr__(self) -> str:
        info = self.info
        where = "in memory" if self.path is None else f"at ...{self.path[-50:]}" if len(self.path) > 53 else self.path
        lines = [f"<Data {info.get('fingerprint', '')} ({where}): {len(self.items):,} items"]
        for role in ("train", "validation", "test"):
            split, known = getattr(self, role), info.get("splits", {}).get(role, {})
            span = f"  {known['first'][:16]} to {known['last'][:16]}" if known.get("first") else ""
            lines.append(f"  {role:<10} {len(split):>12,} sessions {split.events:>14,} events{span}")
        if self.users is not None:
            lines.append(f"  features of users: {shorten(', '.join(info.get('user_columns') or ()), 80)}")
        for kind in ("content", "schema"):
            if names := ", ".join(info.get(kind) or ()):
                lines.append(f"  {'content' if kind == 'content' else 'columns'}: {shorten(names, 80)}")
        return "\n".join(lines) + ">"


def load(path: str | Path) -> Data:
    """Opens a data set that `prepare` wrote.

    Raises:
        InputError: the folder holds no data set, or an incomplete one.
    """
    prepared = read_prepared(path)
    items, info = prepared.items, prepared.info
    splits = {}
    for role in ("train", "validation", "test"):
        splits[role] = Sessions(getattr(prepared, role), role, info["timed"], earlier=tuple(splits.values()))
    items.context_log = ContextLog(splits["train"], info["schema"], info["options"].get("time_zone"))
    items.users = prepared.users

    def read() -> tuple[Items, Sessions, Sessions]:
        both, coded = read_joint(path, items, info)
        earlier = (splits["train"],)
        validation = Sessions(coded["validation"], "validation", info["timed"], earlier)
        return both, validation, Sessions(coded["test"], "test", info["timed"], (*earlier, validation))

    joint = None
    if (known := info.get(JOINT)) is not None:
        joint = JointVocabulary(splits["validation"], splits["test"], known["items"], read if known["items"] else None)
    return Data(items=items, info=info, path=str(path), joint=joint, **splits)


def synthetic_sessions(items: int = 1000, sessions: int = 10_000, seed: int = 0, days: int = 8, **options) -> Data:
    """Generates a prepared data set from the synthetic shop, in memory.

        data = trs.synthetic_sessions(items=500, sessions=6000, users=400, loyal=0.6, follow=0.2, taste=0.1)

    Args:
        items, sessions, seed, days: arguments of the shop.
        options: further arguments of the shop (`users`, `loyal`, `follow`, ..., see `events.shop.shop.Shop`) and of
            `prepare` (`drop_repeats`, `min_item_support`, `test_span`, ...). `context=True` is the shop's context law,
            with the columns `event` and `device`; names in `context` are those of `prepare`.

    Raises:
        InputError: an unknown option, or a value out of range.
    """
    from tfrecsession.events.shop.shop import Shop
    from tfrecsession.sessions.prepare import prepare  # brings in Ibis, which reading a data set does not need

    of_shop = {field.name for field in fields(Shop)}
    known = of_shop | (set(signature(prepare).parameters) - {"source", "out"})
    for name in options.keys() - known:
        nearest = get_close_matches(name, known, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise InputError(f"{name}={options[name]!r}: must be an argument of the shop or of prepare{hint}")
    if isinstance(options.get("context"), bool):  # the shop's; names of columns are an option of prepare
        context = options.pop("context")
        options = {**({"context": "device", "event": "event"} if context else {}), **options}
        shop_options = {"context": context}
    else:
        shop_options = {}
    shop_options |= {name: options.pop(name) for name in (of_shop - {"context"}) & options.keys()}
    shop = Shop(items=items, sessions=sessions, seed=seed, days=days, **shop_options)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shop"
        prepare(shop.spec, out, **options)
        data = load(out)
        later = (data.joint.validation, data.joint.test) if data.joint and data.joint.further else ()
        for split in (data.train, data.validation, data.test, *later):
            columns = {name: split.column(name) for name in split.arrays.columns}  # read before the files are gone
            split.arrays = SessionArrays(split.items, split.values, split.offsets, columns)
        return replace(data, path=None)


def check_data(data) -> None:
    """Raises InputError unless `data` is a prepared data set: a path, or what `prepare` returns, is named."""
    if not isinstance(data, Data):
        path = repr(str(data)) if isinstance(data, str | Path) else "FOLDER"
        raise InputError(f"data: must be a data set, trs.load({path}), not {type(data).__name__}")
