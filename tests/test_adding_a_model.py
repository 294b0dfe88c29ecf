"""CONTRIBUTING's way to add a model works as written: three toys, each one new file and one entry."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

import tfrecsession as trs

ROOT = Path(__file__).parents[1]


class Toy(NamedTuple):
    path: str  # of its file, from the root
    name: str  # in MODELS
    code: str

    @property
    def cls(self) -> str:
        return re.findall(r"^class (\w+)", self.code, re.M)[-1]


TOYS = [
    Toy(path, Path(path).stem, code)
    for path, code in re.findall(
        r"^`(tfrecsession/models/\w+/\w+\.py)`.*?^```python\n(.*?)^```",
        (ROOT / "CONTRIBUTING.md").read_text(),
        flags=re.S | re.M,
    )
]
SMALL = {"dim": 16, "epochs": 4, "rows": 16, "steps": 8, "negatives": 64}


def test_there_are_three():
    assert [toy.name for toy in TOYS] == ["session_mean", "nearest_items", "trending"]


@pytest.fixture(params=TOYS, ids=[toy.name for toy in TOYS])
def toy(request, monkeypatch, tmp_path):
    """A toy in `MODELS`, its file in a folder of its own."""
    (tmp_path / f"{request.param.name}.py").write_text(request.param.code)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = __import__(request.param.name)
    monkeypatch.setitem(trs.models.MODELS, request.param.name, getattr(module, request.param.cls))
    yield request.param
    sys.modules.pop(request.param.name)


def test_it_trains_saves_and_exports(toy, shop, tmp_path):
    known = trs.training.settings_of(toy.name)
    settings = {**known, **{key: value for key, value in SMALL.items() if key in known}}
    keras.utils.set_random_seed(0)
    model = trs.training.build(toy.name, shop.items, settings)
    trs.training.fit(model, shop, settings)
    scored = trs.evaluation.evaluate(model, shop.test).metrics["recall@20"]
    assert scored > 1.2 * trs.evaluation.chance(len(shop.items), 1).metrics["recall@20"]

    model.save(tmp_path / "model.keras")
    history = [shop.items.ids[:2].tolist()]
    expected = model.recommend(history, k=3).items.tolist()
    assert keras.models.load_model(tmp_path / "model.keras").recommend(history, k=3).items.tolist() == expected
    items, _ = trs.export.ask(model.export(tmp_path / "1", k=3), history)
    assert items.tolist() == expected
    assert trs.training.space_of(toy.name) and model.get_config()["name"]


def test_the_equation_of_the_first(shop, tmp_path, monkeypatch):
    """Each encoding is the mean of the vectors of the session so far."""
    (tmp_path / "session_mean.py").write_text(TOYS[0].code)
    monkeypatch.syspath_prepend(str(tmp_path))
    from session_mean import SessionMean

    model = SessionMean(shop.items, dim=8)
    batch = {"items": [[5, 9, 7, 3]], "position": [[0, 1, 2, 0]], "segment": [[1, 1, 1, 2]]}
    encoded = np.asarray(model.encode({name: np.array(rows, np.int32) for name, rows in batch.items()}))
    vectors = model.output_items.table.numpy()
    np.testing.assert_allclose(encoded[0, 2], vectors[[5, 9, 7]].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(encoded[0, 3], vectors[3], rtol=1e-5)
    sys.modules.pop("session_mean")


@pytest.mark.slow
def test_every_promise_holds_for_all_three(tmp_path):
    """In a copy of the project, with the file, the entry and the row that CONTRIBUTING asks for."""
    ignore = shutil.ignore_patterns("__pycache__", "goldens")
    for folder in ("tfrecsession", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    registry, rows = tmp_path / "tfrecsession/models/__init__.py", tmp_path / "tests/conformance/descriptors.py"
    for toy in TOYS:
        (tmp_path / toy.path).write_text(toy.code)
        module = toy.path.removesuffix(".py").replace("/", ".")
        text = registry.read_text().replace("\nMODELS = {\n", f'\nMODELS = {{\n    "{toy.name}": {toy.cls},\n')
        registry.write_text(text.replace("\n\nMODELS", f"\nfrom {module} import {toy.cls}\n\nMODELS"))
        settings = "" if toy.name == "trending" else ", **SEQUENCES"
        rows.write_text(rows.read_text().replace("\nROWS = [\n", f'\nROWS = [\n    Model("{toy.name}"{settings}),\n'))
    learning = tmp_path / "tests/conformance/test_learning.py"
    promise = "def test_learns_the_shop_to_near_its_ceiling("
    (mark,) = re.findall(r'`(@pytest\.mark\.notyet\("session_mean".*?\))`', (ROOT / "CONTRIBUTING.md").read_text())
    learning.write_text(learning.read_text().replace(promise, f"{mark}\n{promise}"))
    names = " or ".join(toy.name for toy in TOYS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance", "-k", names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"\d{2,} passed, .*1 xfailed", done.stdout)
