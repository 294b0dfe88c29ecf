"""Titles and images of the items, for people who look at answers: `assets.extra/items.parquet` of an export."""

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
SHOWN = {  # a column of the export -> the names that it goes by in an item table, in any case, the first that is there
    "title": ("title", "name", "item_name", "item_title", "product_name", "product_title", "movie_title", "headline"),
    "image": ("image", "image_url", "img", "img_url", "image_link", "thumbnail", "picture", "photo", "poster", "cover"),
}
LONGEST = {"title": 300, "image": 2000}  # characters; of longer titles the beginning, longer addresses are none
WEB = r"^https?://[^\s]+$"


def write_item_table(items: Items, path: Path, content=None) -> None:
    """A row per item in the order of the catalogue: `item`, and `title` and `image`, strings, as far as there are any.

    Nothing is written where nothing is known but the ids. An image is the address of one, http or https.

    Args:
        items: the catalogue.
        path: the file to write.
        content: a table (pyarrow, pandas, a dict of columns) with the column `item`; None: `items.content`.

    Raises:
        InputError: `content` is no such table, or nothing in it can be shown.
    """
    given = content is not None
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
        wanted = "; ".join(f"{column}: {', '.join(usual)}" for column, usual in SHOWN.items())
        raise InputError(f"content: no column of strings is a title or an image by its name ({wanted}); it has {names}")
    if shown:
        pq.write_table(pa.table({"item": pa.array(items.ids, pa.string()), **shown}), path, compression="zstd")


def read_item_table(path: str | Path) -> pa.Table:
    """A CSV, TSV or Parquet file of items -> what `write_item_table` takes; ids and titles stay the text that they are.

    Raises:
        InputError: the file cannot be read, or has no column `item` or `item_id`.
    """
    try:
        if Path(path).suffix in (".csv", ".tsv"):
            parse = pa.csv.ParseOptions(delimiter="\t" if Path(path).suffix == ".tsv" else ",", newlines_in_values=True)
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
        wanted = " or ".join(USUAL_NAMES["item"])
        raise InputError(f"{path}: no column {wanted} with the ids of the items; it has {', '.join(names)}")
    return table.rename_columns(["item" if name == item else name for name in names])


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _shown(column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strings without spaces around; null where there is none, or none that can be shown."""
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    if column == "title":
        fits, values = pc.not_equal(values, ""), pc.utf8_slice_codeunits(values, 0, LONGEST[column])
    else:
        fits = pc.and_(
            pc.match_substring_regex(values, WEB, ignore_case=True),
            pc.less_equal(pc.utf8_length(values), LONGEST[column]),
        )
    return pc.if_else(fits, values, pa.scalar(None, pa.string()))
