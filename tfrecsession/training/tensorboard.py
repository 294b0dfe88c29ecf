"""Logs of trainings for TensorBoard."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.training.pace import Pace

PROJECTOR = """embeddings {
  tensor_name: "items"
  tensor_path: "items.vectors.tsv"
  metadata_path: "items.names.tsv"
}
"""


class TensorBoard(keras.callbacks.Callback):
    """Loss, learning rate, events per second and gradient norms every few batches; validation metrics every epoch; at
    the end the vectors of the most popular items, by name, in the projector.

        model.fit(batches, epochs=10, callbacks=[trs.training.TensorBoard("boards/gru4rec")])

    View the logs with `tensorboard --logdir boards`. The steps are batches. Norms are those of each variable's gradient
    and of all together, before clipping. Lazy optimizers compute them: they sum up the rows of a sparse gradient and
    read no table (a step took 0 to 2% longer).

    Args:
        folder: the logs of this training.
        every: batches between points.
        items: the number of items that the projector, which runs in the browser, shows at most; 0: none.

    Raises:
        InputError: TensorBoard is missing, or the folder cannot be written.
    """

    def __init__(self, folder: str | Path, every: int = 100, items: int = 10_000):
        super().__init__()
        if find_spec("tensorboard") is None:  # TensorFlow 2.21 does not bring it
            raise InputError("tensorboard: needs TensorBoard: pip install tensorboard")
        self.folder, self.every, self.items = Path(folder), every, items

    def set_model(self, model):
        super().set_model(model)
        watch = getattr(model.optimizer, "watch_norms", None)
        if watch and watch(model.trainable_variables):
            model.train_function = None  # a step that is traced already has no norms; Keras traces another
        self._norms = getattr(model.optimizer, "norms", None) is not None

    def on_train_begin(self, logs=None):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"tensorboard {self.folder}: cannot write there: {error.strerror}") from None
        self._writer = tf.summary.create_file_writer(str(self.folder))
        self._pace, self._step = Pace(self.model), 0

    def on_epoch_begin(self, epoch, logs=None):
        self._before = epoch * (self.params["steps"] or 0) or self._step  # batches before this epoch
        self._pace.pause()

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._before + batch + 1
        if not logs:  # skipped by a resumed training
            return
        self._pace.step()
        if self._step % self.every == 0:
            self._write({**logs, **self._rates_and_norms()})
            self._pace.restart()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        measured = {f"epoch/{name}": value for name, value in logs.items() if not name.startswith("val_")}
        measured |= {f"validation/{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
        self._write(measured)
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()
        if self.items and "vectors" in self.model.abilities:
            self._project()

    def _rates_and_norms(self) -> dict:
        optimizer = self.model.optimizer
        found = {
            "learning_rate": keras.ops.convert_to_numpy(optimizer.learning_rate),
            "events_per_second": self._pace.events_per_second,
        }
        if self._norms:
            norms = optimizer.norms.numpy()
            paths = [variable.path.partition("/")[2] or variable.path for variable in self.model.trainable_variables]
            found |= {f"gradient_norm/{path}": norm for path, norm in zip(paths, norms, strict=True)}
            found["gradient_norm"] = float(np.sqrt(np.sum(norms**2)))
        return found

    def _write(self, values: dict) -> None:
        with self._writer.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, float(value))

    def _project(self) -> None:
        """Writes the files of the projector, for the first items: those are the most popular ones."""
        names = self.model.items.ids[: self.items]
        vectors = tf.gather(self.model.item_vectors(), tf.range(2, 2 + len(names))).numpy()
        np.savetxt(self.folder / "items.vectors.tsv", vectors, fmt="%.6g", delimiter="\t")
        table = zip(names, self.model.items.counts, strict=False)
        lines = ["item\tevents", *(f"{' '.join(str(name).split())}\t{count}" for name, count in table)]
        (self.folder / "items.names.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.folder / "projector_config.pbtxt").write_text(PROJECTOR, encoding="utf-8")
