"""The item counts of an export with a trend: one small file, which replaces them without training or export.

    assets/item_counts.bin    int64, the time of the counts in microseconds since 1970; then float32 [size, half-lives]

Numbers are little-endian, the counts row by row. The SavedModel computes the term of each item from this file when it
is loaded.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events import read_events
from tfrecsession.export.versions import newest_version, read_card
from tfrecsession.layers.items.trend_head import weighed
from tfrecsession.sessions.item_trends import advanced
from tfrecsession.sessions.spans import iso
from tfrecsession.staging import one_line, staged

FILE = "item_counts.bin"
VOCABULARY = "vocabulary.txt"
TIME = 8  # bytes


class TrendCounts(tf.Module):
    """The term of every item in a SavedModel, which follows from the file of counts.

    Args:
        head: the `TrendHead` of the model.
        folder: an existing folder, where the file is written; it becomes an asset of the SavedModel.
    """

    def __init__(self, head, folder: Path):
        super().__init__()
        path = folder / FILE
        path.write_bytes(packed(int(head.now.numpy()), head.counts.numpy()))
        self.file = tf.saved_model.Asset(str(path))
        self.values = tf.Variable(tf.zeros(head.counts.shape[:1]), trainable=False)
        self.reader = _Reader(self.file, self.values, head.kernel.numpy())

    def terms(self):
        """Returns the term of every item, float32 [size]."""
        return tf.convert_to_tensor(self.values)


class _Reader(tf.saved_model.experimental.TrackableResource):
    """Computes a variable from the file of counts wherever the SavedModel is loaded; the resource itself is empty.

    TensorFlow initializes the resources of a SavedModel after it has read its variables.
    """

    def __init__(self, file, values, kernel: np.ndarray):
        super().__init__()
        self.file, self.values, self.kernel = file, values, kernel
        self._initialize()

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=f"item_counts_{id(self)}")

    def _initialize(self):
        content = tf.io.read_file(self.file.asset_path)
        counts = tf.io.decode_raw(tf.strings.substr(content, TIME, -1), tf.float32)
        counts = tf.reshape(counts, [*self.values.shape, len(self.kernel) - 1])  # (size, half-lives)
        self.values.assign(weighed(counts, tf.constant(self.kernel)))


def card_of(head) -> dict:
    """Returns the entry "trend" of an export's `tfrecsession.json`."""
    *weights, new = map(float, head.kernel.numpy())
    return {"half_lives": list(head.half_lives), "weights": weights, "new": new, "until": iso(int(head.now.numpy()))}


class Updated(NamedTuple):
    """The result of `update_counts`.

    Attributes:
        path: the version that was written.
        added: events that were added to the counts.
        earlier: events that were left out, since they are counted already.
        unknown: events on items that the model does not know, which were left out.
        until: the time of the new counts, in microseconds since 1970.
    """

    path: Path
    added: int
    earlier: int
    unknown: int
    until: int


def update_counts(path: str | os.PathLike, events, columns=None, *, in_place: bool = False, **options) -> Updated:
    """Adds the events of a newer log to the item counts of an export, and writes its next version.

    The model itself stays. TensorFlow Serving and `tfrecsession serve` load the version while the one before answers.

    Args:
        path: an export, or a folder of versions, of which the highest is used.
        events: a log, in any form that `prepare` reads. Events before the end of the counts are counted already and
            left out, so that a log may overlap the one before.
        columns: `tfrecsession.events.Columns`, the names of its columns; None: found by their usual names.
        in_place: replace the file of counts in this version instead, in one step. `tfrecsession serve` then loads the
            version again; TensorFlow Serving reads it at its next start.
        options: further arguments of `tfrecsession.events.read_events`.

    Raises:
        InputError: there is no export, it has no trend or an index that holds its counts, or the log cannot be read,
            has no times or no newer event.
    """
    version = newest_version(path)
    card, file = read_card(version), version / "assets" / FILE
    trend = card.get("trend")
    if trend is None or not file.is_file():
        raise InputError(f"{version}: has no counts to update: export a model with a trend, e.g. trend=[0.25, 1, 7]")
    if card.get("index") == "scann":
        raise InputError(f"{version}: its index scann holds the counts of its export: export again, with another index")
    if not in_place and not version.name.isdecimal():
        raise InputError(f"{version}: its name must be the number of a version, or use in_place=True")
    names = version / "assets" / VOCABULARY
    if not names.is_file():
        raise InputError(f"{version}: some of its item ids have line breaks: export again")
    now, counts = unpacked(file.read_bytes(), len(trend["half_lives"]))
    table = read_events(events, columns, **options)
    if not table.timed:
        raise InputError(f"{table.source}: needs a column of times for counts of recent events")
    log = table.connection.to_pyarrow(table.table.select("item", "time"))
    known = {item: row for row, item in enumerate(names.read_text(encoding="utf-8").split("\n")[:-1], 2)}
    ids = np.array([known.get(item, 1) for item in log["item"].to_pylist()], np.int64)
    times = log["time"].to_numpy().astype(np.int64)
    is_newer = times >= now
    if not is_newer.any():
        raise InputError(f"{table.source}: has no event after {iso(now)}, up to which this export has counted")
    counts, until, added = advanced(counts, now, ids, times, trend["half_lives"])
    content = packed(until, counts)
    unknown, earlier = int((is_newer & (ids < 2)).sum()), int((~is_newer).sum())
    if in_place:
        partial = file.with_name(f"{FILE}.partial-{os.getpid()}")
        with one_line(file):
            partial.write_bytes(content)
            os.replace(partial, file)
        return Updated(version, added, earlier, unknown, until)
    following = version.with_name(str(int(version.name) + 1))
    with staged(following, marker="saved_model.pb") as folder:
        shutil.copytree(version, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(f"{FILE}*"))
        (folder / "assets" / FILE).write_bytes(content)
    return Updated(following, added, earlier, unknown, until)


def packed(now: int, counts: np.ndarray) -> bytes:
    """Returns the content of the file of counts."""
    return np.array([now], "<i8").tobytes() + np.asarray(counts, "<f4").tobytes()


def unpacked(content: bytes, half_lives: int) -> tuple[int, np.ndarray]:
    """Returns the time of the counts, in microseconds since 1970, and float32 [size, half-lives]."""
    return int(np.frombuffer(content[:TIME], "<i8")[0]), np.frombuffer(content[TIME:], "<f4").reshape(-1, half_lives)
