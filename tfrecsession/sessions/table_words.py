"""Words of messages about a table with content: of the items, or of the users."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfrecsession.events.schema import USUAL_NAMES


class TableWords(NamedTuple):
    """The noun for a row of a table with content, and the arguments of `prepare` that read the table.

    Attributes:
        noun: what a row is.
        table, content: the arguments of the table and of its columns to keep.
    """

    noun: str
    table: str
    content: str

    @property
    def key(self) -> str:
        """The argument of the column of ids."""
        return f"{self.table}_key"

    @property
    def columns(self) -> str:
        """The argument of the columns of a file without a header."""
        return f"{self.table}_columns"

    @property
    def encoding(self) -> str:
        return f"{self.table}_encoding"

    @property
    def usual(self) -> tuple[str, ...]:
        """The usual names of the column of ids."""
        return tuple(USUAL_NAMES[self.noun])

    @property
    def reserved(self) -> tuple[str, ...]:
        """Names of columns that prepared data sets use themselves."""
        return "id", self.noun, "count"


ITEMS = TableWords("item", "items", "content")
USERS = TableWords("user", "users", "user_content")


def shown(value: Any) -> str:
    """Returns a value of a table as messages show it, in about 40 characters."""
    text = repr(value[:1000] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 40 else f"{text[:36]}...{text[-1]}"
