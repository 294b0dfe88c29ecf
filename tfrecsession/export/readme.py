"""The export's own README: its signatures as they are, each with a request that works."""

from __future__ import annotations

import inspect
import json
import textwrap

from tfrecsession.export.warm_up import example

PAGE = """\
# {name}

A {kind} for {items:,} items, written by tfrecsession {version}. `tfrecsession.json` beside this file is for programs.

{loads}

- In strings `""` is padding and may stand anywhere; unknown ids are passed over.
- A history is oldest first. Its newest {longest:,} known items are read, what is older changes nothing. One without a
  known item gets the most popular items.
- Answers hold {k} items, best first; who wants fewer takes the first ones. Where nothing is left there is `""`, with
  the lowest score that a float32 has.
- {seen}
{found}- All inputs of a request have the same number of rows.

The commands ask a server on this machine for its model `{name}`. With one output TensorFlow Serving answers
`"outputs": [...]`, with several `"outputs": {{"items": [...], ...}}`.

"""

ALONE = """\
TensorFlow alone loads it (`tf.saved_model.load(PATH).signatures[NAME]`); TensorFlow Serving takes the folder as it
is."""

SCANN = """\
It holds an op of ScaNN. In Python `pip install 'tfrecsession[scann]'` and say `from scann import scann_ops` before
`tf.saved_model.load(PATH).signatures[NAME]`; `tfrecsession serve` and `tfrecsession recommend` do so themselves.
TensorFlow Serving's stock image does NOT have this op and cannot load the folder: it needs a server that is built with
it, see https://github.com/google-research/google-research/tree/master/scann/tf_serving."""

FOUND = {
    "exact-bf16": "The best items are looked for by vectors in bfloat16, half the memory of float32; the best "
    "{candidates} are scored again, in float32, by the vectors as they are kept.",
    "exact-int8": "The best items are looked for by vectors in int8 with a scale each, a quarter of the memory of "
    "float32; the best {candidates} are scored again, in float32, by the vectors as they are kept.",
    "scann": "The best items are looked for by ScaNN: the {num_leaves_to_search} of {num_leaves} leaves that are "
    "nearest, of them the {num_reordering_candidates} best candidates, which are scored exactly (settings found for a "
    "recall of {target_recall}). Where a filter leaves fewer than k of them, all items are scored.",
}
RECALL = "Recall@{k} against the exact float32 answer: {recall:.4f}, measured at export on {recall_measured_on}."


def readme(model, signatures: dict, name: str, card: dict) -> str:
    """Markdown.

    Args:
        model: a Recommender.
        signatures: name -> tf.function, of its export.
        name: what the model will be called.
        card: what stands in `tfrecsession.json`.
    """
    page = PAGE.format(
        name=name,
        kind=card["model"],
        items=card["items"],
        version=card["versions"]["tfrecsession"],
        k=card["k"],
        longest=card["longest"],
        seen="The items of the history are left out." if card["exclude_seen"] else "Items of the history may return.",
        loads=SCANN if card["index"] == "scann" else ALONE,
        found=_found(card),
    )
    return page + "\n".join(_section(model, key, signature, name) for key, signature in signatures.items())


def _found(card: dict) -> str:
    """A point of the list about an index that is not exact."""
    if "recall" not in card:
        return ""
    text = f"{FOUND[card['index']].format(**card['index_settings'])} {RECALL.format(**card)}"
    return textwrap.fill(text, 120, initial_indent="- ", subsequent_indent="  ") + "\n"


def _section(model, key: str, signature, name: str) -> str:
    outputs = signature.get_concrete_function().structured_outputs
    says = inspect.cleandoc(signature.python_function.__doc__)
    made = example(model, signature, 1, 2)
    rows = [("in", spec.name, spec) for spec in signature.input_signature]
    rows += [("out", output, spec) for output, spec in outputs.items()]
    table = "".join(f"| {way} | `{one}` | {spec.dtype.name} | {_shape(spec)} |\n" for way, one, spec in rows)
    inputs = {one: (value if value.dtype == object else value.astype(int)).tolist() for one, value in made.items()}
    request = json.dumps({"signature_name": key, "inputs": inputs}, ensure_ascii=False, separators=(",", ":"))
    request = request.replace("'", "'\\''")  # for the shell
    command = f"curl -d '{request}' \\\n    http://localhost:8501/v1/models/{name}:predict"
    return f"## {key}\n\n{says}\n\n| | name | dtype | shape |\n|-|-|-|-|\n{table}\n```sh\n{command}\n```\n"


def _shape(spec) -> str:
    rest = "".join(", any" if size is None else f", {size}" for size in spec.shape[1:])
    return f"[n{rest}]"
