"""The users of a prepared data set, with their features: `users.parquet`, and tensors beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.sessions.content_columns import ContentColumns
from tfrecsession.sessions.context import Column
from tfrecsession.sessions.item_columns import ItemContents, column_report, read_tensors, write_tensors
from tfrecsession.sessions.vocabulary import FIRST, Items, shorten

FILE = "users.parquet"
FOLDER = "user_content"


class Users(Items):
    """Users with their features, with the ids 2.. in this order: those of training, and those of the table alone.

    `content` and `tensors` hold the features, and `counts` the events in training, as in `Items`; a user of the table
    without an event in training has a count of 0.
    """

    def __repr__(self) -> str:
        first = ", ".join(shorten(repr(user), 24) for user in self.ids[:3].tolist())
        names = [*(self.content.column_names if self.content is not None else ()), *self.tensors]
        more = ", ..." if len(self) > 3 else ""
        return (
            f"<Users: {len(self):,} users, {int((self.counts > 0).sum()):,} of training; features: {', '.join(names)}\n"
            f"  {first or 'none'}{more}>"
        )

    def behind(self, names: Iterable[str]) -> Users:
        """Returns the users `names`, in their order, and behind them the others.

        A name that is not here has no features, and counts as one of training.
        """
        names = list(names)
        known = set(names)
        ids = [*names, *(user for user in self.ids.tolist() if user not in known)]
        codes = self.encode(ids)
        rows = np.where(codes >= FIRST, codes - FIRST, -1)
        counts = np.where(rows < 0, 1, self.counts[np.maximum(rows, 0)]) if len(self) else np.ones(len(ids))
        content = None if self.content is None else self.content.take(pa.array(rows, mask=rows < 0))
        return Users(ids, counts, content, {name: tensor.take(rows) for name, tensor in self.tensors.items()})

    def learn(self, content, names: Iterable[str] = ()) -> LearnedFeatures:
        """Learns the features `content`, each NAME or NAME:KIND, from the users of training.

        Args:
            content: names of columns of the table of users.
            names: users who come first, in this order, see `behind`.

        Raises:
            InputError: a column that the table does not have, or of another kind.
        """
        names = list(names)
        users = self.behind(names)
        return LearnedFeatures(ContentColumns.learn(users, content, "user_content"), len(names), users.size, users)


class WrittenUsers(NamedTuple):
    """What `write_users` wrote.

    Attributes:
        table: `user`, `count` int64, and the small features.
        tensors: the other features, by column.
        entries, columns: of `dataset.json`: where tensors lie, and what the features of the users of training hold.
    """

    table: pa.Table
    tensors: dict
    entries: dict
    columns: dict


class LearnedFeatures(NamedTuple):
    """The features that a model reads.

    Attributes:
        columns: as `ContentColumns` learned them.
        trained: the users with an id of their own, codes 2 to `trained` + 1; those behind them have features alone.
        size: all users + 2.
        users: all users, with their features; None in a model that was loaded, which holds the features itself.
    """

    columns: ContentColumns
    trained: int
    size: int
    users: Users | None = None

    @property
    def in_requests(self) -> list[Column]:
        """The categories and numbers, as columns that a request may give for its user."""
        found = []
        for column in self.columns.columns:
            if column.kind in ("category", "number"):
                values = column.values if column.kind == "category" else ()
                found.append(Column(column.name, column.kind, values, column.mean, column.deviation))
        return found

    def learn(self, content, names) -> LearnedFeatures:
        """Returns itself: the features of a trained model stay as they were learned, also with a newer table."""
        return self

    def get_config(self) -> dict:
        return {**self.columns.get_config(), "trained": self.trained, "size": self.size}

    @classmethod
    def from_config(cls, config: Mapping) -> LearnedFeatures:
        return cls(ContentColumns.from_config(config), config["trained"], config["size"])


def check_features(contents: ItemContents) -> None:
    """Refuses a table of users without features, and images."""
    if not contents.kinds:
        raise InputError(f"{contents.source}: must have a column beside the key, such as the age of the users")
    for name, kind in contents.kinds.items():
        if kind == "image":
            raise InputError(f"{contents.source}: {name} holds images: must be left out of user_content=")


def write_users(contents: ItemContents, counts: Mapping[str, int], folder: Path) -> WrittenUsers:
    """Writes the users of training by falling count, then those of the table alone, each by name.

    Args:
        contents: their features.
        counts: events in training by user.
        folder: of the data set.

    Raises:
        InputError: no user of the table has a session in training.
    """
    named = sorted(counts, key=lambda user: (-counts[user], user))
    if contents.items and not any(user in counts for user in contents.items):
        log = f"({named[0]!r}, ...)" if named else "(none)"
        raise InputError(
            f"{contents.source}: none of its users ({contents.items[0]!r}, ...) has a session in training {log}; are "
            "the ids written differently, or is another column the key (users_key=)?"
        )
    users = [*named, *sorted(set(contents.items) - counts.keys())]
    rows = contents.rows(users)
    features = contents.table(rows)
    table = pa.table({"user": pa.array(users, pa.string()), "count": [counts.get(user, 0) for user in users]})
    for field in features.schema:
        table = table.append_column(field, features[field.name])
    pq.write_table(table, folder / FILE, compression="zstd")
    entries = write_tensors(contents, rows, folder, FOLDER)
    tensors = read_tensors(folder, entries)
    of_training = {name: tensor.take(np.arange(len(named))) for name, tensor in tensors.items()}
    return WrittenUsers(table, tensors, entries, column_report(contents, rows[: len(named)], of_training))


def read_users(folder: Path, info: Mapping) -> Users | None:
    """Reads the users of a prepared data set; None: it was prepared without a table of users."""
    if "user_columns" not in info:
        return None
    try:
        table = pq.read_table(folder / FILE)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder / FILE}: cannot be read ({reason}): prepare the data set again") from None
    content = table.drop_columns(["user", "count"]) if table.num_columns > 2 else None
    tensors = read_tensors(folder, info.get("user_tensors", {}))
    return Users(table["user"].to_pylist(), table["count"].to_numpy(), content, tensors)
