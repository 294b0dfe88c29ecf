"""The search for the best model: halving, the budget, interruptions, and the whole way to an export."""

import json
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import tfrecsession as trs
from tests.training.dying import Killed
from tfrecsession import InputError, evaluation, training
from tfrecsession.cli import main
from tfrecsession.evaluation.search import best_model, halving
from tfrecsession.evaluation.search.blending import LATE, affordable
from tfrecsession.evaluation.search.candidates import Candidates
from tfrecsession.evaluation.search.costs import Costs
from tfrecsession.evaluation.search.halving import Halving
from tfrecsession.evaluation.search.ledger import FILE, Ledger
from tfrecsession.evaluation.search.samples import newest, sampled, shares_of
from tfrecsession.evaluation.search.trials import _Stop
from tfrecsession.models import by_name
from tfrecsession.training.recipe import space_for


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("best") / "data"
    trs.prepare("synthetic:items=80,sessions=300,seed=1", folder, min_item_support=1)
    return trs.load(folder)


class Hill:
    """Stands for `Trials.run`: a value that depends on the settings, a cost that depends on the share.

    kill: the number of the trial that is killed, once.
    pace: seconds of an epoch on all of train, and of the fit of a counted model.
    """

    def __init__(self, kill=None, pace=4.0):
        self.kill, self.seen, self.pace = kill, [], pace

    def __call__(self, candidate, share, best, seconds, tell):
        if len(self.seen) == self.kill:
            self.kill = None
            raise Killed
        assert (candidate.key, share) not in self.seen, "a finished trial is repeated"
        self.seen.append((candidate.key, share))
        base = {"gru4rec": 0.5, "slist": 0.45}.get(candidate.model, 0.3)
        if candidate.model == "vsknn":
            raise InputError("no times")
        noise = int(candidate.key[-4:], 16) / 65536
        epochs = candidate.settings.get("epochs", 1)
        cost = self.pace * share * epochs
        return {
            "value": 0.0 if candidate.model == "popularity" else base * (0.7 + 0.3 * share) + 0.1 * noise,
            "epochs": epochs,
            "seconds": cost,
            "fit_seconds": cost,
            "scored_events": 100,
            "score_seconds": 0.1,
            "latency_ms": 30.0 if candidate.network else 1.0,
        }


def searched(data, out, run, budget=300.0, within=lambda result: True, models=None):
    out.mkdir(exist_ok=True)
    ledger = Ledger(out, {"data": "d"}, budget)
    settings_of = partial(training.settings_of, data=data)
    candidates = Candidates(
        data, models, settings_of, training.space_of, lambda model: by_name(model).learning is not None
    )
    lines = []
    search = Halving(ledger, candidates, run, [0.25, 1.0], 1000, 100, 30, within, 0, lines.append)
    search.search()
    return search, lines


def untimed(search):
    """Returns the results without the seconds of failed trials, which are those of the clock."""
    return [result | ({"seconds": 0} if result["state"] == "failed" else {}) for result in search.results]


def test_a_search_that_is_killed_ends_with_the_same_choice(data, tmp_path):
    whole, _ = searched(data, tmp_path / "whole", full := Hill())
    assert len(full.seen) > 20
    for kill in (0, 1, 5, len(full.seen) // 2, len(full.seen) - 1):
        run, out = Hill(kill), tmp_path / f"killed{kill}"
        with pytest.raises(Killed):
            searched(data, out, run)
        resumed, _ = searched(data, out, run)
        assert untimed(resumed) == untimed(whole) and resumed.best() == whole.best()
        assert run.seen == full.seen


def test_the_best_of_each_share_go_on_and_failures_are_told(data, tmp_path):
    search, lines = searched(data, tmp_path / "s", Hill())
    assert search.results[0]["model"] == "popularity" and search.results[0]["share"] == 1.0
    first = [result for result in search.results if not result["network"]][1:10]
    assert all(result["share"] == 0.25 for result in first)
    ranked = sorted((r for r in first if r["state"] == "complete"), key=lambda r: -r["value"])
    went_on = [r["key"] for r in search.results if r["share"] == 1.0 and not r["network"]][1:4]
    assert went_on == [r["key"] for r in ranked[:3]]
    assert search.best()["model"] == "gru4rec"
    assert any(line.startswith("trial 10, vsknn on 25.0% of train: failed, no times") for line in lines)
    assert "best so far" in lines[-1] and lines[-1].endswith(" of 300 s")
    assert len({(r["key"], r["share"]) for r in search.results}) == len(search.results)
    assert len([r for r in search.results if r["model"] == "gru4rec"]) > 4  # its settings were searched


def test_the_budget_is_kept_with_a_reserve_for_the_end(data, tmp_path):
    search, _ = searched(data, tmp_path / "s", Hill(), budget=60.0)
    assert search.ledger.spent <= 60.0 and search.ledger.spent + search.reserve() >= 40
    networks = [result for result in search.results if result["network"]]
    assert networks and any(result["settings"]["epochs"] < 5 for result in networks)  # as many epochs as can be paid
    again, _ = searched(data, tmp_path / "s", Hill(), budget=200.0)
    assert len(again.results) > len(search.results)
    nothing, _ = searched(data, tmp_path / "no", Hill(), budget=0.0)
    assert [result["model"] for result in nothing.results] == ["popularity"] and "gru4rec" in nothing.left_out


def test_a_usable_model_is_fitted_even_if_it_takes_a_little_longer(data, tmp_path):
    slow = Hill()

    def run(candidate, share, *rest):
        result = slow(candidate, share, *rest)
        slowly = {"seconds": 30.0 * share, "fit_seconds": 30.0 * share}
        return {**result, **slowly} if candidate.model != "popularity" else result

    search, _ = searched(data, tmp_path / "s", run, budget=61.0, models=["vstan", "slist", "markov"])
    assert search.best()["model"] != "popularity" and search.ledger.spent < 90


def test_the_leading_network_is_fitted_on_all_of_train_before_other_networks(data, tmp_path):
    search, _ = searched(data, tmp_path / "s", Hill())
    networks = [result for result in search.results if result["network"]]
    assert [result["share"] for result in networks[:2]] == [0.25, 1.0] and networks[0]["settings"]["epochs"] == 1
    assert networks[1]["key"] == search.candidates.lead().key and networks[1]["settings"]["epochs"] == 8
    assert {member["network"] for member in search.for_a_blend()} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("pace", [0.5, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("budget", [60.0, 300.0, 1800.0])
def test_the_budget_pays_for_a_blend_with_a_network_and_its_last_fit(data, tmp_path, pace, budget):
    search, _ = searched(data, tmp_path / "s", Hill(pace=pace), budget)
    most = max(search.ledger.left, LATE * budget)
    members = affordable(search.for_a_blend(), search.costs, most)
    continues = search.costs.continues(members)
    assert search.ledger.spent + search.costs.of_the_end(members, continues) <= 1.1 * budget
    if budget >= 30 * pace:
        assert {member["network"] for member in members} == {True, False}
        network = next(member for member in members if member["network"])
        assert network["epochs"] >= 4 and (not continues or budget < 60 * pace)


def test_a_blend_that_is_too_dear_loses_counted_members_before_its_network(data, tmp_path):
    costs = Costs(Ledger(tmp_path, {}, 100.0), [], 1000, 100, 30)

    def member(key, network, seconds):
        return {
            "key": key,
            "network": network,
            "fit_seconds": seconds,
            "score_seconds": 1.0,
            "scored_events": 100,
        }

    members = [member("slist", False, 2.0), member("gru4rec", True, 40.0), member("vstan", False, 1.0)]
    members += [member("sasrec", True, 60.0)]
    whole = costs.of_the_end(members, continues=True)
    assert affordable(members, costs, whole) == members
    left = [found["key"] for found in affordable(members, costs, whole - 0.5)]
    assert left == ["slist", "gru4rec", "sasrec"]
    assert [found["key"] for found in affordable(members, costs, 0.0)] == ["slist", "gru4rec"]
    assert [found["key"] for found in affordable(members[::2], costs, 0.0)] == ["slist", "vstan"]
    assert costs.continues(members) and not costs.continues(members[:1])


def test_the_pace_of_a_network_leaves_out_the_time_to_trace_its_graphs(data):
    now = [0.0]
    model = training.build("gru4rec", data.items, settings := training.settings_of("gru4rec", {"units": [4]}))
    stop = _Stop("val_ndcg@20", 0.0, 100.0, settings, lambda doing: None)
    stop.clock = lambda: now[0]
    stop.set_model(model)
    stop.set_params({"epochs": 2, "steps": 4})
    stop.on_train_begin()
    for epoch, first in enumerate((7.0, 0.5)):
        for batch in range(4):
            now[0] += first if batch == 0 else 0.5
            stop.on_train_batch_end(batch)
        now[0] += 3.0 - epoch
        stop.on_epoch_end(epoch, {"val_ndcg@20": 0.1})
    assert stop.epoch_seconds(5.0) == pytest.approx(4 * 0.5 + 2.0) and stop.epoch_seconds(1.0) == pytest.approx(3.0)


def test_limits_leave_out_what_is_too_slow(data, tmp_path):
    search, _ = searched(data, tmp_path / "s", Hill(), within=lambda result: result["latency_ms"] < 20)
    assert search.best()["model"] == "slist" and not search.best()["network"]


def test_sampled_settings_are_valid_and_repeatable(data):
    settings_of = partial(training.settings_of, data=data)
    networks = Candidates(data, None, settings_of, training.space_of, lambda model: by_name(model).learning is not None)
    first = networks.first(True)
    assert [candidate.model for candidate in first[:1]] == ["gru4rec"]
    for best in (first, networks.first(False)[:2]):
        found = networks.sampled(best, 6, [0, 1])
        assert [each.key for each in found] == [each.key for each in networks.sampled(best, 6, [0, 1])]
        assert len({each.key for each in found}) == len(found) == 6
        for candidate in found:
            training.build(candidate.model, data.items, training.settings_of(candidate.model, candidate.settings))


@pytest.mark.parametrize("timed", [True, False])
def test_a_log_without_times_has_no_settings_that_need_them(timed):
    space = space_for("gru4rec", SimpleNamespace(train=SimpleNamespace(timed=timed)))
    assert ("trend" in space) == timed and "learning_rate" in space


def test_what_is_tried_first_follows_the_log():
    class Log:
        repeats, turnover, days, items = 0.3, 0.6, 8.0, ()

    class Few:
        statistics, items = Log, ()

    def tried(models=("slist", "gru4rec")):
        return Candidates(Few, models, training.settings_of, training.space_of, lambda model: model == "gru4rec")

    def first(network):
        return [candidate.settings for candidate in tried().first(network)]

    def lead():
        return tried().lead().settings

    assert [settings["session_decay"] for settings in first(False)] == [None, 1.0]
    networks = first(True)
    assert all(settings["repeats"] and settings["decay"] == "linear" for settings in networks)
    newest = [(settings["trend"], settings["finetune_days"]) for settings in networks if settings["finetune_days"]]
    assert newest == [([], Log.days / 4), ([0.04, 0.25, 1, 7], Log.days / 4)]
    assert [settings["session_decay"] for settings in networks].count(1.0) == 1
    assert lead()["trend"] and lead()["finetune_days"] == Log.days / 4  # news
    Log.turnover = 0.1
    assert lead() == first(True)[0] and lead()["repeats"] and not lead()["trend"]
    assert (lead()["loss"], lead()["logq"], lead()["epochs"]) == ("cross_entropy", 1.0, 8)
    Log.repeats = 0.05
    assert [settings["repeats"] for settings in first(True)] == [False, True]
    Log.repeats = 0.0
    assert len(first(True)) == len(first(False)) == 1 and not lead()["repeats"]
    assert tried(["slist"]).lead() is None


def test_shares_and_samples(data):
    assert shares_of(data) == [1.0]
    assert sampled(data.train, 10**9, 0) is data.train
    few = sampled(data.train, 50, 0)
    assert 50 <= few.scored_events < 80
    part = newest(data.train, 0.25)
    assert part.values.tolist() == data.train.values[-part.events :].tolist()
    assert abs(part.events / data.train.events - 0.25) < 0.05


def test_the_ledger_is_bound_to_its_search(tmp_path):
    clock = partial(next, count())
    ledger = Ledger(tmp_path, {"data": "a"}, 10.0, clock)
    assert ledger.step("one", lambda: {"value": 1})["seconds"] == 1 and ledger.spent == 1
    again = Ledger(tmp_path, {"data": "a"}, 10.0, clock)
    assert again.step("one", None) == ledger.steps["one"] and again.left == 9
    assert again.step("two", lambda: 1 / 0)["error"] == "ZeroDivisionError: division by zero"
    with pytest.raises(InputError, match="holds a search that differs .*data: 'a' there, 'b' now"):
        Ledger(tmp_path, {"data": "b"}, 10.0)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(InputError, match="cannot be read: start again with overwrite=True"):
        Ledger(tmp_path, {"data": "a"}, 10.0)


@pytest.fixture
def one_round(monkeypatch):
    """One round of each kind, and seconds that do not depend on the machine."""
    monkeypatch.setattr(halving, "ROUNDS", 1)
    monkeypatch.setattr(best_model, "Ledger", partial(Ledger, clock=partial(next, count())))


@pytest.mark.parametrize("models", [["markov"], pytest.param(["markov", "item_knn"], marks=pytest.mark.slow)])
def test_the_whole_way_and_after_a_kill(data, tmp_path, one_round, capsys, models):
    options = {"models": models, "budget": "1000s"}
    out, lines = tmp_path / "best", []

    def killing(line):
        lines.append(line)
        if line.startswith("scoring test"):
            raise Killed

    with pytest.raises(Killed):
        evaluation.best(data, out=out, progress=killing, **options)
    assert not (out / "best.json").exists()
    lines.clear()
    report = tmp_path / "best_report.json"
    words = ["best", str(data.path), "--out", str(out), "--budget", "1000s", "--models", ",".join(models)]
    assert main([*words, "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found == json.loads((out / "best.json").read_text())
    assert {row["model"] for row in found["leaderboard"]} == {"popularity", *models}
    assert found["model"] in (*models, "blend") and found["refit"] and found["split"] == "test"
    run = training.open_run(out / "run")
    known = data.coded_for(run.model().items)
    assert len(known.items) - len(data.items) == run.info["refit"]["new_items"] > 0
    scored = evaluation.evaluate(run.model(), known.test, (20,), slices=False)
    assert scored.metrics["ndcg@20"] == pytest.approx(found["metrics"]["ndcg@20"])
    assert found["intervals"]["mrr@20"] == scored.intervals["mrr@20"] and run.info["refit"]["splits"]
    histories = data.test.beginnings(3)
    items, _ = trs.export.ask(found["saved_model"], histories)
    assert items.tolist() == run.model().recommend(histories, k=20).items.tolist()
    assert "fitted again on train and validation" in " ".join(found["why"])
    assert "Why this model" in (out / "report.html").read_text() and "svg" in (out / "report.html").read_text()
    assert "on validation, the best settings of each model" in capsys.readouterr().out
    assert evaluation.best(data, out=out, **options) == found  # finished already
    with pytest.raises(InputError, match="holds a search that differs .*seed"):
        evaluation.best(data, out=out, seed=1, **options)


def test_a_budget_for_nothing_gives_popularity(data, tmp_path):
    found = evaluation.best(data, 0, tmp_path / "best")
    assert found["model"] == "popularity" and found["refit"] in (True, False)
    assert found["why"][0].startswith("The budget was too small to try another model than popularity")


def test_bad_arguments_and_logs_of_single_events(data, tmp_path, capsys):
    for options, message in (
        ({"budget": "soon"}, "budget='soon': must be a time such as 30m"),
        ({"budget": -1}, "budget=-1"),
        ({"latency": "fast"}, "latency='fast': must be a time such as 20ms"),
        ({"size": "big"}, "size='big': must be a size such as 500MB"),
        ({"metric": "hits@3"}, "metric='hits@3': must be one of recall@k"),
        ({"models": []}, "must name at least one model"),
        ({"models": ["gru5rec"]}, "no model is called 'gru5rec'"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.best(data, out=tmp_path / "best", **options)
    assert main(["best", str(data.path), "--out", str(tmp_path / "best"), "--models", "gru5rec"]) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert main(["best", str(data.path), "--out", str(tmp_path / "other")]) == 2
    assert "holds no search" in capsys.readouterr().err
    single = trs.batches.Data(
        data.items,
        data.train.only(np.diff(data.train.offsets) < 0),
        data.validation.only(np.diff(data.validation.offsets) < 0),
        data.test,
        data.info,
    )
    with pytest.raises(InputError, match="every session of train has a single event"):
        evaluation.best(single, out=tmp_path / "best")
    assert not (tmp_path / "best").exists()
