"""Training data larger than memory: resident memory and events/s of batches from files, compared with in-memory ones.

python benchmarks/streaming_data.py --make DIR --events 200000000   # once: writes the format of `prepare`
python benchmarks/streaming_data.py --data DIR --memory none,512MB,128MB

Each measurement runs in its own process, which iterates over one epoch of batches without training.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from reporting import write_rows

SESSIONS = 1_000_000  # per part: some 5 million events


def make(folder: Path, events: int, items: int, seed: int = 1) -> None:
    """Writes sessions of 2 or more events, 5 on average, of log-uniform items; validation and test are empty.

    Reading and packing depend on nothing else. Calling `prepare` would take many times longer.
    """
    rng = np.random.default_rng(seed)
    kind = pa.list_(pa.int32())
    splits, written = {}, [0, 0, 0]
    for split in ("train", "validation", "test"):
        (folder / split).mkdir(parents=True)
    while written[1] < events:
        lengths = 1 + rng.geometric(0.25, SESSIONS)
        offsets = np.r_[0, np.cumsum(lengths)].astype(np.int32)
        ids = np.minimum(1 + items ** rng.random(offsets[-1], np.float32), items + 1).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids), type=kind)
        part = folder / "train" / f"part-{written[2]:05}.parquet"
        pq.write_table(
            pa.table({"items": lists}), part, compression="zstd", row_group_size=1 << 16, use_dictionary=False
        )
        written = [written[0] + SESSIONS, written[1] + int(offsets[-1]), written[2] + 1]
    splits["train"] = dict(zip(("sessions", "events", "parts"), written, strict=True))
    for split in ("validation", "test"):
        splits[split] = {"sessions": 0, "events": 0, "parts": 1}
        pq.write_table(pa.table({"items": pa.array([], kind)}), folder / split / "part-00000.parquet")
    catalogue = {"item": [f"i{number}" for number in range(items)], "count": np.ones(items, np.int64)}
    pq.write_table(pa.table(catalogue), folder / "items.parquet")
    info = {"format": 1, "fingerprint": "streaming", "timed": True, "items": items, "splits": splits}
    (folder / "dataset.json").write_text(json.dumps(info))


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def measure(options) -> dict:
    import tfrecsession as trs
    from tfrecsession.batches import datasets  # noqa: F401, loads TensorFlow before memory is measured

    before = resident("VmHWM")
    train = trs.load(options.data).train
    memory = {} if options.memory == "none" else {"memory": options.memory}
    begin = time.perf_counter()
    batches = train.batches(rows=options.rows, steps=options.steps, seed=1, **memory)
    started = time.perf_counter()
    count = sum(1 for _ in batches)
    seconds = time.perf_counter() - started
    assert count == int(batches.cardinality())
    return {
        "events": train.events,
        "memory": options.memory,
        "rows": options.rows,
        "steps": options.steps,
        "batches": count,
        "start_s": round(started - begin, 1),
        "epoch_s": round(seconds, 1),
        "events_per_s": round(train.scored_events / seconds),
        "before_MB": round(before / 1e6),
        "VmHWM_MB": round(resident("VmHWM") / 1e6),
        "grown_MB": round((resident("VmHWM") - before) / 1e6),
        "load_average": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path)
    parser.add_argument("--events", type=int, default=200_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--memory", default="none,512MB,128MB")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--one", action="store_true", help="measure in this process and print the result")
    options = parser.parse_args()
    if options.make:
        return make(options.make, options.events, options.items)
    if options.one:
        options.data = options.data[0]
        return print(json.dumps(measure(options)))
    rows = []
    for data in options.data:
        for memory in options.memory.split(","):
            command = [sys.executable, __file__, "--one", "--data", data, "--memory", memory]
            command += ["--rows", str(options.rows), "--steps", str(options.steps)]
            rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
            write_rows("streaming_data", rows)  # after each, as a long run may be interrupted
    return None


if __name__ == "__main__":
    main()
