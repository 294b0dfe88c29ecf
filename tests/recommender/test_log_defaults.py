import json

import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError, training
from tfrecsession.models import MODELS, ItemKNN
from tfrecsession.recommender.log_defaults import following
from tfrecsession.sessions.statistics import Statistics

LOGS = {
    "short": [[2, 3], [4, 5], [3, 2]],
    "long": [[2, 3, 4, 5, 6, 7, 8] * 9],
    "repeats": [[2, 2, 2, 3, 3]] * 4,
    "news": [[2, 3]] * 30 + [[4, 5]] * 5,
    "rich": [[2, 3, 4, 5, 6]] * 20,
    "ordered": [[2 + (start + step) % 40 for step in range(30)] for start in range(0, 40, 4)],
    "shuffled": [list(np.random.default_rng(user).permutation(40)[:30] + 2) for user in range(20)],
}


def chosen(model, log, given=None, items=40, **options):
    """Returns setting -> value."""
    sessions = sessions_of(LOGS[log], items, **options)
    found = following(MODELS[model], Statistics(sessions.arrays, sessions.timed), given)
    return {name: choice["value"] for name, choice in found.items()}


@pytest.fixture
def rule(monkeypatch):
    """Gives ItemKNN defaults that follow the log: `neighbours` always, `alpha` never."""

    def neighbours(log, given):
        return int(10 * log.session_length), f"a session has {log.session_length:.1f} events on average"

    monkeypatch.setattr(ItemKNN, "log_defaults", {"neighbours": neighbours, "alpha": lambda log, given: None})


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("model", MODELS)
def test_every_choice_is_a_setting_with_a_reason(model, log):
    sessions = sessions_of(LOGS[log], 40, times=range(sum(map(len, LOGS[log]))))
    chosen = following(MODELS[model], Statistics(sessions.arrays))
    assert set(MODELS[model].log_defaults) <= set(training.settings_of(model))
    assert json.loads(json.dumps(chosen)) == chosen
    for choice in chosen.values():
        assert set(choice) == {"value", "because"} and choice["because"][0].islower()
    if chosen and model not in ("user_gru", "parallel_rnn"):  # these need a log with users, with content
        values = {name: choice["value"] for name, choice in chosen.items()}
        training.build(model, sessions.items, {**training.settings_of(model), **values})


def test_settings_follow_the_log_where_they_are_not_given(shop, rule):
    length = shop.train.events / len(shop.train)
    because = f"a session has {length:.1f} events on average"
    assert training.log_defaults("item_knn", shop) == {"neighbours": {"value": int(10 * length), "because": because}}
    assert training.log_defaults("item_knn", shop, {"neighbours": 7}) == {}
    assert training.settings_of("item_knn", data=shop)["neighbours"] == int(10 * length)
    assert training.settings_of("item_knn", {"neighbours": 7}, data=shop)["neighbours"] == 7
    assert training.settings_of("item_knn")["neighbours"] == 100
    with pytest.raises(InputError, match="no setting 'neighbour'"):
        training.settings_of("item_knn", {"neighbour": 7}, data=shop)


def test_for_data_takes_the_arguments_that_follow_the_log(shop, rule):
    config = ItemKNN.for_data(shop).get_config()
    assert config["neighbours"] == training.settings_of("item_knn", data=shop)["neighbours"]
    config = ItemKNN.for_data(shop, neighbours=7, alpha=0.3).get_config()
    assert config["neighbours"] == 7 and config["alpha"] == 0.3
    assert ItemKNN(shop.items).get_config()["neighbours"] == 100


def test_settings_of_training_are_no_arguments_of_for_data(shop, monkeypatch):
    monkeypatch.setattr(trs.models.GRU4Rec, "log_defaults", {"epochs": lambda log, given: (3, "the log is small")})
    assert trs.models.GRU4Rec.for_data(shop, units=[4]).get_config()["units"] == [4]
    assert training.settings_of("gru4rec", data=shop)["epochs"] == 3


def test_a_log_without_events_has_the_fixed_defaults(rule):
    assert following(ItemKNN, Statistics(sessions_of([]).arrays)) == {}


def test_als_weighs_unobserved_items_by_the_length_of_sessions_and_the_catalogue():
    others = {"regularization": 0.3, "exponent": 0.3}
    assert chosen("als", "short", items=7) == {"unobserved_weight": 0.57, **others}  # 2 * 2 events / 7 items
    assert chosen("als", "long", items=7)["unobserved_weight"] == 1.0  # 2 * 63 / 7, at most 1
    assert chosen("als", "repeats")["regularization"] == 0.1
    assert chosen("als", "short", items=100_000)["unobserved_weight"] == 0.001  # at least
    assert chosen("als", "short", {"unobserved_weight": 0.2}) == others
    assert chosen("als", "short", {"explicit": True, "value": "rating"}) == {}


def test_als_regularizes_long_sessions_more():
    assert chosen("als", "ordered")["regularization"] == chosen("als", "shuffled")["regularization"] == 1.0
    assert chosen("als", "long")["regularization"] == 0.1  # it repeats items


def test_the_newest_events_count_alone_where_the_next_item_depends_on_them():
    assert chosen("als", "ordered")["window"] == 5 and chosen("sknn", "ordered") == {"window": 5}
    assert "window" not in chosen("als", "shuffled") and chosen("sknn", "shuffled") == {}
    assert chosen("item_knn", "ordered") == {"history": "last"}
    assert chosen("item_knn", "shuffled") == {"history": "log"}


def test_neighbours_follow_the_length_and_the_order_of_sessions():
    more = {"neighbours": 500, "recent": 2500, "idf": 5.0}
    assert chosen("vsknn", "short") == more  # with the fixed weightings
    assert chosen("vsknn", "ordered") == {**more, "weighting": "linear", "score_weighting": "div"}
    assert chosen("vsknn", "shuffled") == {**more, "weighting": "same", "score_weighting": "log", "idf": 0.5}
    assert chosen("stan", "short", timed=False) == {}
    assert chosen("stan", "repeats", timed=False) == {"position_decay": 10.0, "item_decay": 10.0}
    events = range(sum(map(len, LOGS["repeats"])))
    timed = chosen("stan", "repeats", times=events)
    assert (timed["position_decay"], timed["item_decay"]) == (0.2, 5.0)  # the order is known: the last event says most
    assert chosen("vstan", "repeats", {"item_decay": 3.0}, timed=False) == {"position_decay": 10.0, "match_decay": 2.0}


def test_slist_and_stan_read_more_of_long_histories_without_times():
    assert chosen("slist", "long", timed=False) == {
        "alpha": 0.4,
        "regularization": 3.0,
        "position_decay": 7.0,
        "inference_decay": 8.0,
    }
    history = {"neighbours": 100, "position_decay": 4.0, "item_decay": 20.0}
    assert chosen("stan", "ordered", timed=False) == chosen("stan", "long", timed=False) == history
    assert "neighbours" not in chosen("stan", "ordered", times=range(300))  # of 30 events, with times


def test_slist_learns_rare_items_from_whole_sessions():
    whole = {"alpha": 0.9, "direction": "all", "regularization": 2.0, "position_decay": 0.4}
    assert chosen("slist", "ordered", times=range(300)) == whole  # 300 events of 40 items
    assert chosen("slist", "rich", items=7) == chosen("slist", "short") == {}


def test_vstan_follows_the_order_of_long_sessions_with_times():
    timed = chosen("vstan", "ordered", times=range(300))
    assert timed == {"similarity": "vec", "position_decay": 1.0, "item_decay": 5.0, "match_decay": 0.5, **timed}
    history = {"neighbours": 100, "position_decay": 4.0, "item_decay": 20.0, "match_decay": 2.0}
    assert chosen("vstan", "ordered", timed=False) == history


def test_networks_read_long_sessions_whole():
    assert chosen("narm", "long") == {"steps": 128, "rows": 8}  # 63 events
    assert chosen("narm", "long", {"rows": 32}) == {"steps": 128}
    assert chosen("narm", "long", {"lanes": 8}) == chosen("gru4rec", "short") == chosen("hrnn", "long") == {}
    assert chosen("sasrec", "long", {"steps": 16}) == {}


def test_gru4rec_mixes_in_the_items_of_the_session_where_sessions_repeat_them():
    assert chosen("gru4rec", "repeats") == {"repeats": True}  # 3 of 4 later events
    for given in ({"repeats": False}, {"loss": "bpr_max"}, {"label_smoothing": 0.1}):  # the mixture has one loss
        assert chosen("gru4rec", "repeats", given) == {}
    assert "repeats" not in chosen("gru4rec", "ordered") and "repeats" not in chosen("narm", "repeats")


def test_gru4rec_counts_recent_events_where_items_go_stale():
    events = sum(map(len, LOGS["news"]))
    hours = [event / 24 for event in range(events)]
    assert chosen("gru4rec", "news", times=hours) == {"trend": [0.04, 0.25, 1, 7]}
    assert chosen("gru4rec", "news", {"trend": []}, times=hours) == chosen("gru4rec", "news", times=range(events)) == {}
    assert chosen("gru4rec", "news", timed=False) == chosen("gru4rec", "ordered", {"rows": 8, "steps": 64}) == {}


def test_votes_of_old_sessions_decay_as_items_go_stale():
    events = sum(map(len, LOGS["news"]))
    assert chosen("vstan", "news", times=range(events)) == {"session_decay": 1.0}
    assert chosen("stan", "news", times=range(events)) == {"session_decay": 1.0}
    assert chosen("stan", "short", times=range(6)) == {"session_decay": None}
    assert chosen("stan", "news", times=range(events), timed=False) == {}  # its times number the rows


def test_item_knn_weighs_the_last_events_of_a_session():
    assert chosen("item_knn", "short") == {"history": "quadratic", "window": 10}
    assert chosen("item_knn", "short", {"history": "last"}) == {"window": 10}
    repeated = {"itself": 1.0}  # it repeats items
    assert chosen("item_knn", "long") == {"history": "linear", "window": 10, "alpha": 0.2, **repeated}  # 63 events
