"""A second fit on train and validation together: what it sees, how often, and what the run says."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import DAY, sessions_of
from tests.training.dying import Kill, Killed
from tests.training.test_finetuning import Dies, Updates
from tests.training.test_resume import assert_same, settings_of
from tfrecsession import InputError, training
from tfrecsession.batches import Data
from tfrecsession.training.newest import Newest
from tfrecsession.training.refit import with_validation

FINETUNED = {"finetune_days": 1, "finetune_epochs": 1}


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=100, sessions=500, seed=1)


def small(train, validation, times=((), ()), timed=True, shortest=2, **columns):
    """A data set of two splits; `columns` are pairs of those of each."""
    splits = []
    for index, log in enumerate((train, validation)):
        own = {name: np.asarray(both[index]) for name, both in columns.items()}
        splits.append(sessions_of(log, times=times[index] if len(times[index]) else None, timed=timed, **own))
    info = {"fingerprint": "f", "options": {"min_session_length": shortest}}
    return Data(splits[0].items, *splits, splits[0].only(np.zeros(len(train), bool)), info)


def lists(sessions):
    return [session.tolist() for session in map(sessions.__getitem__, range(len(sessions)))]


def test_train_and_validation_together():
    data = small([[2, 3], [4, 5, 6]], [[3, 4, 2]], user=(["a", "b"], ["c"]), event=(list("vwxyz"), list("uvw")))
    both, described = with_validation(data)
    assert lists(both.train) == [[2, 3], [4, 5, 6], [3, 4, 2]] and both.train.role == "train"
    assert both.train.column("user").tolist() == ["a", "b", "c"]
    assert "".join(both.train.column("event")) == "vwxyzuvw"
    assert len(both.validation) == 0 and both.items.ids is data.items.ids
    assert both.items.counts.tolist() == [2, 2, 2, 1, 1, 0, 0] == both.train.items.counts.tolist()
    assert (described.pop("splits"), described.pop("why")[:12]) == (["train", "validation"], "the data set")
    counts = {"sessions": 3, "events": 8, "unknown": 0, "new_items": 0}
    assert described == {**counts, "vocabulary": "train"}


def test_unknown_items_of_validation_are_left_out():
    data = small([[2, 3], [4, 5]], [[3, 1, 2], [1, 4], [1], [5, 6]], event=(list("abcd"), list("efghijkl")))
    both, described = with_validation(data)
    assert lists(both.train) == [[2, 3], [4, 5], [3, 2], [5, 6]] and described["unknown"] == 3
    assert "".join(both.train.column("event")) == "abcdegkl"
    singles, _ = with_validation(small([[2], [3]], [[1], [4]], shortest=1, user=(["a", "b"], ["c", "d"])))
    assert lists(singles.train) == [[2], [3], [4]] and singles.train.column("user").tolist() == ["a", "b", "d"]
    with pytest.raises(InputError, match="refit=True: no session of validation has items that training knows"):
        with_validation(small([[2, 3]], [[1, 1]]))


def test_sessions_stay_in_the_order_of_their_start():
    times = [0.0, 0.1, 2.0, 2.1], [1.0, 3.0]  # split by their end
    data = small([[2, 3], [4, 5]], [[6, 7]], times=times, user=(["a", "b"], ["c"]))
    both, _ = with_validation(data)
    assert lists(both.train) == [[2, 3], [6, 7], [4, 5]] and both.train.column("user").tolist() == ["a", "c", "b"]
    assert (both.train.column("times") / DAY).tolist() == [0.0, 0.1, 1.0, 3.0, 2.0, 2.1]
    untimed = small([[2, 3], [4, 5]], [[6, 7]], times=([5, 6, 7, 8], [1, 2]), timed=False)
    assert lists(with_validation(untimed)[0].train) == [[2, 3], [4, 5], [6, 7]]


@pytest.mark.slow
def test_a_refitted_network_is_that_of_both_splits(data, tmp_path):
    model, settings = settings_of("packed", **FINETUNED)
    refitted = training.train(data, model, tmp_path / "refit", settings, seed=3, checkpoint=None, refit=True)
    training.train(data, model, tmp_path / "alone", settings, seed=3, checkpoint=None)
    both, _ = with_validation(data)
    assert both.train.events == data.train.events + data.joint.validation.events
    assert_same(refitted, training.train(both, model, tmp_path / "both", settings, seed=3, checkpoint=None))
    for file in ("history.json", "metrics.json"):  # of the first training
        assert (tmp_path / "refit" / file).read_text() == (tmp_path / "alone" / file).read_text()
    loaded = training.open_run(tmp_path / "refit").model()
    assert loaded.recommend([["i1"]], k=5).items.tolist() == refitted.recommend([["i1"]], k=5).items.tolist()
    info = training.open_run(tmp_path / "refit").info
    refit, newest = info["refit"], Newest.of(both.train, 1)
    assert (refit["epochs"], refit["sessions"], refit["events"]) == (3, len(both.train), both.train.events)
    assert refit["finetune"]["sessions"] == newest.sessions.sum() > 0
    updates = 3 * int(refitted.training_batches(both.train, settings, 3).cardinality())
    updates += int(refitted.newest_batches(both.train, newest.sessions, settings, 3).cardinality())
    seen = 3 * both.train.scored_events + newest.targets
    per_event = refit["updates_per_event"]
    assert per_event["refit"] == pytest.approx(updates / seen)
    assert per_event["refit"] == pytest.approx(per_event["before"], rel=0.1)
    assert info["events"] == training.open_run(tmp_path / "alone").info["events"] + seen
    assert 0 < refit["seconds"] < info["seconds"]
    assert len((tmp_path / "refit" / "refit_log.csv").read_text().splitlines()) == 1 + 4
    test = data.coded_for(loaded.items).test
    assert trs.evaluation.evaluate(loaded, test).events == test.scored_events == both.test.scored_events


@pytest.mark.slow
def test_a_model_continues_on_the_newest_sessions_where_a_new_fit_takes_too_long(data, tmp_path):
    model, settings = settings_of("packed")
    before = training.train(data, model, tmp_path / "run", settings, seed=3)
    training.train(data, "markov", tmp_path / "markov", training.settings_of("markov"))
    made = training.refit_run(data, tmp_path / "run", tmp_path / "continued", continues=True)
    whole = with_validation(data)[0]
    both, newest = whole.train, 3 * len(data.joint.validation)
    info = training.open_run(tmp_path / "continued").info
    assert newest < len(both) and info["refit"]["continued"]["sessions"] == newest
    assert (info["refit"]["continued"]["epochs"], info["refit"]["splits"]) == (2, ["train", "validation"])
    assert float(made.optimizer.learning_rate) == pytest.approx(float(before.optimizer.learning_rate))
    updates = 2 * int(made.newest_batches(both, np.arange(len(both)) >= len(both) - newest, settings, 4).cardinality())
    assert int(made.optimizer.iterations) == int(before.optimizer.iterations) + updates
    short = training.refit_run(data, tmp_path / "run", tmp_path / "short", continues=True, seconds=0)
    assert int(short.optimizer.iterations) == int(before.optimizer.iterations) + 1
    cut = training.refit_run(data, tmp_path / "run", tmp_path / "cut", seconds=0)
    assert int(cut.optimizer.iterations) == 1
    with pytest.raises(InputError, match="markov is fitted as a whole: it cannot continue"):
        training.refit_run(data, tmp_path / "markov", tmp_path / "no", continues=True)
    runs, fixed = [tmp_path / "run", tmp_path / "markov"], {"weights": [0.7, 0.3], "refit": True}
    blended = training.blend(data, runs, tmp_path / "blend", continues=[0], seconds=100, **fixed)
    assert_same(blended.members[0], made)
    refit = training.open_run(tmp_path / "blend").info["refit"]
    assert refit["continued"] == {model: info["refit"]["continued"]}
    markov = trs.models.MarkovChain(whole.items)
    markov.fit(both)
    histories = [[data.items.ids[i]] for i in range(20)]
    scores = [found.recommend(histories, k=20).scores for found in (markov, blended.members[1])]
    np.testing.assert_array_equal(*scores)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["popularity", "session_popularity", "item_knn", "vsknn", "als"])
def test_counted_models_are_counted_again(model, data, tmp_path):
    settings = training.settings_of(model)
    refitted = training.train(data, model, tmp_path / "refit", settings, refit=True)
    alone = training.train(data, model, tmp_path / "alone", settings)
    both, _ = with_validation(data)
    other = training.train(both, model, tmp_path / "both", settings)
    histories = [[data.items.ids[i]] for i in range(20)]
    scores = [found.recommend(histories, k=20).scores for found in (refitted, other, alone)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    info = json.loads((tmp_path / "refit" / "run.json").read_text())
    assert info["refit"]["events"] == both.train.events and "epochs" not in info["refit"]
    assert (tmp_path / "refit" / "metrics.json").read_text() == (tmp_path / "alone" / "metrics.json").read_text()


def test_a_pair_model_learns_the_users_of_both(data, tmp_path):
    model, settings = settings_of("factors", **FINETUNED)
    training.train(data, model, tmp_path / "run", settings, refit=True)
    assert training.open_run(tmp_path / "run").info["refit"]["epochs"] == 3


@pytest.mark.slow
def test_an_interrupted_refit_ends_as_an_uninterrupted_one(data, tmp_path):
    model, settings = settings_of("packed", **FINETUNED)
    options = {"seed": 3, "refit": True}
    whole = training.train(data, model, tmp_path / "whole", settings, **options, checkpoint=None)
    out, resumed = tmp_path / "broken", Updates()

    class DiesInRefit(training.Progress):
        """Dies in the second fit, to which only progress is passed."""

        fits = 0

        def on_train_begin(self, logs=None):
            super().on_train_begin(logs)
            self.fits += 1

        def on_train_batch_end(self, batch, logs=None):
            if self.fits == 2 and batch == 5:  # the first is the rest of the fine-tuning
                raise Killed

    for death in (Kill(5), Dies(3, 2), DiesInRefit()):
        with pytest.raises(Killed):
            training.train(data, model, out, settings, **options, checkpoint=2, callbacks=[death])
    assert (tmp_path / "broken.unfinished" / "refit").is_dir()
    again = training.train(data, model, out, settings, **options, checkpoint=2, callbacks=[resumed])
    assert not resumed.rates  # the first training is not repeated
    assert_same(whole, again)
    for file in ("history.json", "metrics.json"):
        assert (out / file).read_text() == (tmp_path / "whole" / file).read_text()
    infos = [training.open_run(path).info["refit"] for path in (out, tmp_path / "whole")]
    assert {**infos[0], "seconds": 0} == {**infos[1], "seconds": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "whole"]


def test_refit_is_refused_without_validation_or_from_files(data, tmp_path):
    empty = replace(data, validation=data.validation.only(np.zeros(len(data.validation), bool)))
    with pytest.raises(InputError, match="refit=True: the data has no validation split"):
        training.train(empty, "popularity", tmp_path / "run", {}, refit=True)
    model, settings = settings_of("packed")
    with pytest.raises(InputError, match="refit=True: needs all training data at once; leave data_memory out"):
        training.train(data, model, tmp_path / "run", settings, refit=True, data_memory="1GB")
    assert not list(tmp_path.iterdir())
