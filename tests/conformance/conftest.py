import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import evaluation, training
from tfrecsession.models import MODELS, SequenceModel, Streaming

# Further shapes of a model that are promised the same: name -> (model, settings).
VARIANTS = {
    "gru4rec-lstm": ("gru4rec", {"cell": "lstm", "discount": 0.5}),
    "gru4rec-rnn": ("gru4rec", {"cell": "rnn", "embedding": "one_hot", "learning_rate": 0.05}),
    "gru4rec-residual": ("gru4rec", {"units": [64, 64], "residual": True, "embedding": "separate"}),
    "gru4rec-joined": ("gru4rec", {"joined": True, "lanes": 16}),
    "gru4rec-bidirectional": ("gru4rec", {"units": [32, 32], "bidirectional": True, "epochs": 3}),
    "item_knn-div": ("item_knn", {"history": "div"}),
    "matrix_factorization-all_pairs": ("matrix_factorization", {"loss": "all_pairs", "dim": 16}),
    "hrnn-all": ("hrnn", {"form": "all", "units": [32, 32], "initialize": "first", "last_event": False}),
    "narm-raw": ("narm", {"normalize": False, "activation": "hard_sigmoid", "bias": True, "reset_after": False}),
    "slist-whole": ("slist", {"neighbours": None, "direction": "part"}),
}
# Left to `make test-all`: the variants but for one that is used in another way than its model (their layers have tests
# of their own), models that differ from another one by a formula, and what takes long of models with large graphs.
QUICK_VARIANTS = {"gru4rec-joined"}
ALIKE = {"association_rules", "markov", "sknn", "stan"}
LARGE = {"hrnn", "narm", *QUICK_VARIANTS}
LONG = {
    "test_a_loss_that_is_not_a_number_stops_the_training",
    "test_learns_the_shop_to_near_its_ceiling",
    "test_stays_at_chance_on_noise",
    "test_the_same_seed_gives_the_same_model",
    "test_learns_in_mixed_precision",
    "test_a_thousand_clicks_equal_the_replay",
    "test_the_export_streams_a_thousand_clicks_without_us",
}
JOINED = {name for name, (_, settings) in VARIANTS.items() if settings.get("joined")}
BOTH_ENDS = {name for name, (_, settings) in VARIANTS.items() if settings.get("bidirectional")}
QUICK = {"epochs": 3, "rows": 16, "steps": 8, "negatives": 64}


@pytest.fixture(scope="session")
def built():
    """(name, items, wanted settings) -> the compiled model, and all its settings."""

    def build(name, items, wanted):
        model, variant = VARIANTS.get(name, (name, {}))
        known = training.settings_of(model, variant)
        wanted = {key: value for key, value in wanted.items() if key in known and key not in variant}
        settings = {**known, **wanted}
        return training.build(model, items, settings), settings

    return build


@pytest.fixture(scope="session")
def trained(built):
    """(name, data, wanted settings, seed) -> the model, fitted to the train split."""

    def train(name, data, wanted, seed=0):
        model, settings = built(name, data.items, wanted)
        training.fit(model, data, settings, seed=seed)
        return model

    return train


@pytest.fixture(scope="session")
def fitted(shop, trained):
    """name -> that model, fitted on the shop; once, as the tests come model by model."""
    made = {}

    def get(name):
        if name not in made:
            made.clear()
            keras.utils.set_random_seed(1)
            made[name] = trained(name, shop, QUICK)
        return made[name]

    return get


@pytest.fixture(scope="session")
def scored(fitted, shop):
    """name -> what our evaluation says of that model."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = evaluation.evaluate(fitted(name), shop.test)
        return made[name]

    return get


@pytest.fixture(scope="session")
def exported(fitted, tmp_path_factory):
    """name, exclude_seen -> the folder of that model's export with k=10, to be read only."""
    made = {}

    def get(name, exclude_seen=False):
        if (name, exclude_seen) not in made:
            folder = tmp_path_factory.mktemp("exported") / "1"
            made[name, exclude_seen] = fitted(name).export(folder, k=10, exclude_seen=exclude_seen)
        return made[name, exclude_seen]

    return get


ALONE = """
import json, sys, traceback
import numpy as np
import tensorflow as tf
sys.modules["tfrecsession"] = None  # as if it were not installed

def ask(path, name, requests):
    export = tf.saved_model.load(path)
    signature, state, said = export.signatures[name], {}, []
    spec = signature.structured_input_signature[1].get("state")
    for items in requests:
        if spec is not None:  # from zeros, and on from what came back
            state = state or {"state": tf.zeros((len(items), spec.shape[1]))}
        answer = signature(items=tf.constant(items), **state)
        if spec is not None:
            state = {"state": answer["state"]}
        items = np.vectorize(bytes.decode, otypes=[object])(answer["items"].numpy()).tolist()
        said.append([items, answer["scores"].numpy().tolist()])
    return said

for line in sys.stdin:
    try:
        told = {"said": ask(*json.loads(line))}
    except Exception:
        told = {"error": traceback.format_exc()}
    print("answer", json.dumps(told), flush=True)
"""


@pytest.fixture(scope="session")
def without_us():
    """(path of an export, its signature, `items` of one request after the other) -> items and scores of each.

    Asked in a process that has TensorFlow and not this package; one process, as its start takes longer than all else.
    `advance` goes on from zeros with the state that it answered.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ALONE], **pipes) as process:

        def ask(path, signature, requests):
            print(json.dumps([str(path), signature, requests]), file=process.stdin, flush=True)
            answers = (line.removeprefix("answer ") for line in process.stdout if line.startswith("answer "))
            told = json.loads(next(answers, '{"error": "the process has ended"}'))
            assert "said" in told, told["error"]
            return told["said"]

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def large_shop():
    """Enough of a shop to learn its law."""
    return trs.synthetic_sessions(items=100, sessions=12_000, seed=5)


@pytest.fixture(scope="session")
def another_shop():
    return trs.synthetic_sessions(items=150, sessions=800, seed=9)


@pytest.fixture(scope="session")
def noise(tmp_path_factory):
    """Sessions of items drawn uniformly and independently."""
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    sessions, length = 3000, 5
    table = pa.table(
        {
            "session": np.repeat(np.arange(sessions), length),
            "user": np.repeat(np.arange(sessions) % 700, length),
            "item": [f"i{number}" for number in rng.integers(0, 200, sessions * length)],
            "time": 1_700_000_000 + np.arange(sessions * length) * 120,
        }
    )
    trs.prepare(table, folder / "data", test_span="20%", validation_span="0d")
    return trs.load(folder / "data")


def pytest_generate_tests(metafunc):
    """A test that asks for `name` runs over every registered model, `neural` over those learned by gradient,
    `recurrent` over those that go on from a state, `across` over those that remember people."""
    models = MODELS | {variant: MODELS[model] for variant, (model, _) in VARIANTS.items()}
    recurrent = [name for name, model in models.items() if issubclass(model, Streaming) and name not in BOTH_ENDS]
    neural = [name for name, model in models.items() if issubclass(model, SequenceModel)]
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(models))
    if "neural" in metafunc.fixturenames:
        metafunc.parametrize("neural", neural)
    if "recurrent" in metafunc.fixturenames:
        metafunc.parametrize("recurrent", recurrent)
    if "across" in metafunc.fixturenames:
        metafunc.parametrize("across", [name for name in neural if models[name].reads.users or name in JOINED])


@pytest.hookimpl(tryfirst=True)  # before what is slow is left out
def pytest_collection_modifyitems(items):
    """Model by model, so that each is fitted and exported once and the test processes share out models, not tests."""
    order = {name: number for number, name in enumerate(MODELS | VARIANTS)}
    here = [number for number, item in enumerate(items) if item.path.parent == Path(__file__).parent]

    def model_of(item):
        params = item.callspec.params if hasattr(item, "callspec") else {}
        return next((params[name] for name in ("name", "neural", "recurrent", "across") if name in params), "gru4rec")

    def place(item):
        return order[model_of(item)]

    for number in here:
        model, long = model_of(items[number]), items[number].originalname in LONG
        if model in ALIKE or model in VARIANTS.keys() - QUICK_VARIANTS or (model in LARGE and long):
            items[number].add_marker(pytest.mark.slow)
    for number, item in zip(here, sorted((items[number] for number in here), key=place), strict=True):
        items[number] = item
