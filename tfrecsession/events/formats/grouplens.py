"""The ratings files of GroupLens' MovieLens: four fields per line, no header."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import open_text
from tfrecsession.events.formats.first_bytes import is_text
from tfrecsession.events.raw_log import Files, Format, RawLog, number_rows
from tfrecsession.events.schema import Columns

NAMES = ("user", "item", "rating", "time")


def open_grouplens(files: Files, columns: Columns, connection) -> RawLog:
    """Reads `user`, `item`, `rating`, `time` (seconds), separated by :: (`ratings.dat`) or tabs (`u.data`).

    Raises InputError if the first line is something else, such as the header of another .dat file.
    """
    with open_text(files.parts[0]) as file:
        line = file.readline().rstrip("\r\n")
    delimiter = "::" if "::" in line else "\t"
    fields = line.split(delimiter)
    if len(fields) != len(NAMES) or not all(_is_number(field) for field in fields[2:]):
        raise InputError(
            f"{files.source}: the first line must be user, item, rating and time, separated by tabs or :: and without "
            f"a header, as in GroupLens' u.data and ratings.dat, not {line[:80]!r}; for a table with a header use "
            "format='tsv' or format='csv', for other tables without one columns="
        )
    table = connection.read_csv(
        files.patterns,
        auto_detect=False,
        header=False,
        columns=dict.fromkeys(NAMES, "VARCHAR"),
        delim=delimiter,
        quote="",
        escape="",
    )
    return RawLog(number_rows(table), files.source, connection, text=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


GROUPLENS = Format("grouplens", (".data", ".dat"), "a ratings file of GroupLens in UTF-8", open_grouplens, is_text)
