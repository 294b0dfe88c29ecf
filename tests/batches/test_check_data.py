"""A path in place of a data set, a name in place of a list, a folder in place of a log: one line says what to give."""

import pandas as pd
import pytest

import tfrecsession as trs
from tfrecsession.errors import InputError

CALLS = {
    "compare": lambda data, out: trs.evaluation.compare(data, ["popularity"], out),
    "tune": lambda data, out: trs.evaluation.tune(data, "item_knn", out, trials=1),
    "best": lambda data, out: trs.evaluation.best(data, "5s", out),
    "train": lambda data, out: trs.training.train(data, "popularity", out, {}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("given", "said"), [("clicks/", "trs.load('clicks/'), not str"), ({}, "not dict")])
def test_a_path_is_no_data_set(call, given, said, tmp_path):
    with pytest.raises(InputError, match="data: must be a data set") as error:
        call(given, tmp_path / "out")
    assert said in str(error.value) and not list(tmp_path.iterdir())


def test_a_name_is_no_list_of_names(shop, tmp_path):
    for call in (trs.evaluation.compare, lambda data, models, out: trs.evaluation.best(data, "5s", out, models=models)):
        with pytest.raises(InputError, match=r"models='markov': must be a list of names, such as \['markov'\]"):
            call(shop, "markov", tmp_path / "out")


def test_the_log_comes_before_the_folder(tmp_path):
    with pytest.raises(InputError, match=r"out: must be the folder to create, prepare\(LOG, FOLDER\), not DataFrame"):
        trs.prepare(tmp_path / "out", pd.DataFrame({"item": ["a"]}))
