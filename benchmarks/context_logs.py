"""Context on real logs: news (globo) and the click-outs of hotel searches (trivago).

    TFRECSESSION_DATA=... python benchmarks/context_logs.py --out DIR [--logs globo,trivago] [--seeds 0,1]

Globo: the last day, or `--day`, is the test split, the newest `--sessions` that end before it are the training.
GRU4Rec, GRU4Rec in context, and ContextualGRU with one more place of context in each row. Trivago: the newest 35% of
the sessions are the test split. Every action is an event, searches and filters are events without an item, and hotels
need two actions. Networks have the same width, loss, negatives and epochs. The learning rate of each, and whether
context has the hour, maximises Recall@20 x MRR@20 on a validation split: the day before the test day, or the newest
quarter of trivago's training. Then each is trained again up to the test split and scored once per seed. `gain` is the
difference to the first network of the same seed, paired by session; for click-outs after a click-out, to the network
that reads click-outs alone. The same command resumes.
"""

import argparse
import dataclasses
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import duckdb
import numpy as np
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays

METRICS = ("recall@20", "mrr@20")
COMMON = {"units": [100], "rows": 64, "decay": "linear"}

FIELDS = {
    "click_environment": "environment",
    "click_deviceGroup": "device",
    "click_os": "os",
    "click_country": "country",
    "click_region": "region",
    "click_referrer_type": "referrer",
}
PLACE = ["environment", "device", "os", "country", "region"]
DAY = 86_400_000  # milliseconds

CLICK_OUT = "clickout item"
EVENTS = {
    "click-outs": [CLICK_OUT],
    "images": ["interaction item image"],
    "other looks": ["interaction item info", "interaction item rating", "interaction item deals"],
    "all": None,
}
ACTIONS = """
select session_id as session, user_id as "user", timestamp as time, step, action_type as action, platform, city, device,
    case when regexp_full_match(reference, '[0-9]+') then reference end as item,
    case when not regexp_full_match(reference, '[0-9]+') then reference end as words
from '{path}'
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data and runs")
    parser.add_argument("--logs", default="globo,trivago")
    parser.add_argument("--seeds", default="0,1", help="of the models that are scored on test")
    parser.add_argument("--sessions", type=int, default=60_000, help="of Globo's training")
    parser.add_argument("--day", default="2017-10-08", help="of Globo's test; the day before it is for validation")
    parser.add_argument("--name", help="name of the file in results/, with a single log (default: context_LOG)")
    parser.add_argument("--rates", default="0.05,0.1,0.2", help="learning rates that are tried on validation")
    parser.add_argument("--epochs", type=int, default=4, help="on trivago three times as many")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.rates = [float(rate) for rate in options.rates.split(",")]
    for log in options.logs.split(","):
        out = Path(options.out) / log
        out.mkdir(parents=True, exist_ok=True)
        rows = {"globo": globo, "trivago": trivago}[log](Path(folder), out, options)
        write_rows(options.name or f"context_{log}", rows)


def globo(folder: Path, out: Path, options) -> list[dict]:
    def read(context, request):
        return {"context": [*PLACE, "referrer", *context], "request": [*PLACE, *request]}

    columns = {"no hour": read(["gap"], ["gap"]), "hour": read(["gap", "hour"], ["gap", "hour"])}
    day = np.datetime64(options.day)
    days = {"tuning": str(day - 1), "final": str(day)}  # the day that is scored
    data = {stage: newest_clicks(folder, out / stage, day, options.sessions) for stage, day in days.items()}
    # without `trend` and `repeats`, which GRU4Rec alone would choose by the log: context alone differs
    common = COMMON | {"epochs": options.epochs, "trend": [], "repeats": False}
    tried = {name: common | reads for name, reads in columns.items()}
    clock = best(data["tuning"], "contextual_gru", tried, out / "hour")
    context = columns[clock]
    models = {
        "GRU4Rec": ("gru4rec", {}),
        "GRU4Rec in context": ("gru4rec", context | {"context_as": "both"}),
        "contextual_gru, input": ("contextual_gru", {"context": context["context"], "dynamics": False}),
        "contextual_gru, input and output": ("contextual_gru", context | {"dynamics": False}),
        "contextual_gru, input, output and dynamics": ("contextual_gru", context),
    }
    rows, chosen = [], chosen_rates(data["tuning"], models, common, out / "rates", options.rates)
    for seed in options.seeds:
        first = None
        for name, (model, _) in models.items():
            run = out / "test" / f"{name}.{seed}"
            found = scored(trained(data["final"], run, model, chosen[name], seed), data["final"].test)
            first = first or found
            values = row(found, first, data["final"].test)
            rows.append({"model": name, "seed": seed, **values, "rate": chosen[name]["learning_rate"], "clock": clock})
            print(rows[-1], flush=True)
    return rows


def newest_clicks(folder: Path, out: Path, day: str, sessions: int):
    """Returns the sessions of a day, up to its end, as the scored split, after the newest that have ended before it."""
    if not out.exists():
        clicks = duckdb.sql(f"from '{folder / 'globo' / 'clicks.parquet'}'")  # noqa: F841, read by the next query
        renamed = ", ".join(f"{column} as {name}" for column, name in FIELDS.items())
        begin = f"epoch_ms(timestamp '{day}')"
        table = duckdb.sql(f"""
            with spans as (
                select session_id, min(click_timestamp) as first, max(click_timestamp) as last from clicks group by all
            ),
            before as (
                select session_id from spans where last < {begin} order by first desc, session_id limit {sessions}
            ),
            scored as (select session_id from spans where first >= {begin} and first < {begin} + {DAY})
            select session_id as session, click_article_id as item, click_timestamp as time, {renamed}
            from clicks where session_id in (from before) or session_id in (from scored)
                and click_timestamp < {begin} + {DAY}
        """).df()
        begin = int(np.datetime64(day, "ms").astype(np.int64))
        # the newest split, counted back from the last click: exactly the sessions of the day
        span = f"{-(-(int(table.time.max()) - begin) // 1000)}s"
        spans = {"test_span": span, "validation_span": "0d"}
        if out.name == "tuning":
            spans = {"test_span": "0d", "validation_span": span}
        trs.prepare(table, out, item="item", time="time", session="session", context=[*FIELDS.values()], **spans)
    return trs.load(out)


def trivago(folder: Path, out: Path, options) -> list[dict]:
    data = {stage: actions(folder, out / stage) for stage in ("tuning", "final")}
    reads = {"context": ["event", "words", "device", "platform", "city", "gap", "position"]}
    reads |= {"request": ["device", "platform", "city", "gap"]}
    clicks = {"target_events": [CLICK_OUT]}
    models = {
        "GRU4Rec, click-outs as targets": ("gru4rec", clicks),
        "GRU4Rec, all events as targets": ("gru4rec", {}),
        "GRU4Rec in context, click-outs as targets": ("gru4rec", clicks | reads | {"context_as": "both"}),
        "GRU4Rec in context, all events as targets": ("gru4rec", reads | {"context_as": "both"}),
        "contextual_gru, click-outs as targets": ("contextual_gru", clicks | reads),
        "contextual_gru, all events as targets": ("contextual_gru", reads),
    }
    alone = "GRU4Rec, click-outs alone as input"
    common = COMMON | {"epochs": 3 * options.epochs, "repeats": True, "rows": 16}
    chosen = chosen_rates(data["tuning"], models, common, out / "rates", options.rates, [CLICK_OUT])
    only = {stage: click_outs_alone(data[stage]) for stage in data}
    chosen |= chosen_rates(only["tuning"], {alone: ("gru4rec", {})}, common, out / "rates", options.rates)
    rows, test = [], data["final"].test
    types = np.asarray(test.column("event"))
    for seed in options.seeds:
        found = {name: scored(model, test) for name, model in counted(data["final"]).items()}
        for name, (model, _) in models.items():
            run = out / "test" / f"{name}.{seed}"
            found[name] = scored(trained(data["final"], run, model, chosen[name], seed), test)
        first = found[next(iter(models))]
        for name, every in found.items():
            for label, wanted in EVENTS.items():
                kept = np.isin(types[every.event], wanted) if wanted else np.ones(every.events, bool)
                scores = part(test, every, kept)
                against = scores if every is first else part(test, first, kept)
                rows.append({"model": name, "seed": seed, "targets": label, **row(scores, against, test)})
                print(rows[-1], flush=True)
        # the click-outs that follow another one of their session, which a log of click-outs alone has too
        later = np.flatnonzero(follows_click_out(test)[first.event] & (types[first.event] == CLICK_OUT))
        run = out / "test" / f"{alone}.{seed}"
        ranks = scored(trained(only["final"], run, "gru4rec", chosen[alone], seed), only["final"].test).ranks
        of_alone = trs.evaluation.measure(test, first.event[later], ranks, k=(20,), slices=False)
        for name, every in {alone: None, **{name: found[name] for name in models}}.items():
            scores = part(test, every, later) if every else of_alone
            labels = {"model": name, "seed": seed, "targets": "click-outs after a click-out"}
            rows.append({**labels, **row(scores, of_alone, test)})
            print(rows[-1], flush=True)
    return [{**each, "rate": chosen.get(each["model"], {}).get("learning_rate", "")} for each in rows]


def actions(folder: Path, out: Path):
    """Returns trivago's actions; the newest 35% of the sessions are for the test, so that tuning does not see them."""
    if not out.exists():
        table = duckdb.sql(ACTIONS.format(path=folder / "trivago" / "validation_100k.parquet")).df()
        spans = {"test_span": "35%", "validation_span": "0d"}
        if out.name == "tuning":
            starts = table.groupby("session").time.min()
            spans = {"test_span": "0d", "validation_span": "25%", "where": f"time < {starts.quantile(0.65):.0f}"}
        columns = {name: name for name in ("item", "time", "session", "user", "order")} | {"order": "step"}
        context = ["words", "platform", "city", "device"]
        options = {"time_unit": "s", "event": "action", "itemless": "keep", "min_item_support": 2}
        trs.prepare(table, out, context=context, **columns, **options, **spans)
    return trs.load(out)


def counted(data) -> dict:
    """Returns fitted baselines."""
    models = {}
    for name in ("session_popularity", "vsknn"):
        models[name] = trs.training.build(name, data.items, trs.training.settings_of(name, data=data))
        models[name].fit(data.train)
    return models


def click_outs_alone(data):
    """Returns the data set with the click-outs alone, of the same vocabulary and splits."""

    def only(split):
        is_kept = np.asarray(split.column("event")) == CLICK_OUT
        before = np.concatenate([[0], np.cumsum(is_kept)])
        offsets = np.unique(before[split.offsets])  # without empty sessions
        times = {"times": np.asarray(split.column("times"))[is_kept]}
        return Sessions(SessionArrays(split.items, split.values[is_kept], offsets, times), split.role)

    splits = {name: only(getattr(data, name)) for name in ("train", "validation", "test")}
    return dataclasses.replace(data, **splits)


def follows_click_out(split) -> np.ndarray:
    """bool [events]: whether a click-out comes before the event in its session."""
    before = np.concatenate([[0], np.cumsum(np.asarray(split.column("event")) == CLICK_OUT)])[:-1]
    return before > np.repeat(before[split.offsets[:-1]], np.diff(split.offsets))


def chosen_rates(data, models: dict, common: dict, out: Path, rates, events=None) -> dict:
    """Returns the settings of each model with its best learning rate."""
    chosen = {}
    for name, (model, settings) in models.items():
        tried = {str(rate): {**common, **settings, "learning_rate": rate} for rate in rates}
        chosen[name] = tried[best(data, model, tried, out / name, events)]
    return chosen


def best(data, model: str, tried: dict, out: Path, events=None) -> str:
    """Returns the name of the settings with the highest Recall@20 x MRR@20 on validation, with seed 0."""
    if len(tried) == 1:
        return next(iter(tried))
    scores = {}
    for name, settings in tried.items():
        found = scored(trained(data, out / name, model, settings, 0), data.validation, events)
        scores[name] = np.prod([found.metrics[metric] for metric in METRICS])
        print("validation", out.name, name, {metric: round(found.metrics[metric], 4) for metric in METRICS}, flush=True)
    return max(scores, key=scores.get)


def trained(data, run: Path, model: str, settings: dict, seed: int):
    """Returns the model of a run, which is trained where it does not exist."""
    if not (run / "run.json").exists():
        every = trs.training.settings_of(model, settings, data=data)
        trs.training.train(data, model, run, every, seed=seed, validate=False)
    return trs.training.open_run(run).model()


def scored(model, split, events=None):
    return trs.evaluation.evaluate(model, split, k=(20,), slices=False, events=events)


def part(split, found, kept):
    """Returns an evaluation of the scored events that `kept` chooses."""
    return trs.evaluation.measure(split, found.event[kept], found.ranks[kept], k=(20,), slices=False)


def row(found, first, split) -> dict:
    """Returns the metrics of an evaluation with 95% intervals, and its gain over the first one, if that is another."""
    result = {"events": found.events}
    for metric in METRICS:
        result |= {metric: round(found.metrics[metric], 4)}
        result |= {f"{metric}_interval": [round(value, 4) for value in found.intervals[metric]]}
        if found is not first:
            test = trs.evaluation.paired(found, first, split, metric)
            result |= {f"{metric}_gain": round(test.difference, 4)}
            result |= {f"{metric}_gain_interval": [round(value, 4) for value in test.interval]}
            result |= {f"{metric}_gain_share": round(test.difference / first.metrics[metric], 4)}
    return result


if __name__ == "__main__":
    main()
