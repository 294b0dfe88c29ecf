"""AttentiveMusic (STABR, SABR): its equations in NumPy, prefixes without a future, and tags of items."""

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests import logs
from tests.numpy_reference import sigmoid, softmax
from tfrecsession.errors import InputError
from tfrecsession.models import AttentiveMusic
from tfrecsession.sessions.vocabulary import Items

ROWS = ([[2, 3, 4, 5, 6, 2], [3, 7]], [[4], [8, 5, 5]])  # of sessions of item ids; item 8 has no tags
TAGS = [["rock", "live"], ["rock"], ["jazz"], ["live", "jazz", "rock"], ["jazz"], ["rock"], None]


@pytest.fixture(scope="module")
def items():
    return Items(list("abcdefg"), [9, 8, 7, 6, 5, 4, 3], pa.table({"tags": TAGS, "title": list("tuvwxyz")}))


def made(items, **settings):
    keras.utils.set_random_seed(2)
    model = AttentiveMusic(items, **{"dim": 5, "tag_dim": 3, "units": [4], "bottleneck": 6, "window": 3, **settings})
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:  # biases, and the vector of missing tags, that matter
        weight.assign(random.normal(size=weight.shape, scale=0.5))
    return model


@pytest.fixture(scope="module")
def stabr(items):
    return made(items, tags="tags")


@pytest.fixture(scope="module")
def sabr(items):
    return made(items, window=4, units=[4, 3])


def gru(inputs, layer):
    """States [n, units] of a GRU whose reset gate acts after the product."""
    kernel, recurrent, bias, second = (np.asarray(weight) for weight in layer.weights[:4])
    state, states = np.zeros(layer.units), []
    for x in inputs:
        update_x, reset_x, new_x = np.split(x @ kernel + bias, 3)
        update_h, reset_h, new_h = np.split(state @ recurrent + second, 3)
        z = sigmoid(update_x + update_h)
        new = np.tanh(new_x + sigmoid(reset_x + reset_h) * new_h)
        state = (1 - z) * state + z * new
        states.append(state)
    return np.array(states)


def read(branch, inputs):
    """C of one window: bidirectional states, weighted by a softmax of v . tanh(W H + b)."""
    for both in branch.recurrent:
        inputs = np.concatenate([gru(inputs, both.forward), gru(inputs[::-1], both.backward)[::-1]], axis=1)
    kernel, bias = (np.asarray(weight) for weight in branch.energy.weights)
    return softmax(np.tanh(inputs @ kernel + bias) @ np.asarray(branch.score.weights[0])[:, 0]) @ inputs


def scores_of(model, prefix, tags=None):
    """Scores [size] after a prefix of item ids."""
    prefix = prefix[-model.window :]
    parts = [read(model.songs, model.input_items.table.numpy()[prefix])]
    if tags:
        part = model.tag_items.encoder.parts[0]
        table, codes = part.table.numpy(), {tag: code for code, tag in enumerate(part.column.values, 2)}
        means = [
            np.mean([table[codes[tag]] for tag in tags[item - 2]], axis=0) if tags[item - 2] else part.missing.numpy()
            for item in prefix
        ]
        parts.append(read(model.tag_branch, np.array(means)))
    kernel, bias = (np.asarray(weight) for weight in model.middle.weights)
    hidden = np.maximum(np.concatenate(parts) @ kernel + bias, 0)
    return model.output_items.table.numpy() @ hidden + model.output_items.biases.numpy()


@pytest.mark.parametrize("name", ["stabr", "sabr"])
def test_scores_are_the_paper_s_equations(name, request):
    model = request.getfixturevalue(name)
    tags = TAGS if name == "stabr" else None
    batch = logs.packed(*ROWS)
    found = model.score_all(tf.reshape(model.encode(batch), (-1, model.bottleneck))).numpy()
    found = found.reshape(*batch["items"].shape, model.size)
    for row, sessions in enumerate(ROWS):
        step = 0
        for session in sessions:
            for length in range(1, len(session) + 1):
                np.testing.assert_allclose(
                    found[row, step], scores_of(model, session[:length], tags), rtol=1e-4, atol=1e-5
                )
                step += 1


def test_a_prefix_reads_its_window_and_no_later_event(stabr):
    session = [2, 3, 4, 5, 6, 7]
    encoded = stabr.encode(logs.packed([session]))[0].numpy()
    for event in range(6):
        changed = stabr.encode(logs.packed([[*session[:event], 8, *session[event + 1 :]]]))[0].numpy()
        moved = np.abs(changed - encoded).max(axis=1) > 1e-6
        reads = (np.arange(6) >= event) & (np.arange(6) < event + stabr.window)
        assert (moved == reads).all()


def test_blocks_of_events_change_nothing(stabr, monkeypatch):
    batch = logs.packed(*ROWS)
    expected = stabr.encode(batch)
    monkeypatch.setattr("tfrecsession.layers.blocks.BLOCK_BYTES", 4096)
    np.testing.assert_allclose(stabr.encode(batch), expected, atol=1e-6)
    spec = {key: tf.TensorSpec((None, None), tf.int32) for key in batch}
    graph = tf.function(stabr.encode, input_signature=[spec])  # as in evaluation: unknown numbers of steps
    np.testing.assert_allclose(graph(batch), expected, atol=1e-6)


def test_songs_alone_have_no_tags(items, sabr):
    assert sabr.tag_branch is None and sabr.content is None
    described = made(items, content=["title:characters"], tags=["tags"])
    assert [column.name for column in described.input_items.encoder.columns] == ["title"]
    assert [column.name for column in described.tag_items.encoder.columns] == ["tags"]
    again = AttentiveMusic.from_config(described.get_config())
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in described.weights]


@pytest.mark.slow
def test_an_added_item_is_read_by_its_tags(items, stabr, tmp_path):
    stabr.export(tmp_path / "model" / "1", k=7)
    new = pa.table({"item": ["new", "other"], "tags": [["jazz", "live"], ["rock"]]})
    out, added = trs.export.add_items(tmp_path / "model", new, key="item")
    assert added == ["new", "other"]

    def served(folder, history):
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        found = signature(tf.constant([history]))
        return dict(zip(found["items"].numpy()[0].astype(str), found["scores"].numpy()[0], strict=True))

    before, after = served(tmp_path / "model" / "1", ["a", "b"]), served(out, ["a", "b"])
    kept = [item for item in before if item in after]
    np.testing.assert_allclose([after[item] for item in kept], [before[item] for item in kept], rtol=1e-5)
    biases = stabr.output_items.biases.numpy()[2:]
    assert all(after[item] == pytest.approx(biases.min()) for item in ("new", "other") if item in after)
    jazz, rock = served(out, ["a", "new"]), served(out, ["a", "other"])
    assert any(abs(jazz[item] - rock[item]) > 1e-3 for item in jazz if item in rock)


@pytest.mark.slow
def test_tags_tell_what_rare_songs_cannot():
    """The song after one of 300 rare songs follows from its tag alone."""
    random = np.random.default_rng(0)
    tags = random.integers(0, 4, 300)
    songs = random.integers(0, 300, 300)
    sessions = [[2 + song, 302 + tags[song]] for song in songs]
    table = pa.table({"tags": [[f"tag-{tag}"] for tag in [*tags, 0, 0, 0, 0]]})
    train = logs.sessions_of(sessions[:200], items=304)
    test = logs.sessions_of(sessions[200:], items=304)
    train.items.content = test.items.content = table

    def recall(tags):
        keras.utils.set_random_seed(1)
        model = AttentiveMusic(train.items, tags=tags, window=4, negatives=None)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(), [trs.metrics.Recall(1)])
        model.fit(train.batches(rows=8, steps=8), epochs=4, verbose=0)
        return trs.evaluation.evaluate(model, test, k=(1,)).metrics["recall@1"]

    assert recall("tags") > 0.9
    assert recall(None) < 0.7  # the songs of the test that train has


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tags": "genre"}, "tags='genre': must be one of tags, title"),
        ({"tags": ["tags"], "content": ["tags"]}, "without 'tags', which is read as tags"),
        ({"window": 0}, "window=0"),
        ({"dropout": 1.5}, "dropout=1.5"),
    ],
)
def test_bad_arguments(items, arguments, message):
    with pytest.raises(InputError, match=message):
        AttentiveMusic(items, **arguments)


def test_tags_need_content():
    with pytest.raises(InputError, match=r"tags='tags': must be None: this data set has no content"):
        AttentiveMusic(Items(["a", "b"], [2, 1]), tags="tags")
