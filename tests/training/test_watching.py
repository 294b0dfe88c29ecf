"""Progress, CSV log and TensorBoard log of a training."""

import csv
import io

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, training
from tfrecsession.training.pace import Pace


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=60, sessions=300, seed=1)


def compiled(data, **options):
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(data.items, units=[4], negatives=trs.negatives.Popularity(8))
    model.compile(trs.optimizers.LazyAdagrad(0.1, **options), trs.losses.CrossEntropy(), [trs.metrics.Recall(5)])
    return model, data.train.batches(rows=8, steps=6, seed=1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_writes_a_line_per_epoch_to_a_file(data):
    model, batches = compiled(data)
    out = io.StringIO()
    history = model.fit(
        batches, validation_data=data.validation, epochs=2, verbose=0, callbacks=[training.Progress(out)]
    ).history
    first, second = out.getvalue().splitlines()
    assert first.startswith(f"epoch 1/2  loss {history['loss'][0]:.4f}  val_loss")
    assert f"val_recall@5 {history['val_recall@5'][1]:.4f}" in second and " events/s" in second


def test_progress_updates_one_line_on_a_terminal(data, monkeypatch):
    monkeypatch.setattr("tfrecsession.training.progress.EVERY", 0.0)
    monkeypatch.setenv("COLUMNS", "100")
    model, batches = compiled(data)
    out = Terminal()
    model.fit(batches, validation_data=data.validation, epochs=2, verbose=0, callbacks=[training.Progress(out)])
    shown = out.getvalue().split("\r")
    assert out.getvalue().count("\n") == 2
    assert any("epoch 1/2  validating" in line for line in shown)
    steps = int(batches.cardinality())
    (half,) = (line for line in shown if line.startswith(f"epoch 2/2  {3 / steps:.0%}  loss "))
    assert half.split("  ")[-1].endswith("left") or half.rstrip().endswith("left")
    assert "events/s" in half and len(half) < 100


def test_the_pace_counts_targets(data):
    model, batches = compiled(data)

    class Count(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.pace = Pace(self.model)

        def on_epoch_begin(self, epoch, logs=None):
            self.pace.pause()

        def on_train_batch_end(self, batch, logs=None):
            self.pace.step()

    count = Count()
    targets = [(batch[1].numpy() > 0).sum() for batch in data.train.batches(rows=8, steps=6, seed=1)]
    model.fit(batches, epochs=1, verbose=0, callbacks=[count])
    assert count.pace.events == sum(targets[1:]) and count.pace.batches == len(targets) - 1
    assert count.pace.events_per_second == pytest.approx(count.pace.events / count.pace.seconds)


def rows_of(file):
    return list(csv.DictReader(file.open()))


def test_the_csv_log_has_rows_per_epoch_and_in_between(data, tmp_path):
    model, batches = compiled(data)
    steps = int(batches.cardinality())
    log = training.CSVLog(tmp_path / "logs" / "log.csv", every=4)
    history = model.fit(
        batches,
        validation_data=data.validation,
        epochs=2,
        verbose=0,
        callbacks=[training.LinearDecay(), log],
    ).history
    rows = rows_of(tmp_path / "logs" / "log.csv")
    expected = [(epoch, batch) for epoch in (1, 2) for batch in [*range(4, steps, 4), steps]]
    assert [(int(row["epoch"]), int(row["batch"])) for row in rows] == expected
    ends = [row for row in rows if row["batch"] == str(steps)]
    assert [float(row["loss"]) for row in ends] == history["loss"]
    assert [float(row["val_recall@5"]) for row in ends] == history["val_recall@5"]
    assert rows[0]["val_recall@5"] == "" and float(rows[0]["events_per_second"]) > 0
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.1 * (1 - 3 / (2 * steps)))
    # a new training replaces the file
    model.fit(batches, epochs=1, verbose=0, callbacks=[training.CSVLog(tmp_path / "logs" / "log.csv")])
    assert len(rows_of(tmp_path / "logs" / "log.csv")) == 1


def test_the_csv_log_of_a_resumed_training_continues(data, tmp_path):
    """Resumes after batch 6 of epoch 2: later rows and an unfinished row are removed."""
    file = tmp_path / "log.csv"
    file.write_text("epoch,batch,loss\n1,8,5.0\n2,4,4.5\n2,6,4.4\n2,8,4.2\n3,4,")
    log = training.CSVLog(file, every=2)
    log.set_model(compiled(data)[0])
    log.set_params({"steps": 8})
    log.on_train_begin()
    log.on_epoch_begin(1)
    for batch in range(8):
        log.on_train_batch_end(batch, {"loss": 4.0} if batch >= 6 else {})  # skipped, then trained
    log.on_epoch_end(1, {"loss": 4.0, "val_loss": 3.0})
    rows = [(row["epoch"], row["batch"], row["loss"], row["val_loss"]) for row in rows_of(file)]
    assert rows == [("1", "8", "5.0", ""), ("2", "4", "4.5", ""), ("2", "6", "4.4", ""), ("2", "8", "4.0", "3.0")]
    # a checkpoint at the end of an epoch
    log.on_train_begin()
    log.on_epoch_begin(1)
    log.on_train_batch_end(0, {"loss": 4.0})
    assert [row["epoch"] for row in rows_of(file)] == ["1"]


def scalars(folder):
    """Returns the values of each tag: tag -> [(step, value)]."""
    found = {}
    for file in sorted(folder.glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def test_tensorboard_has_scalars_and_item_vectors(data, tmp_path):
    model, batches = compiled(data)
    steps = int(batches.cardinality())
    history = model.fit(
        batches,
        validation_data=data.validation,
        epochs=2,
        verbose=0,
        callbacks=[training.TensorBoard(tmp_path, every=2, items=5)],
    ).history
    seen = scalars(tmp_path)
    assert [step for step, _ in seen["loss"]] == list(range(2, 2 * steps + 1, 2))
    assert seen["learning_rate"][0][1] == pytest.approx(0.1) and seen["events_per_second"][-1][1] > 0
    assert seen["epoch/loss"] == [
        (steps, pytest.approx(history["loss"][0])),
        (2 * steps, pytest.approx(history["loss"][1])),
    ]
    assert [value for _, value in seen["validation/recall@5"]] == pytest.approx(history["val_recall@5"])
    parts = [tag for tag in seen if tag.startswith("gradient_norm/")]
    assert len(parts) == len(model.trainable_variables)
    whole = np.sqrt(sum(np.square([value for _, value in seen[part]]) for part in parts))
    np.testing.assert_allclose([value for _, value in seen["gradient_norm"]], whole, rtol=1e-5)

    # the files of the projector
    names = (tmp_path / "items.names.tsv").read_text().splitlines()
    assert names == [
        "item\tevents",
        *(f"{i}\t{n}" for i, n in zip(data.items.ids[:5], data.items.counts, strict=False)),
    ]
    vectors = np.loadtxt(tmp_path / "items.vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(vectors, model.output_items.table.numpy()[2:7], rtol=1e-5, atol=1e-7)
    projector = pytest.importorskip("tensorboard.plugins.projector")
    from google.protobuf import text_format

    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), projector.ProjectorConfig())
    assert (tmp_path / config.embeddings[0].tensor_path).exists() and (
        tmp_path / config.embeddings[0].metadata_path
    ).exists()


def test_norms_are_of_the_summed_gradient_before_clipping():
    table, bias = keras.Variable(np.ones((4, 2), np.float32)), keras.Variable(np.zeros(3, np.float32))
    optimizer = trs.optimizers.LazyAdagrad(0.1, global_clipnorm=0.01)
    assert optimizer.watch_norms([table, bias]) and not optimizer.watch_norms([table, bias])
    twice = tf.IndexedSlices(tf.constant([[1.0, 2.0], [2.0, 2.0], [1.0, 0.0]]), tf.constant([1, 3, 1]), (4, 2))
    optimizer.apply([twice, tf.constant([3.0, 0.0, 4.0])], [table, bias])
    np.testing.assert_allclose(optimizer.norms.numpy(), [np.sqrt(4 + 4 + 4 + 4), 5.0], rtol=1e-6)
    optimizer.apply([tf.constant([0.0, 0.0, 2.0])], [bias])  # a variable without a gradient keeps its norm
    np.testing.assert_allclose(optimizer.norms.numpy(), [4.0, 2.0], rtol=1e-6)


def test_logging_does_not_change_the_training(data, tmp_path):
    plain, batches = compiled(data)
    plain.fit(batches, epochs=1, verbose=0)
    watched, batches = compiled(data)
    calls = [
        training.TensorBoard(tmp_path / "board"),
        training.CSVLog(tmp_path / "log.csv"),
        training.Progress(io.StringIO()),
    ]
    watched.fit(batches, epochs=1, verbose=0, callbacks=calls)
    for expected, weight in zip(plain.weights, watched.weights, strict=True):
        assert (weight.numpy() == expected.numpy()).all()
    watched.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").optimizer.norms is None


@pytest.mark.slow
def test_a_run_has_its_csv_log_and_its_tensorboard_folder(data, tmp_path):
    settings = training.settings_of("gru4rec", {"units": [4], "epochs": 1, "negatives": 8})
    training.train(data, "gru4rec", tmp_path / "run", settings, tensorboard=tmp_path / "board")
    assert len(rows_of(tmp_path / "run" / "log.csv")) == 1 and (tmp_path / "board" / "items.names.tsv").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="tensorboard .*file: cannot write there"):
        training.train(data, "gru4rec", tmp_path / "other", settings, tensorboard=tmp_path / "file")


def test_tensorboard_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("tfrecsession.training.tensorboard.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        trs.training.TensorBoard(tmp_path / "board")
