"""New items in an export: the next version, from the export alone, without training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.export.item_table import FILE, SHOWN
from tfrecsession.export.saved_model import write_saved_model
from tfrecsession.export.versions import CONTENT_MODEL, check_adds_items, newest_version, read_card
from tfrecsession.sessions.item_table import read_item_table
from tfrecsession.training.adding_items import add_items as add_to_model

OWN = (
    "model items vocabulary k exclude_seen longest index recall recall_measured_on index_settings state_width versions"
)
WRITTEN = (*OWN.split(), "user_width", "context", "reasons")  # entries of the card that every export writes anew


def add_items(path, items, *, key=None, columns=None, encoding=None, version: int | None = None, overwrite=False):
    """Writes the next version of an export, with the new items of a table.

    The vectors of new items follow from their content. All other items, and their scores, stay as they are. A server of
    the folder loads the new version by itself.

    Args:
        path: the folder of an exported model, or one of its versions; the highest one is continued.
        items, key, columns, encoding: the item table, see `trs.training.add_items`.
        version: the number of the version to write; None: one more than the highest.
        overwrite: replace that version.

    Returns:
        The path of the new version, and the ids of the items that were added.

    Raises:
        InputError: the export reads no content, or the table does not fit.
    """
    newest = newest_version(path)
    check_adds_items(newest)
    numbers = [int(folder.name) for folder in newest.parent.iterdir() if folder.name.isdigit()]
    out = newest.parent / str(max(numbers) + 1 if version is None else version)
    card = read_card(newest)
    model = keras.models.load_model(newest / CONTENT_MODEL)
    known = len(model.items)
    model.fitted = True
    larger = add_to_model(model, items, key=key, columns=columns, encoding=encoding)
    added = larger.items.ids[known:].tolist()
    with tempfile.TemporaryDirectory() as folder:
        shown = _shown(newest / "assets.extra" / FILE, items, added, key, columns, encoding, Path(folder))
        write_saved_model(
            larger,
            out,
            k=card["k"],
            exclude_seen=card["exclude_seen"],
            longest=card["longest"],
            index=card["index"],
            target_recall=card.get("index_settings", {}).get("target_recall", 0.98),
            overwrite=overwrite,
            reasons=card.get("reasons", 0),
            about={name: value for name, value in card.items() if name not in WRITTEN},
            content=shown,
        )
    return out, added


def _shown(old: Path, items, added: list[str], key, columns, encoding, folder: Path) -> pa.Table | None:
    """Returns titles and images of the export, and those of the new items; None where the export shows none."""
    if not old.is_file():
        return None
    known = pq.read_table(old)
    try:
        table = read_item_table(items, key, names=columns, encoding=encoding)
    except InputError:  # rows that contradict each other in a column that is not read
        return known
    row_of = {item: row for row, item in enumerate(table.items)}
    by_name = {name.lower(): name for name in reversed(list(table.columns))}
    rows = {"item": added}
    for column in known.column_names[1:]:
        name = next((by_name[name] for name in SHOWN[column] if name in by_name), None)
        values = [None] * len(added) if name is None else [table.columns[name][row_of[item]] for item in added]
        rows[column] = [value if isinstance(value, str) else None for value in values]
    return pa.concat_tables([known, pa.table(rows, schema=known.schema)])
