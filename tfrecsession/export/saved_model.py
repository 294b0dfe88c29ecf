"""A SavedModel for TensorFlow Serving, and the same file asked from Python."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.export.item_table import FILE as ITEM_TABLE
from tfrecsession.export.item_table import write_item_table
from tfrecsession.export.make_index import make_index
from tfrecsession.export.readme import readme
from tfrecsession.export.scann_ops import load_ops_of
from tfrecsession.export.signatures import ServedModel
from tfrecsession.export.warm_up import write_warm_up
from tfrecsession.staging import NO_ROOM, staged
from tfrecsession.version import __version__


def write_saved_model(
    model,
    path: str | Path,
    *,
    k: int = 20,
    exclude_seen: bool = False,
    longest: int | None = None,
    index: str = "exact",
    target_recall: float = 0.98,
    histories=None,
    overwrite: bool = False,
    about: dict | None = None,
    content=None,
) -> Path:
    """Write `model` as a SavedModel that loads with TensorFlow alone.

    In every string input "" is padding, anywhere, and unknown ids are passed over. "Answer" is `items` string [n, k],
    best first, "" where nothing is left, and `scores` float32 [n, k]. Signatures:

    - `serving_default`, of every model: `items` string [n, events] -> answer.
    - `recommend_filtered`, of every model: `items`, and string [n, any] `exclude`, items to leave out, and `only`,
      items to choose from (a row without any: the whole catalogue) -> answer.
    - `similar_items`, of a model that can say what is alike: `items` string [n] -> answer.
    - `encode`, of a model that scores by dot products: `items` string [n, events] -> `vector` float32 [n, width], and
      `encode_items`: `items` string [n] -> `vector`; products of the two are the scores, biases the last component.
    - `users`, of a model that knows people by name: `users` string [n] -> answer; who is unknown gets popular items.
      `users_filtered`: the same, and `exclude` and `only` as in `recommend_filtered`.
    - `advance`, of a recurrent model, one event further in each of n sessions: `items` string [n] and `state` float32
      [n, width] -> answer and `state`, to be given back with the session's next event. Zeros start a session; the width
      stands in the signature and, as `state_width`, in `assets.extra/tfrecsession.json`.

    A model that keeps something of a person between sessions (HRNN) has seven more; a user state is all zeros for
    somebody new, its width is `user_width` in `assets.extra/tfrecsession.json`:

    - `with_sessions`: `items`, and `sessions` int32 [histories, events], whose number changes where a session starts.
    - `with_user`: `items` of the current session, and `user_state` float32 [n, user_width] -> `items`, `scores`.
    - `with_sessions_filtered`, `with_user_filtered`: the same, and `exclude` and `only` as in `recommend_filtered`.
    - `advance_user`: `items` of a finished session and the `user_state` before it -> the `user_state` after it.
    - `start_session`: `user_state` -> the `state` that `advance` goes on from.
    - `finish_session`: the `state` that `advance` answered last -> the `user_state` after the session.

    `assets.extra` holds a README.md of the signatures, and a request for each of them that TensorFlow Serving warms up
    with (`tf_serving_warmup_requests`). Where the items have titles or images, `items.parquet` holds them for the page
    of `tfrecsession serve`.

    Args:
        model: a Recommender.
        path: the folder of this version; TensorFlow Serving wants its name to be a number ("saved_models/gru4rec/1").
        k: how many items an answer has.
        exclude_seen: leave the items of the history out of the answer; of `advance`, whose state does not remember
            them, the item just given.
        longest: known items of a history that are read, the newest ones; what lies before them changes nothing, nor
            does `exclude_seen` leave it out. A request of any length then costs no more than one of this. None: what
            the model says, `longest_history`. `model.recommend` reads all.
        index: how the best items are found. "exact": by all scores, in float32. Where scores are dot products also
            "exact-bf16": by a table of half the size, sooner; "exact-int8": by a quarter of it, later, both scored in
            float32 at the end; "scann": by TensorFlow Recommenders' ScaNN (extra `scann`, TF_USE_LEGACY_KERAS=1), which
            looks at few of many items and needs a TensorFlow Serving that is built with its op. Their recall against
            the exact answer is measured and stands in the export's README.
        target_recall: what "scann" has to find of the exact answer.
        histories: lists of items, as `recommend` takes them, of which the recall is measured; None: single items.
        overwrite: replace an earlier export.
        about: further entries for `assets.extra/tfrecsession.json`.
        content: a table of items with their titles or images, see `tfrecsession.export.item_table`; None: what the
            catalogue of a prepared data set knows of its items.

    Raises:
        InputError: the path exists, k is larger than the catalogue, `longest` is no whole number from 1, the index is
            none, cannot be had here or cannot reach its target, `content` has nothing to show, or the folder cannot be
            written. Nothing half-written stays.

    Warns where the model has been neither fitted nor read from a file.
    """
    model.check_k(k)
    longest = model.longest_history if longest is None else longest
    if not isinstance(longest, int | np.integer) or longest < 1:
        raise InputError(f"longest={longest!r}: say how many of a history's newest items are read, at least 1")
    warn_unfitted(model)
    with staged(path, marker="saved_model.pb", overwrite=overwrite) as folder, tempfile.TemporaryDirectory() as assets:
        index = make_index(model, index, k, exclude_seen, int(longest), target_recall, histories)
        served = ServedModel(model, Path(assets), k, exclude_seen, int(longest), index)
        _save(served, folder)
        extra = folder / "assets.extra"
        extra.mkdir(exist_ok=True)
        card = {
            "model": type(model).__name__,
            "items": len(model.items.counts),
            "vocabulary": model.items.fingerprint,
            "k": k,
            "exclude_seen": exclude_seen,
            "longest": int(longest),
            "index": index.kind,
            **({} if index.recall is None else measured(index)),
            **({"state_width": model.initial_state().shape[1]} if "advance" in model.abilities else {}),
            "versions": {"tfrecsession": __version__, "tensorflow": tf.__version__},
            **({"user_width": model.user_width} if "user_states" in model.abilities else {}),
            **(about or {}),
        }
        (extra / "tfrecsession.json").write_text(json.dumps(card, indent=2) + "\n")
        name = next(part for part in reversed(Path(path).absolute().parts) if not part.isdigit())  # .../gru4rec/1
        write_item_table(model.items, extra / ITEM_TABLE, content)
        write_warm_up(model, served.signatures, extra, name)
        (extra / "README.md").write_text(readme(model, served.signatures, name, card), encoding="utf-8")
    return Path(path)


def measured(index) -> dict:
    """What is known of an index that is not exact, for `tfrecsession.json`."""
    return {
        "recall": round(index.recall, 4),
        "recall_measured_on": index.measured_on,
        "index_settings": index.settings,
    }


def warn_unfitted(model) -> None:
    """Warn of a model that neither `fit`, nor a training loop with its optimizer, nor a file has told anything."""
    if not model.fitted and not (model.compiled and int(model.optimizer.iterations) > 0):
        text = f"this {type(model).__name__} has never been fitted: what is exported knows nothing of any log"
        warnings.warn(text, stacklevel=4)


def _save(served: ServedModel, folder: Path) -> None:
    concrete = {name: signature.get_concrete_function() for name, signature in served.signatures.items()}
    try:
        custom = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])  # its ops, if there are any
        # as tf.functions they would be traced again
        tf.saved_model.save(served, str(folder), signatures=concrete, options=custom)
    except tf.errors.OpError as error:  # TensorFlow's own writers say by text what Python says by number
        for number in NO_ROOM:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from None
        raise


def newest_version(path: str | Path) -> Path:
    """The SavedModel itself, or the highest numbered version below a model's folder."""
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    versions = [folder for folder in path.glob("*") if folder.name.isdigit() and (folder / "saved_model.pb").is_file()]
    if not versions:
        raise InputError(f"{path} holds no SavedModel: make one with `tfrecsession export RUN --out {path}`")
    return max(versions, key=lambda folder: int(folder.name))


def ask(path: str | Path, histories) -> tuple[np.ndarray, np.ndarray]:
    """Loads a SavedModel and returns its answer: items object [histories, k] of str, scores float32 [histories, k].

    Args:
        path: a SavedModel, or a folder with numbered versions of it.
        histories: as in `recommend`.

    Raises:
        InputError: there is no SavedModel, or a value is not an id.
    """
    histories = text_lists(histories, "histories")
    path = newest_version(path)
    load_ops_of(saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()), path)
    loaded = tf.saved_model.load(str(path))
    longest = max(map(len, histories), default=0)
    padded = [[*history, *[""] * (longest - len(history))] for history in histories]
    rows = tf.reshape(tf.constant(padded, tf.string), (len(histories), longest))
    answer = loaded.signatures["serving_default"](items=rows)
    items = np.array([[item.decode() for item in row] for row in answer["items"].numpy()], dtype=object)
    return items, answer["scores"].numpy()
