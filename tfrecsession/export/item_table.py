"""Titles and images of the items for display: `assets.extra/items.parquet` of an export."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.events.schema import USUAL_NAMES
from tfrecsession.sessions.content import aligned, content_table
from tfrecsession.sessions.vocabulary import Items

FILE = "items.parquet"
SHOWN = {  # column of the export -> its possible names in an item table, any case; the first that exists is used
    "title": ("title", "name", "item_name", "item_title", "product_name", "product_title", "movie_title", "headline"),
    "image": ("image", "image_url", "img", "img_url", "image_link", "thumbnail", "picture", "photo", "poster", "cover"),
}
LONGEST = {"title": 300, "image": 2000}  # characters; longer titles are cut, longer addresses dropped
WEB = r"^https?://[^\s]+$"


def write_item_table(items: Items, path: Path, content=None) -> None:
    """Writes one row per item in catalogue order: `item`, and, if available, `title` and `image`, all strings.

    `image` is an http or https address. Without titles and images no file is written.

    Args:
        items: the catalogue.
        path: the file to write.
        content: a table (pyarrow, pandas, a dict of columns) with the column `item`, or the path of one, see
            `read_item_table`; None: `items.content`.

    Raises:
        InputError: `content` is not such a table, or has no title or image column.
    """
    given = content is not None
    if isinstance(content, str | Path):
        content = read_item_table(content)
    if given:
        content = content_table(content, "content")
        names = ", ".join(content.column_names)
        content = aligned(content, items.ids)
    elif items.content is not None:
        content = items.content
    else:
        return
    shown = {}
    for column, usual in SHOWN.items():
        by_name = {name.lower(): name for name in reversed(content.column_names) if _is_text(content[name].type)}
        name = next((by_name[name] for name in usual if name in by_name), None)
        if name is not None:
            shown[column] = _shown(column, content[name])
    if not shown and given:
        possible = "; ".join(f"{column}: {', '.join(usual)}" for column, usual in SHOWN.items())
        raise InputError(f"content: must have a string column with a title or an image ({possible}); it has {names}")
    if shown:
        pq.write_table(pa.table({"item": pa.array(items.ids, pa.string()), **shown}), path, compression="zstd")


def read_item_table(path: str | Path) -> pa.Table:
    """Reads a CSV, TSV or Parquet file of items for `write_item_table`; ids and titles of text files stay text.

    Returns:
        a table with the column `item` and the other columns of the file.

    Raises:
        InputError: the file cannot be read, or has no column `item` or `item_id`.
    """
    try:
        if Path(path).suffix in (".csv", ".tsv"):
            with open(path, encoding="utf-8", errors="replace") as text:
                first = text.readline()
            marks = "\t" if Path(path).suffix == ".tsv" else ",;\t|"
            delimiter = next((mark for mark in marks if mark in first), marks[0])
            parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
            with pa.csv.open_csv(path, parse_options=parse) as file:
                texts = dict.fromkeys(file.schema.names, pa.string())
            convert = pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=True)
            table = pa.csv.read_csv(path, parse_options=parse, convert_options=convert)
        else:
            table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as CSV, TSV or Parquet: {error}") from None
    names = table.column_names
    item = next((name for name in USUAL_NAMES["item"] if name in names), None)
    if item is None:
        usual = " or ".join(USUAL_NAMES["item"])
        raise InputError(f"{path}: must have a column {usual} with the item ids; it has {', '.join(names)}")
    return table.rename_columns(["item" if name == item else name for name in names])


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _shown(column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strips the strings; null for missing values and those that cannot be shown."""
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    if column == "title":
        fits, values = pc.not_equal(values, ""), pc.utf8_slice_codeunits(values, 0, LONGEST[column])
    else:
        fits = pc.and_(
            pc.match_substring_regex(values, WEB, ignore_case=True),
            pc.less_equal(pc.utf8_length(values), LONGEST[column]),
        )
    return pc.if_else(fits, values, pa.scalar(None, pa.string()))
