"""CSV logs of trainings."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import keras

from tfrecsession.errors import InputError
from tfrecsession.training.pace import Pace


class CSVLog(keras.callbacks.Callback):
    """A CSV file with a row at the end of every epoch: `epoch` (from 1), `batch`, `learning_rate`,
    `events_per_second`, `seconds`, loss and metrics. `every` adds rows inside the epoch, with the mean loss so far.

        model.fit(batches, epochs=10, callbacks=[trs.training.CSVLog("log.csv", every=1000)])

    A resumed training appends to its file, after removing unfinished rows and those from after its checkpoint. A new
    training replaces the file.

    Args:
        file: its path.
        every: batches between rows inside an epoch; None: only at its end.
    """

    def __init__(self, file: str | Path, every: int | None = None):
        super().__init__()
        self.file, self.every = Path(file), every

    def on_train_begin(self, logs=None):
        self._pace, self._columns = Pace(self.model), None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._batch, self._seconds = epoch, 0, 0.0
        self._pace.pause()
        self._pace.restart()

    def on_train_batch_end(self, batch, logs=None):
        if not logs:  # skipped by a resumed training
            self._batch = batch + 1
            return
        self._begin(self._batch)
        self._pace.step()
        self._batch = batch + 1
        if self.every and self._batch % self.every == 0 and self._batch != self.params["steps"]:
            self._add(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._begin(self._batch)
        self._add(logs or {})

    def _begin(self, batch: int) -> None:
        """Keeps the rows of an earlier file up to `batch`, after which this training begins."""
        if self._columns is not None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        rows = list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1])))
        if text and not {"epoch", "batch"} <= set(text.partition("\n")[0].split(",")):
            raise InputError(f"{self.file}: exists and is not the log of a training: choose another file")
        kept = [row for row in rows if (int(row["epoch"]), int(row["batch"])) <= (self._epoch + 1, batch)]
        self._columns = list(rows[0]) if kept else []
        self._write_all(kept)

    def _add(self, logs: dict) -> None:
        row = {
            "epoch": self._epoch + 1,
            "batch": self._batch,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "events_per_second": round(self._pace.events_per_second, 1),
            "seconds": round(self._pace.seconds, 3),
            **{name: float(value) for name, value in logs.items()},
        }
        new = [name for name in row if name not in self._columns]
        if new:  # the columns of validation come at the end of the first epoch
            earlier = self._rows()
            self._columns += new
            self._write_all(earlier)
        with open(self.file, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="", lineterminator="\n").writerow(row)

    def _rows(self) -> list[dict]:
        with open(self.file, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _write_all(self, rows: list[dict]) -> None:
        with open(self.file, "w", newline="", encoding="utf-8") as file:
            if self._columns:
                writer = csv.DictWriter(file, self._columns, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
