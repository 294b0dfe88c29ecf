"""README.md of an export: each signature with its inputs, outputs and a request that works."""

from __future__ import annotations

import inspect
import json
import textwrap

from tfrecsession.export.warm_up import example

PAGE = """\
# {name}

{kind} model for {items:,} items, exported by tfrecsession {version}. `tfrecsession.json` in this folder describes the
export in machine-readable form.

{loads}

- In string inputs `""` is padding, at any position, and unknown ids are skipped.
- A history lists its items oldest first. Only the newest {longest:,} known items are read. A history without a known
  item gets the most popular items.
- Each answer has {k} items, best first. For a shorter list, take the first items. If fewer than {k} items are left, the
  answer ends in `""` with the lowest float32 value as score.
- {seen}
{index}- All inputs of a request have the same number of rows, n.

The commands below send requests for the model `{name}` to a server on this machine. TensorFlow Serving returns a single
output as `"outputs": [...]`, and several as `"outputs": {{"items": [...], ...}}`.

"""

ALONE = """\
It loads with TensorFlow alone: `tf.saved_model.load(PATH).signatures[NAME]`. TensorFlow Serving serves the folder
unchanged."""

SCANN = """\
It contains an op of ScaNN. In Python run `pip install 'tfrecsession[scann]'`, then `from scann import scann_ops` before
`tf.saved_model.load(PATH).signatures[NAME]`. `tfrecsession serve` and `tfrecsession recommend` load the op themselves.
TensorFlow Serving's stock image does NOT have this op and cannot load the folder. It needs a server that is built with
the op, see https://github.com/google-research/google-research/tree/master/scann/tf_serving."""

INDEX = {
    "exact-two-pass": "The answers are exact, found in two passes: bounds of all scores are computed in bfloat16, from "
    "{coordinates} coordinates of rotated vectors, and the {candidates} items with the largest are scored in float32. "
    "If the bounds of the others do not prove the answer, all items that may be in it are scored. The first pass is "
    "fast on processors that multiply bfloat16 (AVX512-BF16, AMX).",
    "exact-bf16": "The search is approximate: item vectors are stored in bfloat16, half the memory of float32. The "
    "best {candidates} items are scored again in float32, from the stored vectors.",
    "exact-int8": "The search is approximate: item vectors are stored in int8 with one scale each, a quarter of the "
    "memory of float32. The best {candidates} items are scored again in float32, from the stored vectors.",
    "ivf": "The search is approximate: the items are in {clusters} clusters, and those of the {probes} nearest to the "
    "history are scored in bfloat16, by {coordinates} coordinates of their vectors. The best {candidates} candidates "
    "are scored exactly. These settings were chosen for a recall of {target_recall}. If a filter leaves fewer than k "
    "candidates, all items are scored.",
    "scann": "ScaNN searches the {num_leaves_to_search} of {num_leaves} leaves nearest to the history. The best "
    "{num_reordering_candidates} candidates are scored exactly. These settings were chosen for a recall of "
    "{target_recall}. If a filter leaves fewer than k candidates, all items are scored.",
}
RECALL = "Recall@{k} against the exact float32 answer: {recall:.4f}, measured at export on {recall_measured_on}."


def readme(model, signatures: dict, name: str, card: dict) -> str:
    """Returns the README of an export, Markdown.

    Args:
        model: a Recommender.
        signatures: name -> tf.function, the signatures of its export.
        name: the name that the model will be served as.
        card: the content of `tfrecsession.json`.
    """
    page = PAGE.format(
        name=name,
        kind=card["model"],
        items=card["items"],
        version=card["versions"]["tfrecsession"],
        k=card["k"],
        longest=card["longest"],
        seen=f"Items of the history in a request {'are never' if card['exclude_seen'] else 'may be'} returned.",
        loads=SCANN if card["index"] == "scann" else ALONE,
        index=_index(card),
    )
    return page + "\n".join(_section(model, key, signature, name) for key, signature in signatures.items())


def _index(card: dict) -> str:
    """Returns a list entry about the index, "" for the exact one."""
    if card["index"] not in INDEX:
        return ""
    text = INDEX[card["index"]].format(**card["index_settings"])
    text += f" {RECALL.format(**card)}" if "recall" in card else ""
    return textwrap.fill(text, 120, initial_indent="- ", subsequent_indent="  ") + "\n"


def _section(model, key: str, signature, name: str) -> str:
    outputs = signature.get_concrete_function().structured_outputs
    description = inspect.cleandoc(signature.python_function.__doc__)
    arrays = example(model, signature, 1, 2)
    rows = [("in", spec.name, spec) for spec in signature.input_signature]
    rows += [("out", output, spec) for output, spec in outputs.items()]
    table = "".join(f"| {way} | `{field}` | {spec.dtype.name} | {_shape(spec)} |\n" for way, field, spec in rows)
    inputs = {field: (rows if rows.dtype == object else rows.astype(int)).tolist() for field, rows in arrays.items()}
    request = json.dumps({"signature_name": key, "inputs": inputs}, ensure_ascii=False, separators=(",", ":"))
    request = request.replace("'", "'\\''")  # for the shell
    command = f"curl -d '{request}' \\\n    http://localhost:8501/v1/models/{name}:predict"
    return f"## {key}\n\n{description}\n\n| | name | dtype | shape |\n|-|-|-|-|\n{table}\n```sh\n{command}\n```\n"


def _shape(spec) -> str:
    rest = "".join(", any" if size is None else f", {size}" for size in spec.shape[1:])
    return f"[n{rest}]"
