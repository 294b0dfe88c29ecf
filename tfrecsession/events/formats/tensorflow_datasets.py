"""Reader of data sets that TensorFlow Datasets has prepared on this machine: "tfds:movielens/100k-ratings"."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tfrecsession.errors import InputError

PREFIX = "tfds:"
ROWS = 1 << 16  # per batch
NAMES = {"movie_id": "item", "user_id": "user", "user_rating": "rating", "timestamp": "time"}  # MovieLens


def open_tfds(spec: str) -> pa.RecordBatchReader:
    """Reads the examples of all splits, one number or text per column; MovieLens' columns get our names.

    Nothing is downloaded: the data set must be prepared in TFDS_DATA_DIR (default: ~/tensorflow_datasets).

    Raises:
        InputError: TensorFlow Datasets is not installed, has no such data set, or its files are missing.
    """
    name = spec.removeprefix(PREFIX)
    try:
        import tensorflow_datasets as tfds  # heavy, and an extra
    except ImportError as error:
        raise InputError(f"{spec}: needs TensorFlow Datasets: pip install tfrecsession[datasets] ({error})") from None
    folder = os.environ.get("TFDS_DATA_DIR")
    try:
        builder = tfds.builder(name, data_dir=folder, try_gcs=False)
    except Exception as error:  # its type for an unknown name varies
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{spec}: TensorFlow Datasets has no such data set: {reason}") from error
    if not builder.is_prepared():
        raise InputError(
            f'{spec}: its files are not in {builder.data_dir}: run python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}')\" once with network access, or set TFDS_DATA_DIR to their folder"
        )
    kinds = {column: kind for column, feature in builder.info.features.items() if (kind := _kind(feature)) is not None}
    schema = pa.schema([(NAMES.get(column, column), kind) for column, kind in kinds.items()])
    return pa.RecordBatchReader.from_batches(schema, _batches(builder, list(kinds), schema))


def _kind(feature) -> pa.DataType | None:
    """Returns the type of a column; None if it is not a single number or text."""
    if getattr(feature, "shape", None) != ():
        return None
    dtype = np.dtype(feature.np_dtype)
    return pa.string() if dtype.kind in "OSU" else pa.from_numpy_dtype(dtype)


def _batches(builder, columns: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import tensorflow as tf

    for split in sorted(builder.info.splits):
        examples = builder.as_dataset(split=split, shuffle_files=False, decoders=None)
        examples = examples.map(lambda example: {name: example[name] for name in columns})
        for batch in examples.batch(ROWS).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            arrays = [pa.array(batch[name]) for name in columns]
            # TensorFlow's texts are bytes
            yield pa.record_batch(
                [array.cast(kind) for array, kind in zip(arrays, schema.types, strict=True)], schema=schema
            )
