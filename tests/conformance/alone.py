"""A process with TensorFlow and without this package: asks exports, one JSON line after the other.

A line of standard input is [path, signature, requests], with the `items` of each request, or a dict of its inputs. The
answer is a line that begins with "answer": {"answers": [[items, scores], ...]}, or {"error": traceback}. A signature
with a `state` goes on from zeros with the state that it answered.
"""

import json
import sys
import traceback

import numpy as np
import tensorflow as tf

sys.modules["tfrecsession"] = None  # as if it were not installed


def ask(path, name, requests):
    export = tf.saved_model.load(path)
    signature, state, answers = export.signatures[name], {}, []
    spec = signature.structured_input_signature[1].get("state")
    for items in requests:
        inputs = items if isinstance(items, dict) else {"items": items}
        if spec is not None:
            state = state or {"state": tf.zeros((len(inputs["items"]), spec.shape[1]))}
        answer = signature(**{name: tf.constant(value) for name, value in inputs.items()}, **state)
        if spec is not None:
            state = {"state": answer["state"]}
        items = np.vectorize(bytes.decode, otypes=[object])(answer["items"].numpy()).tolist()
        answers.append([items, answer["scores"].numpy().tolist()])
    return answers


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            answer = {"answers": ask(*json.loads(line))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print("answer", json.dumps(answer), flush=True)
