"""Cost measurements: latency of one recommendation, size on disk, and the machine."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.models import Recommender

HISTORIES, WARM_UP = 300, 10
LONGEST = 20.0  # seconds; a slow model is timed on fewer histories


def latency(
    model: Recommender, sessions: Sessions, k: int = 20, *, histories: int | None = None, seed: int = 0
) -> dict:
    """Measures the time of `model.recommend` for one session at a time, from item ids to item ids.

    Args:
        model: any model.
        sessions: a split; its sessions, cut after a random event, are the histories.
        k: recommended items per session.
        histories: number of histories (300); fewer if the model is slow or the split is small.
        seed: selects the sessions and where each is cut.

    Returns:
        `p50`, `p99` and `mean` in milliseconds, the number of `histories` measured, and `k`.
    """
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(sessions))[: histories or HISTORIES]
    whole = [sessions.items.decode(sessions[int(session)]).tolist() for session in chosen]
    cut = [history[: random.integers(1, max(len(history), 2))] for history in whole]
    for history in cut[:WARM_UP]:
        model.recommend([history], k=k)
    times, begin = [], time.perf_counter()
    for history in cut:
        start = time.perf_counter()
        model.recommend([history], k=k)
        times.append(1e3 * (time.perf_counter() - start))
        if time.perf_counter() - begin > LONGEST:
            break
    p50, p99 = np.quantile(times, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99), "mean": float(np.mean(times)), "histories": len(times), "k": k}


def size_on_disk(path: str | Path) -> int:
    """Returns the bytes of a file, or of all files of a folder."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def machine() -> dict:
    """Describes this machine: processor, cores this process may use, accelerators, system."""
    import tensorflow as tf

    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": [gpu.get("device_name", "GPU") for gpu in gpus],
        "system": f"{platform.system()} {platform.machine()}",
    }
