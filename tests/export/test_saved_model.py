import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.sessions.vocabulary import Items

STRANGE = ["007", "7", "čaj ☕", "שלום", "a b", '"quoted"', "[UNK]", "0", "tab\there", " lead", "back\\slash"]


@pytest.mark.parametrize("ids", [STRANGE, [*STRANGE, "line\nfeed", "carriage\rreturn"]], ids=["file", "no file"])
def test_ids_of_any_kind_are_returned_unchanged(tmp_path, ids):
    items = Items(ids, np.arange(len(ids), 0, -1))
    model = trs.models.GRU4Rec(items, units=[4], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1", k=len(ids))
    histories = [[item] for item in ids]
    returned, scores = trs.export.ask(path, histories)
    expected = model.recommend(histories, k=len(ids))
    assert returned.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)
    assert set(returned[0]) == set(ids)
    assert bool(list((path / "assets").glob("*"))) == ("line\nfeed" not in ids)


def test_only_variables_of_answers_are_saved(tmp_path):
    """Neither optimizer state nor sampler tables are saved: the export is about as large as table and biases."""
    items = Items((f"i{number}" for number in range(20_000)), np.ones(20_000))
    model = trs.models.GRU4Rec(items, units=[16], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1")
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert size < 1.2 * 20_000 * (16 + 1 + 2) * 4  # vectors, biases, counts of 8 bytes


def test_the_newest_version_is_used(tmp_path):
    for version in (2, 10, 9):
        (tmp_path / str(version)).mkdir()
        (tmp_path / str(version) / "saved_model.pb").touch()
    (tmp_path / "12").mkdir()  # empty: an unfinished export
    assert trs.export.newest_version(tmp_path).name == "10"
    assert trs.export.newest_version(tmp_path / "2").name == "2"
    with pytest.raises(InputError, match="no SavedModel"):
        trs.export.newest_version(tmp_path / "12")


def test_one_signature_serves_all_shapes(tmp_path, shop):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    served = tf.saved_model.load(str(model.export(tmp_path / "1", k=3))).signatures["serving_default"]
    for rows, steps in ((1, 1), (2, 7), (5, 100)):
        assert served(items=tf.fill((rows, steps), shop.items.ids[0]))["items"].shape == (rows, 3)


def untrained(ids=200):
    items = Items([f"i{number}" for number in range(ids)], np.ones(ids))
    return trs.models.GRU4Rec(items, units=[64], negatives=trs.negatives.Popularity(8))


def test_invalid_exports(tmp_path):
    model = untrained()
    for k in (0, 201, 2.0):
        with pytest.raises(InputError, match="k="):
            model.export(tmp_path / "deep" / "1", k=k)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write there"):
        model.export(tmp_path / "file" / "1", k=5)
    with pytest.raises(InputError, match="cannot write there"):  # not writable, not even for root
        model.export("/proc/unwritable/1", k=5)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "gru4rec" / "1").mkdir(parents=True)
    (tmp_path / "gru4rec" / "1" / "saved_model.pb").touch()
    with pytest.raises(InputError, match="1: exists already"):
        model.export(tmp_path / "gru4rec" / "1", k=5)
    with pytest.raises(InputError, match="must not be overwritten"):
        model.export(tmp_path / "gru4rec", k=5, overwrite=True)  # the model's folder, not a version's


@pytest.mark.slow
@pytest.mark.parametrize(
    "most", [pytest.param(1000, id="vocabulary", marks=pytest.mark.slow), pytest.param(200_000, id="variables")]
)
def test_no_room(tmp_path, most):
    """Simulates a full disk by a file size limit, in a separate process, since the limit cannot be lifted."""
    code = (
        "import resource, sys\n"
        "from tests.export.test_saved_model import untrained\n"
        "from tfrecsession import InputError\n"
        "model = untrained(2000)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "try:\n    model.export(sys.argv[1], k=5)\n"
        "except InputError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models" / "m" / "1")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "make room" in done.stdout, done.stderr[-2000:]
    assert not list(tmp_path.iterdir())


def test_export_of_an_unfitted_model_warns(tmp_path, shop):
    rules = trs.models.MarkovChain(shop.items)
    with pytest.warns(
        UserWarning, match="this MarkovChain has never been fitted: the exported model is untrained"
    ) as said:
        rules.export(tmp_path / "1", k=5)
    assert said[0].filename == __file__


def test_a_folder_that_is_no_version_is_noted(tmp_path, shop):
    model = trs.models.Popularity(shop.items)
    model.fit(shop.train)
    with pytest.warns(UserWarning) as said:
        path = model.export(tmp_path / "popular", k=5)
    line = f"{path}: is no version that TensorFlow Serving loads: to serve it, export to {path}/1"
    assert [str(warning.message) for warning in said] == [line] and said[0].filename == __file__
    assert tf.saved_model.load(str(path)).signatures["serving_default"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*is no version")
        model.export(tmp_path / "served" / "1", k=5)
