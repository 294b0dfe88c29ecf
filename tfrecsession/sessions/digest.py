"""A fingerprint of columns: equal on every machine and for any cut into parts, different for other values."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Digest:
    """A running hash of columns, updated part by part. It covers their names, values and order of values."""

    def __init__(self):
        self._streams: dict[str, hashlib._Hash] = {}
        self._lengths: dict[str, int] = {}

    def update(self, name: str, column: pa.Array) -> None:
        """Adds values to the column `name`: numbers by their bits, everything else by its text."""
        if pa.types.is_list(column.type):
            self._add(f"{name}: lengths", pc.list_value_length(column))
            column = column.flatten()
        if column.null_count:
            nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
            self._add(f"{name}: nulls at", pa.array(nulls + self._lengths.get(name, 0)))
        self._lengths[name] = self._lengths.get(name, 0) + len(column)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            self._add(name, column.fill_null(0))
        else:
            texts = _texts(column).fill_null("")
            self._add(f"{name}: text lengths", pc.binary_length(texts).cast(pa.int32()))
            self._stream(name).update(_characters(texts))

    def hexdigest(self) -> str:
        """Returns 64 hexadecimal digits for all columns."""
        whole = hashlib.sha256()
        for name in sorted(self._streams):
            whole.update(f"{name}={self._streams[name].hexdigest()}\n".encode())
        return whole.hexdigest()

    def _add(self, name: str, numbers: pa.Array) -> None:
        values = numbers.to_numpy(zero_copy_only=False)
        self._stream(name).update(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)))

    def _stream(self, name: str) -> hashlib._Hash:
        return self._streams.setdefault(name, hashlib.sha256())


def _texts(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structs, bytes
        return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.large_string())


def _characters(texts: pa.LargeStringArray) -> memoryview | bytes:
    """Returns the UTF-8 bytes of an array of texts, end to end."""
    _, offsets, characters = texts.buffers()
    if characters is None:
        return b""
    offsets = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(characters)[offsets[0] : offsets[-1]]
