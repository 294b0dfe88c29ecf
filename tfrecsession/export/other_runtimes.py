"""Models for LiteRT (TensorFlow Lite) and ONNX: ids in, ids out, the vocabulary beside, no strings in the graph.

DIR/model.tflite or DIR/model.onnx   one session at a time: `history` int32 [1, longest] -> `items`, `scores` [1, k]
DIR/items.json                       the items, each at the index that is its id; "" at 0 (padding) and 1 (unknown)
DIR/tfrecsession.json                sizes, versions, vocabulary
DIR/README.md                        how an answer is asked for
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.index import ExactIndex
from tfrecsession.layers.items.gather import serving
from tfrecsession.recommender.fitted import UNTRAINED, warn_unfitted
from tfrecsession.staging import staged
from tfrecsession.version import __version__

MARKER = "tfrecsession.json"
LONGEST = 50
"""Newest items of a history that are read, by default: these runtimes want a fixed size and compute all of it."""
TOLERANCE = 1e-4  # of scores, against the model's own

README = """\
# {model} for {runtime}

From the ids of a session, oldest first, to the {k} best next items. `items.json` is the list of the items: an id is an
index of it. 0 is padding, 1 an unknown item; both are skipped. Give the newest {longest} items of a longer session.
Where fewer than {k} items are left, the answer ends in 0. A session without a known item gets the most popular items.

```python
import json
import numpy as np
{load}

items = json.load(open("items.json"))
session = {example}
history = np.zeros((1, {longest}), np.int32)
history[0, :len(session)] = [items.index(item) for item in session]
{run}
print([items[i] for i in best[0]])
```

{seen} The file was compared with the model when it was written: the same items, scores within {tolerance}.
"""


class Runtime(NamedTuple):
    """A runtime besides TensorFlow."""

    name: str
    file: str
    convert: object  # tf.function -> the file's bytes; InputError where an op is missing
    load: object  # the file's bytes -> a function from `history` to `items` and `scores`; None: cannot be run here
    code: tuple[str, str]  # of the README: how it is loaded, and run
    missing: frozenset[str] = frozenset()  # ops that some model has and the runtime lacks: refused before the work


def write_for_runtime(
    model,
    path: str | Path,
    format: str,
    *,
    k: int = 20,
    exclude_seen: bool = False,
    longest: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes `model` for another runtime than TensorFlow, one session at a time, and compares it with the model.

    Args:
        model: a Recommender whose ops the converter takes; context of events and requests is missing.
        path: the folder to create.
        format: "litert" (a .tflite file, by TensorFlow's own converter) or "onnx" (by tf2onnx, extra `onnx`).
        k: items per answer.
        exclude_seen: leave out the items of the history.
        longest: newest items of a history that are read; None: 50, or the model's longest history if that is less.
        overwrite: replace an earlier export.

    Returns:
        `path`.

    Raises:
        InputError: the model does not convert, and why; its answers would differ; the path exists, or k or `longest` is
            out of range. No partial export remains.
    """
    runtime = RUNTIMES[format]
    model.check_k(k)
    longest = min(LONGEST, model.longest_history) if longest is None else longest
    if not isinstance(longest, int | np.integer) or longest < 1:
        raise InputError(f"longest={longest!r}: must be a whole number from 1")
    warn_unfitted(model, UNTRAINED)
    model.prepare_export()
    with staged(path, marker=MARKER, overwrite=overwrite) as folder:
        spec, index = tf.TensorSpec((1, int(longest)), tf.int32, name="history"), WithoutBranches(model)

        @tf.function(input_signature=[spec], autograph=False)
        def answer(history):
            with serving(index):
                items, scores = model.answer(history, k, exclude_seen)
            return {"items": items, "scores": scores}

        if lacking := sorted(runtime.missing & _ops(answer)):  # converters say so only after a minute or two
            _refuse(type(model).__name__, format, f"{runtime.name} has no op {lacking[0]}")
        content = runtime.convert(answer, type(model).__name__)
        compared = _compare(
            runtime.load(content), model, int(longest), lambda history: model.answer(history, k, exclude_seen)
        )
        (folder / runtime.file).write_bytes(content)
        items = ["", "", *model.items.ids.tolist()]
        (folder / "items.json").write_text(json.dumps(items, ensure_ascii=False) + "\n", encoding="utf-8")
        card = {
            "format": format,
            "file": runtime.file,
            "bytes": len(content),
            "model": type(model).__name__,
            "items": len(model.items),
            "vocabulary": model.items.fingerprint,
            "k": int(k),
            "exclude_seen": exclude_seen,
            "longest": int(longest),
            "compared": compared,
            "versions": {"tfrecsession": __version__, "tensorflow": tf.__version__},
        }
        (folder / MARKER).write_text(json.dumps(card, indent=2) + "\n")
        load, run = runtime.code
        text = README.format(
            **card | {"items": None},
            runtime=runtime.name,
            load=load,
            run=run,
            example=json.dumps(items[2:4], ensure_ascii=False),
            seen=f"Items of the session {'are never' if exclude_seen else 'may be'} returned.",
            tolerance=TOLERANCE,
        )
        if compared is None:  # onnxruntime is not installed
            text = text[: text.rindex(" The file was compared")] + "\n"
        (folder / "README.md").write_text(text, encoding="utf-8")
    return Path(path)


class WithoutBranches(ExactIndex):
    """The exact answer without branches in the graph and with popularity as a constant, which suits converters."""

    def __init__(self, model):
        super().__init__(model)
        self.popular = np.asarray(model.score_without_history(), np.float32)

    def best(self, encoded, known, k: int, out=None, allowed=None):
        scores = tf.cast(self.model.score_all(encoded), tf.float32)
        return self.model.best_of(tf.where(known[:, None], scores, self.popular), k, out, allowed)


def _compare(converted, model, longest: int, answer) -> int | None:
    """Compares the converted model with the model on random histories; returns their number, None without a runtime.

    Raises:
        InputError: items or scores differ.
    """
    if converted is None:
        return None
    rng, histories = np.random.default_rng(0), np.zeros((6, longest), np.int32)
    for length, row in enumerate(histories):  # the first has no item
        row[: min(length, longest)] = rng.integers(2, model.size, min(length, longest))
    histories[-1] = rng.integers(2, model.size, longest)
    for history in histories[:, None]:
        best, expected = (tensor.numpy() for tensor in answer(tf.constant(history)))
        items, scores = converted(history)
        near = np.abs(scores - expected) <= TOLERANCE * np.maximum(1, np.abs(expected))
        is_tied = np.abs(np.diff(expected, prepend=np.inf, append=-np.inf)) <= TOLERANCE  # may change places
        if not (near & ((items == best) | is_tied[:, :-1] | is_tied[:, 1:])).all():
            name = type(model).__name__
            raise InputError(f"format: the converted {name} answers differently from the model; use 'tf_saved_model'")
    return len(histories)


def _ops(answer) -> set[str]:
    """Returns the names of the ops in the graph of a tf.function and in the functions that it calls."""
    graph = answer.get_concrete_function().graph.as_graph_def()
    return {node.op for nodes in (graph.node, *(part.node_def for part in graph.library.function)) for node in nodes}


def _refuse(name: str, format: str, reason: str):
    raise InputError(
        f"format={format!r}: {name} does not convert, {reason}; format='tf_saved_model' exports every model"
    ) from None


# LiteRT --------------------------------------------------------------------------------------------------------------


def _to_litert(answer, name: str) -> bytes:
    module, concrete = tf.Module(), answer.get_concrete_function()
    module.answer, module.read = answer, [*concrete.variables]
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures={"serving_default": concrete})
            return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:  # of many classes; the first op that is missing says most
            missing = re.search(r"'tf\.(\w+)' op is neither a custom op", str(error))
            line = str(error).strip().partition("\n")[0][:200]
            _refuse(name, "litert", f"LiteRT has no op {missing[1]}" if missing else f"the converter says: {line}")


def _load_litert(content: bytes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter will move to another package
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner()

    def converted(history):
        found = runner(history=history)
        return found["items"], found["scores"]

    return converted


# ONNX ----------------------------------------------------------------------------------------------------------------


def _to_onnx(answer, name: str) -> bytes:
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise InputError(f"format='onnx': needs {error.name}: pip install 'tfrecsession[onnx]'") from None
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it logs what the check below says
    try:
        found, _ = tf2onnx.convert.from_function(answer, input_signature=answer.input_signature, opset=18)
        onnx.checker.check_model(found)
    except Exception as error:
        missing = re.search(r"No Op registered for (\w+)", str(error))
        line = str(error).strip().partition("\n")[0][:200]
        _refuse(name, "onnx", f"tf2onnx has no op {missing[1]}" if missing else f"tf2onnx says: {line}")
    return found.SerializeToString()


def _load_onnx(content: bytes):
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda history: session.run(["items", "scores"], {"history": history})


RUNTIMES = {
    "litert": Runtime(
        "LiteRT",
        "model.tflite",
        _to_litert,
        _load_litert,
        (
            "from ai_edge_litert.interpreter import Interpreter  # pip install ai-edge-litert",
            'answer = Interpreter("model.tflite").get_signature_runner()(history=history)\nbest = answer["items"]',
        ),
        frozenset(["Asin", "AvgPool3D", "Cholesky", "Complex", "LowerBound", "SegmentMax", "UpperBound"]),
    ),
    "onnx": Runtime(
        "ONNX Runtime",
        "model.onnx",
        _to_onnx,
        _load_onnx,
        (
            "import onnxruntime",
            'session = onnxruntime.InferenceSession("model.onnx")\n'
            'best, scores = session.run(["items", "scores"], {"history": history})',
        ),
    ),
}
"""The runtimes by the name of their format."""
