"""Writing a model as a SavedModel for TensorFlow Serving."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.item_table import FILE as ITEM_TABLE
from tfrecsession.export.item_table import write_item_table
from tfrecsession.export.make_index import make_index
from tfrecsession.export.readme import readme
from tfrecsession.export.signatures import ServedModel
from tfrecsession.export.trend_counts import card_of as trend_card
from tfrecsession.export.warm_up import write_warm_up
from tfrecsession.recommender.arguments import check_whole
from tfrecsession.recommender.fitted import UNTRAINED, warn_unfitted, warn_user
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
    clusters: int | None = None,
    overwrite: bool = False,
    about: dict | None = None,
    content=None,
    reasons: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Writes `model` as a SavedModel that loads with TensorFlow alone.

    In every string input "" is padding, at any position, and unknown ids are skipped. An "answer" is `items` string
    [n, k], best first, "" where fewer than k items are left, and `scores` float32 [n, k]. Signatures of every model:

    - `serving_default`: `items` string [n, events], oldest first -> answer.
    - `recommend_filtered`: `items`, and string [n, any] `exclude`, items to leave out, and `only`, items to choose from
      (a row of padding: the whole catalogue) -> answer.

    - `recommend_with_rules`: `items`, `exclude`, `only`, and `rules` string [n, any], filters by the items' content,
      boosts, quotas, diversity and pinned items as texts, see `tfrecsession.rules.rules` -> answer, `removed` int32
      [n, any], the items that each rule removed, and `note` string [n], why a list is shorter than k. The columns are
      in `assets.extra/tfrecsession.json` as `rules`.

    Signatures of some models:

    - `similar_items`, models with item similarities: `items` string [n] -> answer.
    - `encode` and `encode_items`, models that score by dot products: `items` string [n, events] and string [n] ->
      `vector` float32 [n, width]. Dot products of the two are the scores; item biases are the last component.
    - `users`, models that know users by id: `users` string [n] -> answer; unknown users get popular items.
      `users_filtered`: the same, with `exclude` and `only` as in `recommend_filtered`.
    - `advance`, recurrent models, adds one event to each of n sessions: `items` string [n] and `state` float32
      [n, width] -> answer and `state`, the input of the session's next event. Zeros start a session. The width is in
      the signature, and in `assets.extra/tfrecsession.json` as `state_width`.

    Signatures of models that read context. The other signatures answer with all context missing. All values are texts,
    also numbers, and "" is missing. The inputs are listed in `assets.extra/tfrecsession.json` as `context`:

    - `recommend_in_context`: `items`; `context_NAME` string [n, events], aligned with `items`; `request_NAME` string
      [n], what is known of the request; `context_time` and `request_time`, seconds since 1970, from which gap, hour,
      weekday and month follow -> answer. `recommend_in_context_filtered`: the same, with `exclude` and `only`.
    - `recommend_in_context_with_rules`: the inputs of both -> the outputs of `recommend_with_rules`.
    - `advance_in_context`: as `advance`, with string [n] for each column.

    Signatures of an export with `reasons`:

    - `explain`: `items` -> answer, and for each item `because` string [n, k, reasons], the items of the events that
      carried it, and `weights` float32 [n, k, reasons], the parts of the score that they carried. Models that read
      content add `features` float32 [n, k, features], what the score owes to each column, and `feature_names` string
      [n, features]. Vectors, images and sounds are left out: an export does not hold them.
    - `explain_in_context`, models that read context: the inputs of `recommend_in_context` -> the outputs of `explain`,
      with features of the context, too.

    Signatures of models with user states (HRNN). A `user_state` is float32 [n, user_width], zeros for a new user. Its
    width is in `assets.extra/tfrecsession.json` as `user_width`:

    - `with_sessions`: `items`, and `sessions` int32 [n, events], whose value changes where a session starts -> answer.
    - `with_user`: `items` of the current session and `user_state` -> answer.
    - `with_sessions_filtered`, `with_user_filtered`: the same, with `exclude` and `only` as in `recommend_filtered`.
    - `advance_user`: `items` of a finished session and the `user_state` before it -> the `user_state` after it.
    - `start_session`: `user_state` -> the `state` for the first `advance` of a session.
    - `finish_session`: the `state` that `advance` returned last -> the `user_state` after the session.

    The item counts of a model with `trend` are the file `assets/item_counts.bin`, see `update_counts`.

    `assets.extra` holds a README.md of the signatures and warm-up requests for TensorFlow Serving
    (`tf_serving_warmup_requests`). If the items have titles or images, `items.parquet` holds them for the page of
    `tfrecsession serve`.

    Args:
        model: a Recommender.
        path: the folder of this version; its name must be a number for TensorFlow Serving ("saved_models/gru4rec/1").
        k: items per answer.
        exclude_seen: leave out the items of the history; `advance`, whose state does not store them, leaves out only
            the item just given.
        longest: newest known items of a history that are read, at least 1. Older items change nothing, and
            `exclude_seen` does not leave them out. This bounds the cost of a request. None: `model.longest_history`.
            `model.recommend` reads all.
        index: how the best items are found. "exact": all scores, in float32. Models that score by dot products also
            have "exact-two-pass", the same answers from bounds of the scores in bfloat16, faster on processors that
            multiply such numbers, with tables up to half as large again; "exact-bf16", a table of half the size,
            faster, and "exact-int8", a quarter of it, slower; both compute the best scores again in float32. Two search
            a small part of many items: "ivf", clusters of the item vectors, with core ops alone, and "scann",
            TensorFlow Recommenders' ScaNN (extra `scann`, TF_USE_LEGACY_KERAS=1), which needs a TensorFlow Serving that
            is built with its op. The recall against the exact answer is measured and recorded in the export's README.
        target_recall: the share of the exact answer that "ivf" and "scann" must find, above 0 and below 1.
        histories: lists of items, as in `recommend`, to measure the recall on; None: single items.
        clusters: number of clusters of "ivf", at most the number of items; None: chosen by it.
        overwrite: replace an earlier export.
        about: further entries for `assets.extra/tfrecsession.json`.
        content: a table of items with their titles or images, see `tfrecsession.export.item_table`; None: the content
            of the prepared data set's catalogue.
        reasons: events that the signature `explain` names for each item. 0, the default, leaves the signature out: its
            requests cost up to 50 times as much as others, which a server has to expect.
        progress: called with the name of each step when it begins.

    Returns:
        `path`.

    Raises:
        InputError: the path exists, k is larger than the catalogue, `longest` is not a whole number from 1, the index
            is unknown, not available or cannot reach its target, `content` has no titles or images, or the folder
            cannot be written. No partial export remains.

    Warns:
        UserWarning: the model was neither fitted nor loaded from a file, or the name of the folder is not a number.
    """
    model.check_k(k)
    longest = model.longest_history if longest is None else longest
    if not isinstance(longest, int | np.integer) or longest < 1:
        raise InputError(
            f"longest={longest!r}: must be a whole number from 1, the newest items of a history that are read"
        )
    check_whole("reasons", reasons, 0)
    warn_unfitted(model, UNTRAINED)
    if not Path(path).name.isdecimal():
        warn_user(f"{path}: is no version that TensorFlow Serving loads: to serve it, export to {Path(path) / '1'}")
    tell = progress or (lambda step: None)
    tell("preparing the model")
    model.prepare_export()
    with staged(path, marker="saved_model.pb", overwrite=overwrite) as folder, tempfile.TemporaryDirectory() as assets:
        tell(f"making the index {index}")
        index = make_index(model, index, k, exclude_seen, int(longest), target_recall, histories, clusters)
        tell("building the signatures")
        served = ServedModel(model, Path(assets), k, exclude_seen, int(longest), index, int(reasons))
        tell(f"tracing and writing {len(served.signatures)} signatures")
        _save(served, folder)
        tell("writing the items")
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
            **index_card(index),
            **({"state_width": model.initial_state().shape[1]} if "advance" in model.abilities else {}),
            "versions": {"tfrecsession": __version__, "tensorflow": tf.__version__},
            **({"rules": model.known_rules(k)} if "rules" in model.abilities else {}),
            **({"user_width": model.user_width} if "user_states" in model.abilities else {}),
            **({"context": served.context_inputs.card()} if "context" in model.abilities else {}),
            **({} if model.trend_head is None else {"trend": trend_card(model.trend_head)}),
            **({"itemless": True} if model.context is not None and model.context.itemless else {}),
            **({"reasons": int(reasons)} if reasons else {}),
            **(about or {}),
        }
        (extra / "tfrecsession.json").write_text(json.dumps(card, indent=2) + "\n")
        name = next(part for part in reversed(Path(path).absolute().parts) if not part.isdigit())  # .../gru4rec/1
        write_item_table(model.items, extra / ITEM_TABLE, content)
        model.write_export_extras(extra)
        tell("writing warm-up requests")
        write_warm_up(model, served.signatures, extra, name)
        (extra / "README.md").write_text(readme(model, served.signatures, name, card), encoding="utf-8")
    return Path(path)


def index_card(index) -> dict:
    """Returns the entries of `tfrecsession.json` for an index with settings: these, and a recall unless it is exact."""
    settings = {"index_settings": index.settings} if index.settings else {}
    if index.recall is None:
        return settings
    return {"recall": round(index.recall, 4), "recall_measured_on": index.measured_on, **settings}


def _save(served: ServedModel, folder: Path) -> None:
    # concrete functions, since tf.functions would be traced again
    concrete = {name: signature.get_concrete_function() for name, signature in served.signatures.items()}
    try:
        custom = tf.saved_model.SaveOptions(namespace_whitelist=["Scann"])  # the ops of ScaNN, if the index uses them
        tf.saved_model.save(served, str(folder), signatures=concrete, options=custom)
    except tf.errors.OpError as error:  # TensorFlow's writers give the system's error as text, not as errno
        for code in NO_ROOM:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code)) from None
        raise
