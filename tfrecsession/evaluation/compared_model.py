"""One row of a comparison: fits and scores a model, or reuses an earlier result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np

from tfrecsession import training
from tfrecsession.batches import Data, Sessions
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.compared_runs import Entry, fits
from tfrecsession.evaluation.measures import Evaluation, fingerprint
from tfrecsession.evaluation.protocol import VERSION, headline
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.models import Popularity
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.staging import staged
from tfrecsession.training.memory import PeakMemory

WARM_UP = 5000  # sessions


def row_of(
    entry: Entry, data: Data, out: Path, k, progress, events: list[str] | None = None
) -> tuple[dict, Evaluation]:
    """Returns a model's row and evaluation; reuses those in the folder `out` if they are up to date."""
    tell = partial(progress, entry.label)
    if not fits(entry, data):
        tell("fitting", 0.0)
        epochs = _Epochs(partial(tell, "fitting"))
        options = {"seed": entry.seed, "k": k, "overwrite": True, "callbacks": [epochs], "validate": False}
        options["defaults"] = entry.defaults
        training.train(data, entry.kind, entry.run, entry.settings, **options)
    place = out / "scores" / entry.label
    if not _scored(entry, data, place, k, events):
        with staged(place, marker="result.json", overwrite=True) as folder:
            _score(entry, data, k, events, folder, tell)
    tell("done", 1.0)
    row = json.loads((place / "result.json").read_text())["row"]
    with np.load(place / "ranks.npz") as kept:
        scored = Evaluation(row["metrics"], row["events"], ranks=kept["ranks"], event=kept["event"])
    scored.fingerprint = fingerprint(data.test)
    return row, scored


def finished(entry: Entry, data: Data, out: Path, k, events: list[str] | None = None) -> bool:
    """Returns whether this row is up to date."""
    return fits(entry, data) and _scored(entry, data, out / "scores" / entry.label, k, events)


def warm_up(data: Data, k) -> None:
    """Warms up what all models share (TensorFlow, the data, score buffers) before the first model is measured.

    Otherwise the first model of a comparison seems to take half a gigabyte more than the others.
    """
    test = data.test
    some = min(len(test), WARM_UP)
    few = SessionArrays(test.items, test.values[: test.offsets[some]], test.offsets[: some + 1])
    model = Popularity(data.items)
    model.fit(data.train)
    if (few.values > 1).any() and len(few.values) > some:
        evaluate(model, Sessions(few, "test"), k, beyond_accuracy=True)


def _scored(entry: Entry, data: Data, place: Path, k, events: list[str] | None) -> bool:
    """Returns whether the stored result is up to date."""
    return (place / "result.json").is_file() and (
        json.loads((place / "result.json").read_text())["key"] == _key(entry, data, k, events)
    )


def _key(entry: Entry, data: Data, k, events: list[str] | None) -> dict:
    """Returns what a stored result depends on; if any of it changes, the model is evaluated again."""
    with open(entry.run / "model.keras", "rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    told = {"settings": entry.settings, "seed": entry.seed, "weights": weights}
    told |= {} if events is None else {"events": events}
    return {"protocol": VERSION, "data": data.fingerprint, "k": [int(length) for length in k], **told}


def _score(entry: Entry, data: Data, k, events: list[str] | None, folder: Path, tell) -> None:
    run = training.open_run(entry.run)
    tell("evaluating", 0.0)
    with PeakMemory() as memory:
        model = run.model()
        everything = {"beyond_accuracy": True, "earlier": (data.train, data.validation), "events": events}
        scored = evaluate(model, data.test, k, progress=partial(tell, "evaluating"), **everything)
    tell("timing", None)
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
        "defaults": run.info.get("defaults", {}),
        "versions": run.info.get("versions", {}),
        "run": f"runs/{entry.label}" if entry.ours else str(entry.run),
        "machine": cost.machine(),
    }
    np.savez_compressed(folder / "ranks.npz", ranks=scored.ranks, event=scored.event)
    result = {"key": _key(entry, data, k, events), "row": row}
    (folder / "result.json").write_text(json.dumps(result, indent=2, default=float) + "\n")


class _Epochs(keras.callbacks.Callback):
    """Reports the completed share of a fit, from 0 to 1."""

    def __init__(self, tell: Callable[[float], None]):
        super().__init__()
        self.tell, self.epoch = tell, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        steps = self.params.get("steps") or batch + 1
        self.tell((self.epoch + (batch + 1) / steps) / self.params["epochs"])
