"""Size and time of a click in LiteRT and ONNX, on one core: python benchmarks/other_runtimes.py [--format onnx].

An untrained GRU4Rec of 100 units; an answer costs the same whatever its weights are.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import tfrecsession as trs
from tfrecsession.sessions.vocabulary import Items

warnings.simplefilter("ignore")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--longest", type=int, default=50)
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--format", choices=["litert", "onnx"], default="litert")
    options = parser.parse_args()
    items = Items([f"item-{number}" for number in range(options.items)], np.arange(options.items, 0, -1))
    model = trs.models.GRU4Rec(items, units=[100])
    with tempfile.TemporaryDirectory() as folder:
        path = model.export(Path(folder) / "model", options.format, k=20, longest=options.longest)
        (file,) = [file for file in path.iterdir() if file.stem == "model"]
        ask, size = asker(file), file.stat().st_size
        rng = np.random.default_rng(0)
        times = []
        for _ in range(options.clicks):
            history = rng.integers(2, model.size, (1, options.longest)).astype(np.int32)
            begin = time.perf_counter()
            ask(history)
            times.append(1000 * (time.perf_counter() - begin))
    p50, p90 = np.percentile(times, [50, 90])
    print(f"{options.format}, {options.items:,} items: {size / 1e6:.1f} MB, p50 {p50:.2f} ms, p90 {p90:.2f} ms a click")


def asker(file: Path):
    """Returns a function from a history to an answer, on one core."""
    if file.suffix == ".tflite":
        import tensorflow as tf

        runner = tf.lite.Interpreter(str(file), num_threads=1).get_signature_runner()
        return lambda history: runner(history=history)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)
    return lambda history: session.run(["items", "scores"], {"history": history})


if __name__ == "__main__":
    main()
