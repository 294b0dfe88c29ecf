"""The methods of Keras work with every model as in Keras, or are refused by an InputError that says what to use."""

import contextlib
import io
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.recommender.pair_model import PairModel

pytestmark = pytest.mark.shared

LOSSES = [
    trs.losses.CrossEntropy(),
    trs.losses.CrossEntropy(logq=1.0),
    trs.losses.CrossEntropy(0.1, top=4),
    trs.losses.GBCE(),
    trs.losses.BPR(),
    trs.losses.BPRMax(regularization=1.0),
    trs.losses.TOP1(),
    trs.losses.TOP1Max(),
]


def batches_of(model, data, **options):
    """Returns small batches of the train split, as the model reads them."""
    model.count_trend(data.train)
    options |= {"one_target": model.reads.one_target, "by_user": model.reads.by_user}
    options |= {"context": model.training_context}
    return data.train.batches(rows=model_rows(model), steps=6, seed=1, **options)


def model_rows(model):
    return getattr(model, "lanes", None) or 8


def weights_of(model):
    return [np.array(variable) for variable in model.trainable_variables]


def gru(items, optimizer=None, loss=None, negatives=None, **options):
    """Returns a small GRU4Rec, compiled, the same at every call."""
    keras.utils.set_random_seed(3)
    negatives = negatives or trs.negatives.Popularity(16, seed=1)
    model = trs.models.GRU4Rec(items, units=[8], dropout=0.0, negatives=negatives)
    loss = trs.losses.CrossEntropy() if loss is None else loss
    model.compile(optimizer or keras.optimizers.SGD(0.5), loss, **{"metrics": [trs.metrics.Recall(20)], **options})
    return model


# Every kind of model -------------------------------------------------------------------------------------------------


def test_summary_and_count_params_before_and_after_fit(name, built, fitted, data):
    model, _ = built(name, data.items)
    for each in (model, fitted(name)):
        lines = []
        each.summary(print_fn=lambda line, lines=lines, **_: lines.append(line))
        assert each.count_params() >= len(data.items)
        assert f"{each.name}" in "".join(lines)


def test_predict_returns_the_states_of_splits_batches_and_lists(name, fitted, data):
    model = fitted(name)
    reads = {"one_target": model.reads.one_target, "by_user": model.reads.by_user, "context": model.context}
    batch, _ = next(iter(data.validation.batches(**reads)))
    states = model.predict(batch, verbose=0, batch_size=1000)
    np.testing.assert_allclose(states, np.asarray(model.encode(batch)), rtol=1e-4, atol=1e-5)
    assert "not scores" in type(model).predict.__doc__
    with pytest.raises(InputError, match="one split"):
        model.predict(data)


def test_evaluate_takes_splits_batches_and_lists(name, fitted, data):
    model = fitted(name)
    names = {metric.name for metric in model.ranking_metrics}
    model.compile(model.optimizer, model.ranking_loss, metrics=[*model.ranking_metrics[:0], "recall@20"])
    reads = {"one_target": model.reads.one_target, "by_user": model.reads.by_user, "context": model.context}
    of_split = model.evaluate(data.test, verbose=0, return_dict=True)
    assert of_split == pytest.approx(model.evaluate(data.test.batches(**reads), verbose=0, return_dict=True), rel=1e-5)
    assert of_split["recall@20"] > 0
    if not (model.reads.by_user or model.context):  # lists have no users and no times
        lists = [data.items.decode(data.test[session]).tolist() for session in range(len(data.test))]
        assert of_split["recall@20"] == pytest.approx(
            model.evaluate(lists, verbose=0, return_dict=True)["recall@20"], abs=1e-6
        )
    model.compile(model.optimizer, model.ranking_loss, metrics=sorted(names))


def test_what_is_no_data_is_refused(name, fitted, data):
    model = fitted(name)
    for wrong in (data, "data.test", None, np.zeros((3, 4))):
        with pytest.raises(InputError, match="x: must be"):
            model.evaluate(wrong, verbose=0)
        with pytest.raises(InputError, match="x: must"):
            model.fit(wrong, verbose=0)
    with pytest.raises(InputError, match=r"sessions: must be a split, such as data\.test, not Data"):
        trs.evaluation.evaluate(model, data)
    with pytest.raises(InputError, match="such as data.test, without batches"):
        trs.evaluation.evaluate(model, data.test.batches())


def test_weights_that_cannot_be_honoured_are_refused(name, fitted, data):
    model = fitted(name)
    with pytest.raises(InputError, match="class_weight"):
        model.fit(data.train, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(InputError, match="sample_weight"):
        model.fit(data.train, sample_weight=np.ones(3), verbose=0)
    with pytest.raises(InputError, match="loss_weights"):
        model.compile(loss=model.ranking_loss, loss_weights=[1.0])
    with pytest.raises(InputError, match="jit_compile"):
        model.compile(loss=model.ranking_loss, jit_compile=True)
    with pytest.raises(InputError, match="exact-int8"):
        model.quantize("int8")
    with pytest.raises(InputError, match="format='torch': must be one of 'tf_saved_model'"):
        model.export("nowhere/1", format="torch")


class Accuracy(keras.metrics.Metric):
    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def result(self):
        return 0.0


def test_metrics_are_ranking_metrics_or_refused(name, built, data):
    model, _ = built(name, data.items)
    for wrong in ("accuracy", "recal@20", keras.metrics.TopKCategoricalAccuracy(), Accuracy(), Accuracy, None):
        for argument in ("metrics", "weighted_metrics"):
            with pytest.raises(InputError, match=rf"{argument}: .* e\.g\. trs\.metrics\.Recall\(20\) or 'recall@20'"):
                model.compile(loss=model.ranking_loss, **{argument: [wrong]})


def test_a_frozen_model_does_not_move(name, built, data):
    model, settings = built(name, data.items)
    if model.learning is None:
        return  # counted, not learned by gradient
    batches = model.training_batches(data.train, settings, 0)
    if isinstance(model, PairModel):
        model.take(batches.interactions)  # creates a row for each user
    trained = list(model.trainable_variables)
    model.trainable = False
    before = [np.array(variable) for variable in trained]
    model.fit(batches, epochs=1, verbose=0)
    assert len(trained) > 1
    for old, variable in zip(before, trained, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_a_clone_and_from_config_know_the_vocabulary(name, fitted, data):
    model = fitted(name)
    for clone in (keras.models.clone_model(model), type(model).from_config(model.get_config())):
        assert clone.items.fingerprint == data.items.fingerprint
        assert clone.get_config() == model.get_config()
        assert clone.recommend([["no-such-item"]], k=3).items[0].tolist() == data.items.ids[:3].tolist()


def test_weights_files_round_trip(neural, fitted, built, data, tmp_path):
    """Weights files keep all weights that are learned; those of counted models need `save`."""
    model, (fresh, _) = fitted(neural), built(neural, data.items)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh.load_weights(tmp_path / "model.weights.h5")
    history = [data.items.ids[:3].tolist()]
    np.testing.assert_array_equal(fresh.recommend(history, k=5).scores, model.recommend(history, k=5).scores)


@pytest.mark.long
@pytest.mark.parametrize("options", [{"steps_per_execution": 2}, {"run_eagerly": True}], ids=["steps", "eagerly"])
def test_ways_of_execution(neural, built, data, options):
    model, _ = built(neural, data.items)
    model.compile(model.optimizer, model.ranking_loss, ["recall@20"], **options)
    found = model.fit(batches_of(model, data).take(4), validation_data=data.validation, verbose=0).history
    assert np.isfinite(found["loss"]).all() and 0 <= found["val_recall@20"][0] <= 1


@pytest.mark.slow
@pytest.mark.long
def test_exclude_and_only_answer_as_the_export_does(name, fitted, exported, data):
    model, ids = fitted(name), data.items.ids.tolist()
    histories = [[ids[3], ids[7]], [], [ids[12]]]
    served = tf.saved_model.load(str(exported(name)))
    best = model.recommend(histories, k=6).items.tolist()
    exclude = [best[0][:2], ["no-such-item"], [best[2][1], best[2][1]]]
    for only in (None, [ids[20:24], ["no-such-item"], []]):
        found = model.recommend(histories, k=10, exclude=exclude, only=only)
        given = {"items": histories, "exclude": exclude, "only": only or [[], [], []]}
        signature = served.signatures["recommend_filtered"]
        expected = signature(
            **{key: tf.ragged.constant(lists, tf.string, ragged_rank=1).to_tensor("") for key, lists in given.items()}
        )
        assert found.items.tolist() == [[item.decode() for item in row] for row in expected["items"].numpy().tolist()]
        np.testing.assert_allclose(found.scores, expected["scores"], rtol=1e-4, atol=1e-5)
        assert not set(best[0][:2]) & set(found.items[0])
    for argument in ("exclude", "only"):
        with pytest.raises(InputError, match=f"{argument}: must be a list for each of the 3 histories"):
            model.recommend(histories, k=5, **{argument: [[ids[0]]]})


# Models learned on packed rows ---------------------------------------------------------------------------------------


def test_a_step_is_traced_once(shop, monkeypatch):
    """The optimizer's variables exist before the first step: TensorFlow traces a step again that has created some."""
    model = trs.models.GRU4Rec(shop.items, units=[4])
    model.compile(keras.optimizers.Adam(), trs.losses.CrossEntropy())
    step, traces = type(model).train_step, []
    monkeypatch.setattr(type(model), "train_step", lambda *args: traces.append(1) or step(*args))
    model.fit(shop.train.batches(rows=16, steps=8), steps_per_epoch=3, verbose=0)
    assert len(traces) == 1


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{type(loss).__name__}-{loss.logq:g}")
def test_weight_0_moves_nothing_and_weight_2_is_the_event_twice(shop, loss):
    batch, targets = next(iter(shop.train.batches(rows=8, steps=5, seed=1)))
    first = {key: np.array(array)[:4] for key, array in batch.items()}, np.array(targets)[:4]
    padding = {key: np.zeros_like(array) for key, array in first[0].items()}
    twice = {key: np.concatenate([array, array]) for key, array in first[0].items()}
    padded = {key: np.concatenate([array, padding[key]]) for key, array in first[0].items()}
    rows = {"twice": (twice, np.concatenate([first[1], first[1]]))}
    rows["weight"] = (padded, np.concatenate([first[1], np.zeros_like(first[1])]))
    moves, losses = {}, {}
    for key, (x, y) in rows.items():
        for weight in (0.0, 1.0) if key == "twice" else (2.0,):
            model = gru(shop.items, loss=loss)
            before = weights_of(model)
            logs = model.train_on_batch(x, y, sample_weight=np.full(y.shape, weight, np.float32), return_dict=True)
            moves[weight] = [new - old for old, new in zip(before, weights_of(model), strict=True)]
            losses[weight] = float(logs["loss"])
    assert all((move == 0).all() for move in moves[0.0]) and losses[0.0] == 0
    assert any(np.abs(move).max() > 1e-4 for move in moves[1.0])
    for doubled, again in zip(moves[2.0], moves[1.0], strict=True):
        np.testing.assert_allclose(doubled, again, atol=1e-6)
    assert losses[2.0] == pytest.approx(losses[1.0], rel=1e-5)


@pytest.mark.slow
def test_all_three_ways_to_give_weights_are_one(shop):
    """The third part of an element, of every event or every row; the key "weight" of a batch; an argument."""
    weight = tf.constant(np.random.default_rng(0).choice([0.0, 0.5, 2.0], (8, 1)).astype(np.float32))
    full = tf.broadcast_to(weight, (8, 5))

    def batches():
        return shop.train.batches(rows=8, steps=5, seed=1).take(4)  # a further pass would be another epoch

    ways = [
        lambda batch, targets: (batch, targets, full),
        lambda batch, targets: (batch, targets, weight),
        lambda batch, targets: (batch, targets, weight[:, 0]),
        lambda batch, targets: ({**batch, "weight": full}, targets),
    ]
    found, scored = [], []
    for way in ways:
        model = gru(shop.items, optimizer=trs.optimizers.LazyAdagrad(0.1), weighted_metrics=["mrr@20"])
        found.append(model.fit(batches().map(way), verbose=0).history["loss"])
        scored.append(model.evaluate(batches().map(way), verbose=0, return_dict=True))
    unweighted = gru(shop.items, optimizer=trs.optimizers.LazyAdagrad(0.1)).fit(batches(), verbose=0)
    for loss, metrics in zip(found[1:], scored[1:], strict=True):
        assert loss == pytest.approx(found[0]) and metrics == pytest.approx(scored[0])
    assert found[0] != pytest.approx(unweighted.history["loss"])
    wrong = batches().map(lambda batch, targets: (batch, targets, full[..., None]))
    with pytest.raises(InputError, match=r"sample_weight: its shape is \[8, 5, 1\], it must be \[rows, steps\]"):
        gru(shop.items).fit(wrong, verbose=0)


def test_weights_in_evaluation_are_repetitions(shop):
    """`metrics` count every event once, the loss and `weighted_metrics` by its weight, as in Keras."""
    model = gru(shop.items, metrics=["recall@5"], weighted_metrics=["recall@5", "mrr@5"])
    batch, targets = next(iter(shop.test.batches()))
    times = np.random.default_rng(1).integers(0, 3, len(targets))
    repeated = {key: np.repeat(array, times, axis=0) for key, array in batch.items()}, np.repeat(targets, times, axis=0)
    found = model.evaluate(batch, targets, sample_weight=times.astype(np.float32), verbose=0, return_dict=True)
    again = model.evaluate(*repeated, verbose=0, return_dict=True)
    plain = model.evaluate(batch, targets, verbose=0, return_dict=True)
    assert found["weighted_recall@5"] == pytest.approx(again["recall@5"], abs=1e-6)
    assert found["mrr@5"] == pytest.approx(again["mrr@5"], abs=1e-6)
    assert found["recall@5"] == plain["recall@5"] != found["weighted_recall@5"]


class Own(trs.models.SequenceModel):
    """Keras' own layers, a regularizer and `add_loss`; the constructor does not build."""

    def __init__(self, items, penalty=0.0, added=0.0, **kwargs):
        super().__init__(items, **kwargs)
        self.penalty, self.added = penalty, added
        self.output_items = trs.layers.ItemEmbedding(self.size, 8, name="items")
        regularizer = keras.regularizers.L2(penalty) if penalty else None
        self.dense = keras.layers.Dense(8, kernel_regularizer=regularizer)
        self.gru = keras.layers.GRU(8, return_sequences=True)

    def encode(self, batch, training=False):
        hidden = self.dense(self.output_items(batch["items"]))
        if self.added:
            self.add_loss(self.added * tf.reduce_sum(tf.square(self.dense.kernel.value)))
        return self.gru(hidden)

    def get_config(self):
        return {**super().get_config(), "penalty": self.penalty, "added": self.added}


@pytest.mark.parametrize("eagerly", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", [{"penalty": 0.1}, {"added": 0.1}], ids=["regularizer", "add_loss"])
def test_regularizers_and_add_loss_count_as_in_keras(shop, options, eagerly):
    found = {}
    for key, own in (("with", options), ("without", {})):
        keras.utils.set_random_seed(5)
        model = Own(shop.items, negatives=trs.negatives.Popularity(16, seed=1), **own)
        model.compile(keras.optimizers.SGD(0.1), trs.losses.CrossEntropy(), run_eagerly=eagerly)
        kernel = np.array(model.dense.kernel)
        loss = model.evaluate(shop.validation, verbose=0, return_dict=True)["loss"]
        again = model.evaluate(shop.validation, verbose=0, return_dict=True)["loss"]
        assert loss == pytest.approx(again)  # losses of the step before are gone
        model.fit(shop.train.batches(rows=8, steps=5, seed=1).take(1), verbose=0)
        found[key] = loss, np.array(model.dense.kernel), kernel
    (penalized, moved_with, kernel), (plain, moved_without, _) = found["with"], found["without"]
    assert penalized - plain == pytest.approx(0.1 * (kernel**2).sum(), rel=1e-3)
    np.testing.assert_allclose(moved_with - moved_without, -0.1 * 2 * 0.1 * kernel, atol=1e-5)


def test_an_own_model_of_keras_layers_saves_and_loads(shop, tmp_path):
    model = Own(shop.items, negatives=trs.negatives.Popularity(16))
    model.compile("adam", trs.losses.CrossEntropy(), ["recall@20"], weighted_metrics=[trs.metrics.MRR(5)])
    model.fit(shop.train.batches(rows=8, steps=5).take(3), validation_data=shop.validation, verbose=0)
    model.save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras", custom_objects={"Own": Own})
    history = [shop.items.ids[:3].tolist()]
    np.testing.assert_array_equal(loaded.recommend(history, k=5).scores, model.recommend(history, k=5).scores)
    assert loaded.get_compile_config() == model.get_compile_config()
    assert [metric.name for metric in loaded.metrics] == ["loss", "recall@20", "mrr@5"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", [trs.optimizers.LazyAdagrad(0.1), trs.optimizers.LazyAdam(0.01), "sgd"], ids=["adagrad", "adam", "sgd"]
)
def test_a_frozen_layer_stays_and_thaws(shop, optimizer):
    model = gru(shop.items, optimizer=optimizer)
    batches = shop.train.batches(rows=8, steps=5, seed=1).take(3)
    model.fit(batches, verbose=0)
    for layer in (model.output_items, model.recurrent[0]):
        for frozen in (True, False):
            layer.trainable = not frozen  # the step is traced again, without another compile
            before = layer.get_weights()
            model.fit(batches, verbose=0)
            still = all(np.array_equal(old, new) for old, new in zip(before, layer.get_weights(), strict=True))
            assert still == frozen


@pytest.mark.parametrize("monitor", ["val_recall@20", "val_mrr@5", "val_loss"])
def test_callbacks_find_the_direction_of_our_metrics(shop, monitor, tmp_path):
    model = gru(shop.items, optimizer=trs.optimizers.LazyAdagrad(0.1), weighted_metrics=["mrr@5"])
    callbacks = [
        keras.callbacks.EarlyStopping(monitor, patience=9),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor, patience=9),
    ]
    history = model.fit(
        shop.train.batches(rows=8, steps=5, seed=1).take(9),
        validation_data=shop.validation,
        epochs=3,
        verbose=0,
        callbacks=callbacks,
    ).history[monitor]
    best = min(history) if monitor == "val_loss" else max(history)
    assert all(float(callback.best) == pytest.approx(best) for callback in callbacks)


def test_a_keras_model_of_our_layers_and_metrics_monitors_them_too(shop):
    items = keras.Input((4,), dtype="int32")
    position = keras.Input((4,), dtype="int32")
    hidden = keras.layers.Embedding(shop.items.size, 8)(items)
    hidden, _ = trs.layers.SessionGRU(8)(hidden, keras.ops.equal(position, 0))
    hidden = trs.layers.SessionAttention(8)(hidden, position)
    model = keras.Model([items, position], keras.layers.Dense(shop.items.size)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[trs.metrics.Recall(20)])
    x = [np.full((6, 4), 3, np.int32), np.tile(np.arange(4, dtype=np.int32), (6, 1))]
    y = np.full((6, 4), 5, np.int32)
    stopping = keras.callbacks.EarlyStopping("val_recall@20")
    model.fit(x, y, validation_data=(x, y), callbacks=[stopping], verbose=0)
    assert stopping.monitor_op is keras.ops.greater
    with contextlib.redirect_stdout(io.StringIO()):
        model.summary()
    with pytest.raises(InputError, match="model: must be one of trs.models .* not Functional"):
        trs.evaluation.evaluate(model, shop.test)
    with pytest.raises(InputError, match="model: must be one of trs.models"):
        trs.evaluation.evaluate_users(model, shop.test)


# Layers --------------------------------------------------------------------------------------------------------------


def layers_of_starts():
    def bidirectional():
        return trs.layers.SessionBidirectional(trs.layers.SessionGRU(4), trs.layers.SessionGRU(4))

    rows = [trs.layers.SessionGRU, trs.layers.SessionLSTM, trs.layers.SessionRNN]
    return [*(lambda cls=cls: cls(4) for cls in rows), lambda: trs.layers.DiscountedMean(0.5), bidirectional]


@pytest.mark.parametrize("layer", layers_of_starts())
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_layers_refuse_what_is_no_session_start(layer, dtype):
    x, position = np.ones((2, 3, 4), np.float32), np.array([[0, 1, 2], [0, 1, 0]])
    layer()(x, position == 0)
    with pytest.raises(InputError, match=r"starts: must be bool .* batch\['position'\] == 0"):
        layer()(x, position.astype(dtype))


def test_attention_refuses_what_is_no_position():
    x, position = np.ones((2, 3, 4), np.float32), np.array([[0, 1, 2], [0, 1, 0]])
    with pytest.raises(InputError, match=r"position: must be int .* batch\['position'\]"):
        trs.layers.SessionAttention(4)(x, position == 0)


# Pairs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [trs.losses.CrossEntropy(), trs.losses.AllPairs(0.1)], ids=lambda loss: type(loss).__name__
)
def test_weights_of_pairs(shop, loss):
    """Weight 0 leaves a pair out, weight 2 counts it twice; one for each pair of `Interactions`."""
    interactions = trs.batches.Interactions.of(shop.train)
    pairs, weights = len(interactions.values), np.random.default_rng(0).integers(0, 3, len(interactions.values))

    def trained(**options):
        keras.utils.set_random_seed(1)
        negatives = trs.negatives.Popularity(16, seed=1)
        model = trs.models.MatrixFactorization(shop.items, dim=4, negatives=negatives, mask_seen=False)
        model.compile(keras.optimizers.SGD(0.1), loss)
        model.user_table.build(len(interactions))
        before = weights_of(model)
        model.fit(interactions, rows=4096, verbose=0, **options)
        return model, [new - old for old, new in zip(before, weights_of(model), strict=True)]

    _, still = trained(sample_weight=np.zeros(pairs))
    assert all((move == 0).all() for move in still)
    _, once = trained(sample_weight=np.ones(pairs))
    for left, right in zip(once, trained()[1], strict=True):
        np.testing.assert_array_equal(left, right)
    _, weighted = trained(sample_weight=weights)
    user = np.repeat(np.arange(len(interactions)), np.diff(interactions.offsets))
    table = next(move for move in weighted if len(move) == len(interactions) and move.ndim == 2)
    none = np.bincount(user, weights, minlength=len(interactions)) == 0
    assert none.any() and (table[none] == 0).all() and (table[~none] != 0).any(axis=1).all()
    for wrong in (np.ones(3), -np.ones(pairs), np.full(pairs, np.nan)):
        with pytest.raises(
            InputError, match=f"sample_weight: must be a number of at least 0 for each of the {pairs:,}"
        ):
            trained(sample_weight=wrong)


# Loading -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import tfrecsession as trs, sys; assert not {'keras', 'tensorflow'} & sys.modules.keys(); import keras",
        "from tfrecsession.layers import SessionGRU; import keras",
        pytest.param("import tfrecsession, tensorflow, keras", marks=pytest.mark.slow),
        pytest.param("import tfrecsession as trs; trs.metrics.Recall; import keras", marks=pytest.mark.slow),
    ],
)
def test_a_file_loads_whichever_was_imported_first(first, shop, tmp_path):
    gru(shop.items).save(tmp_path / "model.keras")
    code = f"{first}; print(keras.models.load_model({str(tmp_path / 'model.keras')!r}).name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gru4_rec" in done.stdout
