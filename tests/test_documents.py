"""What README and CONTRIBUTING show, run as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import pytest

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.events.synthetic import Shop

ROOT = Path(__file__).parents[1]


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), flags=re.S | re.M)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the click log that the README speaks of."""
    import pyarrow.parquet as pq

    place = tmp_path_factory.mktemp("readme")
    log = Shop(items=60, sessions=600, seed=1).reader().read_all()
    names = {"item": "click_article_id", "time": "click_timestamp", "session": "session_id", "user": "user_id"}
    pq.write_table(log.rename_columns([names.get(name, name) for name in log.column_names]), place / "clicks.parquet")
    return place


def test_the_readme_from_top_to_bottom(place, monkeypatch):
    monkeypatch.chdir(place)
    (commands,), (code,) = blocks("README.md", "sh"), blocks("README.md", "python")
    for command in commands.strip().splitlines():
        program, *words = shlex.split(command)
        assert program == "tfrecsession"
        assert main(words) == 0, command
    exec(compile(code.replace("saved_models/gru4rec/1", "saved_models/again/1"), "README.md", "exec"), {})
    assert (place / "saved_models/again/1/saved_model.pb").exists()


def test_the_readme_names_what_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"^    make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.M)) <= targets


def test_the_contributors_model(place, shop, monkeypatch, tmp_path):
    """The toy of CONTRIBUTING is a model like any other, by one file and one line."""
    import keras
    import numpy as np

    (code,) = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "session_mean.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    from session_mean import SessionMean

    monkeypatch.setitem(trs.models.MODELS, "session_mean", SessionMean)
    settings = trs.training.settings_of(
        "session_mean", {"dim": 16, "epochs": 4, "rows": 16, "steps": 8, "negatives": 64}
    )
    model = trs.training.build("session_mean", shop.items, settings)
    trs.training.fit(model, shop, settings)
    scored = trs.evaluation.evaluate(model, shop.test).metrics["recall@20"]
    assert scored > 2 * trs.evaluation.chance(len(shop.items), 1).metrics["recall@20"]

    batch = {"items": [[5, 9, 7, 3]], "position": [[0, 1, 2, 0]], "segment": [[1, 1, 1, 2]]}
    encoded = np.asarray(model.encode({name: np.array(rows) for name, rows in batch.items()}))
    vectors = model.output_items.table.numpy()
    np.testing.assert_allclose(encoded[0, 2], vectors[[5, 9, 7]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(encoded[0, 3], vectors[3], rtol=1e-5)

    model.save(tmp_path / "model.keras")
    history = [shop.items.ids[:2].tolist()]
    assert keras.models.load_model(tmp_path / "model.keras").recommend(history, k=3).items.tolist() == (
        model.recommend(history, k=3).items.tolist()
    )
    items, _ = trs.export.ask(model.export(tmp_path / "1", k=3), history)
    assert items.tolist() == model.recommend(history, k=3).items.tolist()
    sys.modules.pop("session_mean")
