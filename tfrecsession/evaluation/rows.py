"""One row of a comparison: a model fitted and scored, or taken over where that was done before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.measures import Evaluation, fingerprint
from tfrecsession.evaluation.protocol import VERSION, headline
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.staging import staged
from tfrecsession.training.memory import PeakMemory


@dataclass
class Entry:
    """One row of a comparison: a model to fit here, or a run made elsewhere."""

    label: str
    kind: str  # the model's snake-case name
    settings: dict  # all of them
    seed: int
    run: Path
    ours: bool  # whether the run is made here, and made again where it does not fit


def row_of(entry: Entry, data: Data, out: Path, k, progress) -> tuple[dict, Evaluation]:
    """A model's row and evaluation, from the folder where they are there already."""
    if entry.ours and not _fits(entry, data):
        progress(entry.label, "fitting", 0.0)
        training.train(
            data, entry.kind, entry.run, entry.settings, seed=entry.seed, k=k, overwrite=True,
            callbacks=[_Epochs(lambda done: progress(entry.label, "fitting", done))],
        )  # fmt: skip
    place = out / "scores" / entry.label
    key = _key(entry, data, k)
    if (place / "result.json").is_file() and json.loads((place / "result.json").read_text())["key"] == key:
        progress(entry.label, "done", 1.0)
    else:
        with staged(place, marker="result.json", overwrite=True) as folder:
            _score(entry, data, k, key, folder, lambda stage, done=None: progress(entry.label, stage, done))
        progress(entry.label, "done", 1.0)
    row = json.loads((place / "result.json").read_text())["row"]
    with np.load(place / "ranks.npz") as kept:
        scored = Evaluation(row["metrics"], row["events"], ranks=kept["ranks"], event=kept["event"])
    scored.fingerprint = fingerprint(data.test)
    return row, scored


def _fits(entry: Entry, data: Data) -> bool:
    """Whether the run is there, made from this data with these settings."""
    if not (entry.run / "run.json").is_file():
        return False
    info = training.open_run(entry.run).info
    wanted = {"model": entry.kind, "settings": entry.settings, "seed": entry.seed}
    return info["data"]["fingerprint"] == data.fingerprint and wanted == {name: info[name] for name in wanted}


def _key(entry: Entry, data: Data, k) -> dict:
    """What a kept result depends on; another one is measured again."""
    with open(entry.run / "model.keras", "rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return {"protocol": VERSION, "data": data.fingerprint, "k": [int(length) for length in k], "weights": weights}


def _score(entry: Entry, data: Data, k, key: dict, folder: Path, progress) -> None:
    run = training.open_run(entry.run)
    progress("evaluating", 0.0)
    with PeakMemory() as memory:
        model = run.model()
        everything = {"beyond_accuracy": True, "earlier": (data.train, data.validation)}
        scored = evaluate(model, data.test, k, progress=lambda done: progress("evaluating", done), **everything)
    progress("timing")
    row = {
        "model": entry.label,
        "kind": entry.kind,
        "data": data.fingerprint,
        "metrics": scored.metrics,
        "intervals": scored.intervals,
        "slices": scored.slices,
        "events": scored.events,
        "seconds": round(scored.seconds, 3),
        "train_seconds": run.info["seconds"],
        "cost": {
            "events_per_second": scored.events / scored.seconds,
            "latency_ms": cost.latency(model, data.test, min(headline(k), len(data.items))),
            "fit_memory_bytes": run.info.get("memory"),
            "evaluate_memory_bytes": memory.growth,
            "disk_bytes": cost.size_on_disk(entry.run / "model.keras"),
        },
        "seed": entry.seed,
        "settings": entry.settings,
        "versions": run.info.get("versions", {}),
        "run": f"runs/{entry.label}" if entry.ours else str(entry.run),
        "machine": cost.machine(),
    }
    np.savez_compressed(folder / "ranks.npz", ranks=scored.ranks, event=scored.event)
    (folder / "result.json").write_text(json.dumps({"key": key, "row": row}, indent=2, default=float) + "\n")


class _Epochs(keras.callbacks.Callback):
    """Tells how much of a fit is done."""

    def __init__(self, tell: Callable[[float], None]):
        super().__init__()
        self.tell, self.epoch = tell, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        steps = self.params.get("steps") or batch + 1
        self.tell((self.epoch + (batch + 1) / steps) / self.params["epochs"])
