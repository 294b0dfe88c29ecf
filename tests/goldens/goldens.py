"""Makes the goldens: a small trained model of every kind, and what it answered on the day it was made.

    python -m tests.goldens.goldens            # every golden that is missing
    python -m tests.goldens.goldens narm slist # these, also where they exist

A golden is `NAME.keras`, a model, and `NAME.npz`, its outputs. `test_goldens.py` loads the first and expects the
second: it fails where a refactoring, or a new Keras or TensorFlow, changes a number. Remake a golden only in a commit
that changes its numbers on purpose.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np

import tfrecsession as trs
from tests.conformance.descriptors import TABLE
from tfrecsession import training
from tfrecsession.models import Streaming

FOLDER = Path(__file__).parent
LOG = FOLDER / "log.csv"  # 150 sessions of 40 users over 30 items
SMALL = {
    "epochs": 2,
    "rows": 16,
    "steps": 8,
    "lanes": 16,
    "negatives": 16,
    "units": [8],
    "user_units": [8],
    "dim": 8,
    "factors": 8,
    "neighbours": 10,
    "characters": 8,
    "filters": [2, 4],
    "hidden": 8,
}
HISTORIES = [["i3", "i7"], ["i0"], ["i12", "i4", "i4", "i9", "i1", "i20", "i2", "i5", "i6"], [], ["unheard-of", "i15"]]
SEED = 3


def prepared():
    """The data set of all goldens, in a temporary folder that lives as long as the process."""
    folder = tempfile.TemporaryDirectory()
    options = {"item": "item", "time": "time", "session": "session", "user": "user"}
    content = {
        "item": [f"i{number}" for number in range(30)],
        "title": [f"word{number % 7} word{number % 5}" for number in range(30)],
        "price": [1.5 * number for number in range(30)],
        "category": [f"c{number % 4}" for number in range(30)],
    }
    users = {"user": [f"u{number}" for number in range(40)], "age": [20.0 + number for number in range(40)]}
    options |= {"items": content, "users": users}
    trs.prepare(LOG, Path(folder.name) / "data", test_span="15%", validation_span="0d", **options)
    data = trs.load(Path(folder.name) / "data")
    data.train.column("times"), data.train.column("user")
    return data, folder


def settings_of(name: str) -> tuple[str, dict]:
    """The model and all settings of a golden."""
    model, variant = TABLE[name].registered, TABLE[name].settings
    known = training.settings_of(model, variant)
    own = ("units", "lanes", "epochs")
    small = {key: value for key, value in SMALL.items() if key in known and (key not in variant or key in own)}
    if "units" in variant:
        small["units"] = [8] * len(variant["units"])
    if "neighbours" in variant:
        small.pop("neighbours", None)
    if "lanes" in known and not (known["lanes"] or "lanes" in variant):
        small.pop("lanes", None)
    return model, {**known, **small}


def outputs(model, data, settings: dict) -> dict[str, np.ndarray]:
    """Returns the outputs of a model now, and after one further epoch of training."""
    found = {f"before_{key}": value for key, value in answers(model, data).items()}
    keras.utils.set_random_seed(SEED)
    for layer in model._flatten_layers():  # whatever layers there are, and in whatever order they were made
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([SEED, 0])
    history = training.fit(model, data, {**settings, "epochs": 1} if "epochs" in settings else settings, seed=SEED)
    found |= {key: np.array(values, np.float64) for key, values in history.items()}
    found |= {f"after_{key}": value for key, value in answers(model, data).items()}
    # weights by their lengths: neither their names nor their order matter
    lengths = sorted(float(np.linalg.norm(weight.numpy())) for weight in model.trainable_variables)
    return found | {"weights": np.array(lengths)}


def answers(model, data) -> dict[str, np.ndarray]:
    """Scores float32 [histories, items] of every kind of question that the model answers; states where it has some."""
    found = {"scores": scores(model, model.recommend(HISTORIES, k=len(model.items)))}
    if hasattr(model, "recommend_users"):
        users = [*data.train.column("user")[:5], "nobody"]
        found["users"] = scores(model, model.recommend_users(users, k=len(model.items)))
    if hasattr(model, "recommend_with_sessions"):
        found["sessions"] = scores(
            model, model.recommend_with_sessions([HISTORIES[:3], HISTORIES[1:2]], k=len(model.items))
        )
    if isinstance(model, Streaming) and model.state_width:
        state = model.initial_state(2)
        for items in (["i3", "i0"], ["i7", ""], ["i1", "i9"]):
            best, state = model.advance(items, state, k=len(model.items))
        found |= {"state": state, "streamed": scores(model, best)}
    return found


def scores(model, recommended) -> np.ndarray:
    """Recommendations of the whole catalogue -> a score for each item, in the order of the vocabulary."""
    ids = np.stack([model.items.encode(list(row)) for row in recommended.items])
    found = np.full((len(ids), model.size), np.nan, np.float32)
    np.put_along_axis(found, ids, recommended.scores, axis=1)
    return found[:, 2:]


def make(name: str, data) -> None:
    """Write the two files of a golden."""
    model, settings = settings_of(name)
    keras.utils.set_random_seed(SEED)
    built = training.build(model, data.items, settings)
    training.fit(built, data, settings, seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        built.save(Path(folder) / "model.keras")
        with (
            zipfile.ZipFile(Path(folder) / "model.keras") as plain,
            zipfile.ZipFile(FOLDER / f"{name}.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as small,
        ):
            for entry in plain.namelist():
                small.writestr(zipfile.ZipInfo(entry), plain.read(entry), zipfile.ZIP_DEFLATED)
    loaded = keras.models.load_model(FOLDER / f"{name}.keras")
    np.savez_compressed(FOLDER / f"{name}.npz", **outputs(loaded, data, settings))


if __name__ == "__main__":
    data, folder = prepared()
    for name in sys.argv[1:] or [name for name in TABLE if not (FOLDER / f"{name}.npz").exists()]:
        make(name, data)
        print(name, sum((FOLDER / f"{name}.{kind}").stat().st_size for kind in ("keras", "npz")), flush=True)
