"""Our GRU4Rec compared with the authors' PyTorch code: the same sessions, units, batch and negatives, in one run.

    TFRECSESSION_DATA=... python benchmarks/gru4rec_vs_authors.py --authors DIR --authors-python EXE --json FILE

`--authors` is a checkout of hidasib/GRU4Rec_PyTorch_Official, `--authors-python` an interpreter with its requirements
(torch, joblib, NumPy below 2, pandas below 2.2). Both sides use yoochoose1_64 without the test items not seen in train,
which the authors' evaluation also leaves out. Every other test event is ranked among all items; ties count against the
model. With `--preset gru4rec_yoochoose1_64_authors`, ours trains as theirs does: session-parallel, term by term. The
same command resumes after the seeds that FILE already has.

`eval_s` of ours includes tracing the graph, which the first evaluation of a process does; `again_s` is the second one.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from reporting import intervals, write_rows

import tfrecsession as trs

AUTHORS = {
    "loss": "bpr-max",
    "layers": "100",
    "batch_size": "64",
    "dropout_p_embed": "0.2",
    "learning_rate": "0.05",
    "momentum": "0.2",
    "n_sample": "2048",
    "sample_alpha": "0.2",
    "bpreg": "1.0",
    "elu_param": "0.5",
    "constrained_embedding": "True",
}


def sessions_of(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines() if line.strip()]


def known_only(test: list[list[str]], train: list[list[str]]) -> list[list[str]]:
    known = {item for session in train for item in session}
    kept = [[item for item in session if item in known] for session in test]
    return [session for session in kept if len(session) > 1]


def write_text(sessions, file: Path) -> Path:
    file.write_text("".join(" ".join(session) + "\n" for session in sessions))
    return file


def write_tsv(sessions, file: Path) -> Path:
    """Writes the format of the authors' code; time increases over the log, so that sessions keep their order."""
    clock = 0
    with open(file, "w") as out:
        out.write("SessionId\tItemId\tTime\n")
        for number, session in enumerate(sessions):
            for item in session:
                clock += 1
                out.write(f"{number}\t{item}\t{clock}\n")
    return file


# Their code has no seed option: NumPy's seed is fixed in it, PyTorch's is left at its default.
SEEDED = """
import runpy, sys, numpy, torch
run, seed, *sys.argv[1:] = sys.argv[1:]
plain = numpy.random.seed
numpy.random.seed = lambda number: plain(number + int(seed))
torch.manual_seed(int(seed))
sys.argv[0] = run
sys.path.insert(0, run.rpartition("/")[0])
runpy.run_path(run, run_name="__main__")
"""


def authors(options, train_file: Path, test_file: Path, seed: int) -> dict:
    settings = ",".join(f"{name}={value}" for name, value in {**AUTHORS, "n_epochs": options.epochs}.items())
    run = str((Path(options.authors) / "run.py").resolve())
    command = [options.authors_python, "-c", SEEDED, run, str(seed), str(train_file), "-t", str(test_file)]
    command += ["-ps", settings, "-d", "cpu", "-e", "conservative", "-m", "20"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the authors' code failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")

    def number(pattern: str) -> float:
        return float(re.search(pattern, done.stdout)[1])

    return {
        "recall@20": number(r"Recall@20: ([\d.]+)"),
        "mrr@20": number(r"MRR@20: ([\d.]+)"),
        "train_s": number(r"Total training time: ([\d.]+)s"),
        "eval_s": number(r"Evaluation took ([\d.]+)s"),
    }


def ours(data, settings: dict, seed: int) -> dict:
    keras.utils.set_random_seed(seed)
    model = trs.training.build("gru4rec", data.items, settings)
    start = time.perf_counter()
    trs.training.fit(model, data, settings, seed=seed)
    seconds = time.perf_counter() - start
    scored = trs.evaluation.evaluate(model, data.test, (20,))
    again = trs.evaluation.evaluate(model, data.test, (20,), slices=False, draws=0)
    metrics = {name: scored.metrics[name] for name in ("recall@20", "mrr@20")}
    times = {"train_s": seconds, "eval_s": scored.seconds, "again_s": again.seconds}
    return {**metrics, **intervals(scored), **times}


def matmul_limit(units: int, negatives: int) -> dict:
    """Measures the events/s that the matrix products of a step alone would allow: forward, and twice that backward."""
    a, b = tf.random.normal((2048, 2048)), tf.random.normal((2048, 2048))
    multiply = tf.function(lambda: tf.matmul(a, b))
    multiply()
    start = time.perf_counter()
    for _ in range(10):
        product = multiply()
    product.numpy()
    rate = 10 * 2 * 2048**3 / (time.perf_counter() - start)
    flops_per_event = 3 * 2 * units * (negatives + 6 * units)
    return {"gflops": rate / 1e9, "events_per_s": rate / flops_per_event}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", required=True, help="the folder with the authors' run.py")
    parser.add_argument("--authors-python", required=True)
    parser.add_argument("--epochs", type=int, default=10, help="epochs of both sides")
    parser.add_argument("--preset", default="gru4rec_yoochoose1_64", help="our settings")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, overrides the preset")
    parser.add_argument("--seeds", default="0", help="seeds of both sides; the mean is reported")
    parser.add_argument("--json")
    parser.add_argument("--name", help="name of the file in results/")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    given = Path(folder) / "yoochoose1_64"
    train = sessions_of(given / "train_sessions.txt")
    test = known_only(sessions_of(given / "test_sessions.txt"), train)
    from tfrecsession.cli.run_commands import settings as parsed

    preset = trs.presets.read(options.preset)["settings"]
    settings = trs.training.settings_of("gru4rec", preset, parsed(options.set), {"epochs": options.epochs})
    limit = matmul_limit(settings["units"][-1], settings["negatives"])
    results, kept = {"ours": [], "authors": []}, Path(options.json or os.devnull)
    chosen = json.loads(json.dumps({"ours": settings, "authors": {**AUTHORS, "n_epochs": options.epochs}}))
    if kept.is_file():
        before = json.loads(kept.read_text())
        if before["settings"] != chosen:
            raise SystemExit(f"{kept} has runs with other settings: name another file")
        results = before["seeds"]
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        trs.prepare(
            str(write_text(train, place / "train.txt")),
            place / "data",
            test_input=str(write_text(test, place / "test.txt")),
        )
        data = trs.load(place / "data")
        files = write_tsv(train, place / "train.tsv"), write_tsv(test, place / "test.tsv")
        for seed in map(int, options.seeds.split(",")):
            for side, run in (
                ("ours", lambda seed: ours(data, settings, seed)),
                ("authors", lambda seed: authors(options, *files, seed)),
            ):
                if seed not in [run["seed"] for run in results[side]]:
                    results[side].append({"seed": seed, **run(seed)})
                    kept.write_text(json.dumps({"seeds": results, "settings": chosen}, indent=2) + "\n")
                print({side: results[side][-1]}, flush=True)
    events = {"train": data.train.scored_events * options.epochs, "eval": data.test.scored_events}
    means = {side: mean_of(runs) for side, runs in results.items()}
    for mean in means.values():
        mean |= {f"{kind}_events_per_s": round(count / mean[f"{kind}_s"]) for kind, count in events.items()}
    mine, theirs = means["ours"], means["authors"]
    summary = {
        "speedup": theirs["train_s"] / mine["train_s"],
        "eval_speedup": theirs["eval_s"] / mine["eval_s"],
        "again_speedup": theirs["eval_s"] / mine["again_s"],
        "ours": mine,
        "authors": theirs,
        "seeds": results,
        "matmul_limit": limit,
        "share_of_matmul_limit": mine["train_events_per_s"] / limit["events_per_s"],
        "settings": chosen,
    }
    print({name: round(value, 3) for name, value in summary.items() if isinstance(value, float)})
    if options.json:
        Path(options.json).write_text(json.dumps(summary, indent=2) + "\n")
    rows = [{"side": side, **run} for side, runs in results.items() for run in runs]
    rows += [{"side": side, "seed": "mean", **mean} for side, mean in means.items()]
    rounded = [{name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()} for row in rows]
    write_rows(options.name or ("gru4rec_as_authors" if settings["lanes"] else "gru4rec_vs_authors"), rounded)


def mean_of(runs: list[dict]) -> dict:
    names = ("recall@20", "mrr@20", "train_s", "eval_s", "again_s")
    return {name: sum(run[name] for run in runs) / len(runs) for name in names if name in runs[0]}


if __name__ == "__main__":
    main()
