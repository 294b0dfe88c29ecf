"""Load tests of the local server: maximum rates, a soak test, versions replaced under load, the server killed.

    python benchmarks/serving.py rates --folder PATH
    python benchmarks/serving.py rates --folder PATH --export EXPORT ... --histories FILE --most p90_ms=50
    python benchmarks/serving.py closed --folder PATH [--processes 1 2]
    python benchmarks/serving.py soak --folder PATH
    python benchmarks/serving.py swaps --folder PATH
    python benchmarks/serving.py killed --folder PATH [--processes 2]

`tfrecsession serve` and the load generator (`load.py`, open loop) are separate processes on the same cores.
`server_cpu` and `generator_cpu` are the cores that each used. `stolen_cpu` is the cores that other guests of the
machine used; `rates` repeats runs where it is high. The models are trained once, into the folder: GRU4Rec (100 units,
one epoch) and VSKNN on a synthetic shop of about 50 thousand items. Requests are beginnings of test sessions.

`closed` is another load: wrk, a program of its own that needs little of the cores, keeps a number of requests open,
each sent when the one before it is answered. REST alone.

`rates --export` and `closed --export` serve exports that are given, such as those of `index.py` at a million items,
each alone, under the name of its folder; `--histories` is a JSON list of lists of ids. `server_mb` is the memory of all
processes together, shared pages counted once. `model_alone_per_s` are the answers/s of the export in a process without
a server, on the same cores: the limit of any server, if the requests came joined and cost nothing to read.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from load import undisturbed
from reporting import write_rows
from served import Serving, alone, closed_loop, load, same

import tfrecsession as trs

OPEN = (1, 4, 8, 16, 24, 32, 48, 64)  # requests at a time
BATCHES = {"joined": "64", "alone": "1"}  # --max-batch


def prepare(folder: Path, items: int, sessions: int) -> list[list[str]]:
    """Creates missing exports in `folder`; returns the histories to request."""
    if not (folder / "histories.json").exists():
        data = trs.synthetic_sessions(items=items, sessions=sessions, seed=1)
        rng = np.random.default_rng(0)
        histories = []
        for session in rng.integers(0, len(data.test), 2000):
            events = data.items.decode(data.test[int(session)])
            histories.append(events[: rng.integers(1, len(events) + 1)].tolist())
        vsknn = trs.models.VSKNN(data.items)
        vsknn.fit(data.train)
        vsknn.export(folder / "vsknn", k=20, overwrite=True)
        for name, seed in (("gru4rec", 1), ("other", 2)):
            keras.utils.set_random_seed(seed)
            model = trs.models.GRU4Rec(data.items, units=[100], negatives=trs.negatives.Popularity(2048, alpha=0.5))
            model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
            model.fit(data.train.batches(rows=64, steps=20), epochs=1, verbose=0)
            model.export(folder / name, k=20, overwrite=True)
        (folder / "histories.json").write_text(json.dumps({"items": len(data.items), "histories": histories}))
    return json.loads((folder / "histories.json").read_text())["histories"]


# Modes ----------------------------------------------------------------------------------------------------------------


def rates(options, histories) -> list[dict]:
    """Finds the highest rate that keeps `--most`, by default p99 within 20 ms, by bisection, to 12%."""
    rows, exports = [], exports_of(options)
    limits = limits_of(options, exports, histories)
    for model, batching, count in itertools.product(exports, options.batching, options.processes):
        settings = ("--max-batch", BATCHES[batching], "--processes", str(count))
        with Serving(options.folder, {model: exports[model]}, *settings) as serving:
            for api in options.apis:
                load(serving, api, model, histories, 30, 4)  # warms up
                best = search(options, serving, api, model, histories)
                row = {"model": model, "api": api, "requests_are": batching, "processes": count, **best}
                row |= {"model_alone_per_s": limits[model]}
                rows.append(row | {"server_mb": serving.megabytes("Pss")})
                print(rows[-1], flush=True)
    return rows


def exports_of(options) -> dict[str, str | Path]:
    """Returns the exports to serve by their names."""
    return {path.name: path.resolve() for path in options.export} or {name: name for name in options.models}


def limits_of(options, exports, histories) -> dict[str, int]:
    """Returns the answers/s of each export without a server, see `alone`."""
    limits = {}
    for model, export in exports.items():
        path = options.folder / export if isinstance(export, str) else next(export.glob("[0-9]*"))
        with multiprocessing.get_context("spawn").Pool(1) as process:
            limits[model] = process.apply(alone, (str(path), histories, float(options.most.partition("=")[2])))
    return limits


def closed(options, histories) -> list[dict]:
    """Measures answers/s and latencies for numbers of requests that are open at a time."""
    rows, exports = [], exports_of(options)
    limits = limits_of(options, exports, histories)
    for model, count in itertools.product(exports, options.processes):
        with Serving(options.folder, {model: exports[model]}, "--processes", str(count)) as serving:
            closed_loop(serving, model, histories, 8, 5)  # warms up
            for connections in OPEN:

                def run(connections=connections, model=model, serving=serving):
                    return closed_loop(serving, model, histories, connections, options.seconds or 10)

                row = {"model": model, "processes": count, "open": connections, **undisturbed(run)}
                row |= {"model_alone_per_s": limits[model], "of_alone": round(row["per_s"] / limits[model], 2)}
                rows.append(row)
                print(row, flush=True)
    return rows


def search(options, serving, api, model, histories) -> dict:
    """Finds the highest rate held; one of two runs must hold it, as a hiccup may be the machine's fault."""

    def run(rate: float) -> dict:
        found = undisturbed(lambda: load(serving, api, model, histories, rate, options.seconds or 10))
        print({"model": model, "api": api, "rate": round(rate), **found}, file=sys.stderr, flush=True)
        return {**found, "held": found[name] < float(most) and not found["errors"]}

    name, _, most = options.most.partition("=")

    low, high, rate, best = 0.0, np.inf, options.rate or 100.0, {}
    while high / max(low, 1) > 1.12 and rate >= 5:
        found = run(rate)
        if not found["held"]:
            found = run(rate)
        if found["held"]:
            low, best = rate, found
        else:
            high = rate
        rate = (low * high) ** 0.5 if low and high < np.inf else 2 * low if low else high / 2
    names = ("p50_ms", "p90_ms", "p99_ms", "errors", "server_cpu", "generator_cpu", "generator_late_ms", "stolen_cpu")
    return {"held_per_s": round(low), **{name: best.get(name) for name in names}}


def processes(options) -> tuple[str, ...]:
    """Returns the options of a server with the first number of `--processes`."""
    return "--processes", str(options.processes[0])


def soak(options, histories) -> list[dict]:
    """Measures memory and errors at a moderate rate, with REST and gRPC at once."""
    seconds, rate = options.seconds or 300, options.rate or 50.0
    models = {"gru4rec": "gru4rec", "vsknn": "vsknn"}
    with Serving(options.folder, models, *processes(options)) as serving, ThreadPoolExecutor(4) as pool:
        for api in ("rest", "grpc"):
            load(serving, api, "gru4rec", histories, 50, 10)  # until every thread has answered
        loads = {
            (model, api): pool.submit(load, serving, api, model, histories, rate / 4, seconds)
            for model in ("gru4rec", "vsknn")
            for api in ("rest", "grpc")
        }
        sizes, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            sizes.append(serving.megabytes())
            time.sleep(1)
        found = {key: result.result() for key, result in loads.items()}
        third = max(len(sizes) // 10, 1)
        middle = len(sizes) // 2
        memory = {
            "rss_start_mb": statistics.median(sizes[:third]),
            "rss_middle_mb": statistics.median(sizes[middle : middle + third]),
            "rss_end_mb": statistics.median(sizes[-third:]),
            "rss_max_mb": max(sizes),
        }
    names = ("requests", "errors", "p50_ms", "p90_ms", "p99_ms", "max_ms")
    return [
        {"model": model, "api": api, "seconds": seconds, "rate": rate / 4, **memory, **{n: report[n] for n in names}}
        for (model, api), report in found.items()
    ]


def swaps(options, histories) -> list[dict]:
    """Adds ten versions under load, removing the previous one each time; every answer must be from a served version."""
    rate, seconds, histories = options.rate or 50.0, options.seconds or 90, histories[:20]
    names = {"one": "gru4rec", "other": "other", "m": "gru4rec"}
    given = ("--poll", "0.2", *processes(options))
    with Serving(options.folder, names, *given) as serving, ThreadPoolExecutor() as pool:
        client = trs.serving.Client(f"http://{serving.rest}", deadline=60)
        expected = {name: client.recommend(name, histories) for name in ("one", "other")}
        end = time.monotonic() + seconds
        loads = [
            pool.submit(load, serving, api, "m", histories, rate / 2, seconds, skip=0, keep=True)
            for api in ("rest", "grpc")
        ]
        load_seconds = []
        for version in range(2, 12):
            start = time.monotonic()
            new = serving.models / "m" / str(version)
            shutil.copytree(options.folder / ("other" if version % 2 == 0 else "gru4rec"), new)
            while client.versions("m").get(version) != "AVAILABLE":
                time.sleep(0.05)
            load_seconds.append(time.monotonic() - start)
            shutil.rmtree(serving.models / "m" / str(version - 1))
            time.sleep(max(seconds / 12 - load_seconds[-1], 0.5))
        if time.monotonic() > end:
            raise RuntimeError(
                f"--seconds {seconds}: the load ended before the last version was loaded; must be e.g. {2 * seconds}"
            )
        counts = Counter()
        for found in [result.result() for result in loads]:
            counts["requests"] += found["requests"]
            counts["failed"] += found["errors"]
            counts["p99_ms"] = max(counts["p99_ms"], found["p99_ms"])
            for index, answers in enumerate(found["answers"]):
                for answer, times in answers.items():
                    models = [name for name in expected if same(answer, expected[name], index)]
                    counts[f"of_{models[0]}" if models else "of_neither"] += times
    names = ("requests", "failed", "of_one", "of_other", "of_neither", "p99_ms")
    row = {"swaps": len(load_seconds), "rate": rate, **{name: counts[name] for name in names}}
    return [{**row, "load_s": round(max(load_seconds), 1)}]


def killed(options, histories) -> list[dict]:
    """Kills and restarts the server under the library's own client, which retries until its deadline."""
    seconds, rate, histories = options.seconds or 60, options.rate or 20.0, histories[:20]
    rows = []
    for api in ("rest", "grpc"):
        models = {"gru4rec": "gru4rec"}
        with Serving(options.folder, models, *processes(options)) as serving, ThreadPoolExecutor(1000) as pool:
            url = f"{'http' if api == 'rest' else 'grpc'}://{getattr(serving, api)}"
            clients = [trs.serving.Client(url, deadline=options.deadline) for _ in range(50)]
            expected = clients[0].recommend("gru4rec", histories)
            counts, waits, down, start = Counter(), [], [], time.monotonic() + 1

            def ask(number, due, clients=clients, expected=expected, counts=counts, waits=waits, start=start):
                index = number % len(histories)
                try:
                    answer = clients[number % len(clients)].recommend("gru4rec", [histories[index]])
                    good = answer.items[0].tolist() == expected.items[index].tolist()
                    good = good and np.allclose(answer.scores[0], expected.scores[index], rtol=1e-4, atol=1e-5)
                    counts["right" if good else "wrong"] += 1
                except TimeoutError:
                    counts["failed_after_deadline"] += 1
                except Exception as error:
                    counts["failed_otherwise"] += 1
                    print(type(error).__name__, error, file=sys.stderr)
                waits.append(time.monotonic() - start - due)

            def kill(serving=serving, down=down):
                for _ in range(2):
                    time.sleep(seconds / 4)
                    begin = time.monotonic()
                    os.kill(serving.process.pid, signal.SIGKILL)
                    serving.process.wait()
                    serving.start()
                    down.append(time.monotonic() - begin)

            killing = pool.submit(kill)
            due = np.cumsum(np.random.default_rng(0).exponential(1 / rate, int(rate * seconds)))
            for number, when in enumerate(due):
                time.sleep(max(start + when - time.monotonic(), 0))
                pool.submit(ask, number, when)
            killing.result()
        counts = {name: counts[name] for name in ("right", "wrong", "failed_after_deadline", "failed_otherwise")}
        late = {"later_than_1_s": sum(wait > 1 for wait in waits), "longest_wait_s": round(max(waits), 1)}
        down = {"kills": len(down), "down_s": round(statistics.mean(down), 1), "deadline_s": options.deadline}
        rows.append({"api": api, "rate": rate, "seconds": seconds, **down, "requests": len(due), **counts, **late})
        print(rows[-1], flush=True)
    return rows


MODES = {mode.__name__: mode for mode in (rates, closed, soak, swaps, killed)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the exports; missing ones are created")
    parser.add_argument("--items", type=int, default=55_000, help="items of the shop; those without clicks are dropped")
    parser.add_argument("--sessions", type=int, default=300_000)
    parser.add_argument("--rate", type=float, help="requests/s; for `rates`, the first rate tried")
    parser.add_argument("--seconds", type=float, help="duration of a run")
    parser.add_argument("--deadline", type=float, default=30.0, help="deadline of the clients in `killed`")
    parser.add_argument("--models", nargs="+", default=["gru4rec", "vsknn"], choices=["gru4rec", "vsknn"])
    parser.add_argument("--apis", nargs="+", default=["rest", "grpc"], choices=["rest", "grpc"])
    parser.add_argument("--export", nargs="+", type=Path, default=[], help="`rates`: serve these instead, not changed")
    parser.add_argument("--histories", type=Path, help="with --export: the requests")
    parser.add_argument("--most", default="p99_ms=20", help="`rates`: the limit of a rate, p50_ms, p90_ms or p99_ms")
    parser.add_argument("--processes", nargs="+", type=int, default=[1], help="of the server; `rates` tries each")
    parser.add_argument("--name", help="name of the file in results/ (default: serving_MODE)")
    parser.add_argument("--batching", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.export:
        histories = json.loads(options.histories.read_text())
        items = json.loads(next(options.export[0].glob("[0-9]*/assets.extra/tfrecsession.json")).read_text())["items"]
    else:
        histories = prepare(options.folder, options.items, options.sessions)
        items = json.loads((options.folder / "histories.json").read_text())["items"]
    rows = [{**row, "items": items} for row in MODES[options.mode](options, histories)]
    for row in rows:
        print(row)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(options.folder / "served")
    write_rows(options.name or f"serving_{options.mode}", rows)


if __name__ == "__main__":
    main()
