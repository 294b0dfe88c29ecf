import copy

import pytest

MODELS = {  # label -> (kind, share of the best score, fit seconds, latency in ms)
    "gru4rec": ("gru4rec", 1.0, 24.5, 7.8),
    "item_knn": ("item_knn", 0.8, 0.13, 0.7),
    "last <5> & co": ("item_knn", 0.79, 0.2, 0.9),
    "popularity": ("popularity", 0.2, 0.01, 0.6),
}
BEST = {"recall": 0.55, "mrr": 0.25, "ndcg": 0.31}
LABELS = {
    "position": ["2", "3", "4", "5", "6-10", "11-20", "21+"],
    "popularity_decile": [f"{number}: {1000 - 90 * number}-{1100 - 100 * number}" for number in range(1, 11)],
    "in_training": ["known", "new"],
    "in_session": ["returning", "fresh"],
    "event_type": ["view", "<script>alert('x')</script>"],
}
EMPTY = {("position", "21+"), ("in_training", "new")}


def _scores(share, k):
    metrics = {f"{name}@{k}": value * share for name, value in BEST.items()}
    return metrics, {name: [0.97 * value, 1.03 * value] for name, value in metrics.items()}


def _cell(name, label, share, number):
    if (name, label) in EMPTY:
        nothing = {f"{metric}@20": None for metric in BEST}
        return {"events": 0, "sessions": 0, **nothing, "intervals": dict.fromkeys(nothing)}
    metrics, intervals = _scores(share * (1 - 0.04 * number), 20)
    return {"events": 2400 - 200 * number, "sessions": 100, **metrics, "intervals": intervals}


def _row(label):
    kind, share, seconds, latency = MODELS[label]
    metrics, intervals = {}, {}
    for k in (10, 20):
        scores, bounds = _scores(share if k == 20 else 0.8 * share, k)
        metrics |= scores | {
            f"coverage@{k}": 0.5 * share,
            f"popularity@{k}": 0.3 / share,
            f"gini@{k}": 0.9 - 0.5 * share,
        }
        intervals |= bounds
    return {
        "model": label,
        "kind": kind,
        "data": "0123456789abcdef",
        "metrics": metrics,
        "intervals": intervals,
        "slices": {
            name: {label: _cell(name, label, share, number) for number, label in enumerate(labels)}
            for name, labels in LABELS.items()
        },
        "events": 9074,
        "seconds": 1.5,
        "train_seconds": seconds,
        "cost": {
            "events_per_second": 6049.3,
            "latency_ms": {"p50": latency, "p99": 3 * latency, "mean": latency, "histories": 300, "k": 20},
            "fit_memory_bytes": None if kind == "popularity" else 318e6,
            "evaluate_memory_bytes": 45.4e6,
            "disk_bytes": 2.1e6,
        },
        "seed": 1,
        "settings": {"units": [100], "name": "<b>"} if kind == "gru4rec" else {},
        "versions": {"tfrecsession": "0.1.0", "keras": "3.15.1"},
        "run": f"runs/{kind}",
        "machine": {"processor": "a processor", "cores": 2, "accelerators": [], "system": "Linux x86_64"},
    }


def _pairs():
    found = []
    for metric, value in BEST.items():
        for label, (_, share, *_) in MODELS.items():
            if share < 1:
                p = 0.4 if share == 0.79 else 0.0001
                pair = {"metric": f"{metric}@20", "best": "gru4rec", "model": label, "difference": value * (share - 1)}
                bounds = [value * (share - 1.02), value * (share - 0.98)]
                found.append({**pair, "interval": bounds, "p": p, "p_holm": min(1, 2 * p)})
    return found


@pytest.fixture
def results(by_hand):
    """Returns a hand-written results.json that a test may change."""
    return copy.deepcopy(by_hand)


@pytest.fixture(scope="session")
def by_hand():
    split = {"sessions": 2455, "events": 11529, "items": 1820, "scored_events": 9074}
    return {
        "data": "0123456789abcdef",
        "seed": 1,
        "models": [_row(label) for label in reversed(MODELS)],
        "bounds": [
            {"model": "chance", "metrics": _scores(0.01, 20)[0], "events": 9074, "seconds": 0.0},
            {"model": "ceiling", "metrics": _scores(1.3, 20)[0], "events": 9074, "seconds": 0.0},
        ],
        "pairs": _pairs(),
        "protocol": {
            "version": 1,
            "split": "test",
            "k": [10, 20],
            "headline_k": 20,
            "catalogue": 1939,
            "sessions": 2455,
            "events": 9074,
            "ties": "against the model",
            "rules": {"ties": "Ties count against the model."},
            "filters": ["Items with fewer than 5 events were dropped."],
        },
        "dataset": {
            "source": "clicks <1>.csv",
            "splits": {"test": {**split, "first": "2026-01-08T00:12:45Z", "last": None}},
            "steps": [{"step": "reading", "events": 97716, "sessions": 20000, "items": None}],
            "notes": ["a note"],
            "lengths": {"train": {"mean": 4.9, "median": 3, "longest": 195}},
            "popularity": {"top_1_percent": 0.18, "top_10_percent": 0.45},
        },
        "versions": {"tfrecsession": "0.1.0"},
        "created": "2026-01-09T10:00:00+00:00",
    }
