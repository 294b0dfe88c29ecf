"""train, evaluate, export, recommend."""

from __future__ import annotations

import ast
import contextlib
import json
import os
from pathlib import Path

from rich.table import Table

from tfrecsession.cli import launch
from tfrecsession.cli.output import NOTES, console, evaluation_table, metrics_table, slices_table, write_json
from tfrecsession.errors import InputError


def train_command(commands, every):
    command = commands.add_parser("train", parents=[every], help="a prepared data set -> a run folder")
    command.add_argument("data", metavar="DIR", help="what `tfrecsession prepare` made")
    command.add_argument("--model", help="item_knn, slist, gru4rec ...; an unknown name lists all")
    command.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    command.add_argument("--preset", help="tuned settings that come with the package, or a .json file")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="e.g. units=[100]; `tfrecsession models MODEL` lists all",
    )
    command.add_argument("--epochs", type=int, help="times to go through the training data, of what learns by gradient")
    command.add_argument("--seed", type=int, default=0, help="of weights, shuffling, negatives and dropout")
    command.add_argument("--k", default="20", help="lengths of list to report, e.g. 5,10,20")
    command.add_argument(
        "--overwrite", action="store_true", help="replace an earlier run, start an unfinished one afresh"
    )
    command.add_argument(
        "--resume", action="store_true", default=None, help="go on with an unfinished run; implied without --overwrite"
    )
    command.add_argument(
        "--checkpoint",
        default="auto",
        metavar="WHEN",
        help="5m, 1000 (batches), none, or auto: at most 2%% of time",
    )
    command.add_argument("--tensorboard", metavar="DIR", help="write there what `tensorboard --logdir DIR` shows")
    command.add_argument(
        "--data-memory",
        metavar="SIZE",
        help="read the training data from its files, holding no more than 512MB, 1GB ... of it; default: load all",
    )
    command.add_argument(
        "--workers",
        metavar="N|HOSTS",
        help="N processes on this machine; or host:port,host:port for one process on each host, the chief first",
    )
    command.add_argument(
        "--from",
        dest="earlier",
        metavar="RUN",
        help="go on from the model of this run, with its settings; DIR is a newer log, with other items",
    )
    command.add_argument(
        "--start",
        choices=["neighbours", "content", "mean"],
        help="with --from: new items start from the items they are seen with, that share content, or from all",
    )
    command.add_argument(
        "--gone",
        choices=["keep", "drop"],
        help="with --from: items that DIR has no more stay answerable (keep), or become unknown",
    )
    command.add_argument("--worker", type=int, metavar="I", help="which of HOSTS this process is, from 0")
    command.set_defaults(run=train)


def train(options) -> int | None:
    grown = {name: value for name in ("start", "gone") if (value := getattr(options, name)) is not None}
    if options.earlier is None and grown:
        raise InputError(f"--{next(iter(grown))}: is for a training that goes on from another, say --from RUN too")
    if options.earlier is None and options.model is None:
        raise InputError("--model: say which, as --model gru4rec, or --from RUN to go on with the model of a run")
    if options.earlier is not None and options.workers is not None:
        raise InputError("--from: a model that grows goes on with one worker, leave out --workers")
    if options.workers is not None and options.workers.isdigit():
        return launch.here(int(options.workers), options.arguments)
    if options.workers is not None or options.worker is not None:
        launch.join(options.workers, options.worker)

    from tfrecsession import batches, presets, training

    strategy = training.strategy()  # before anything else of TensorFlow
    before = {}
    if options.earlier is not None:
        info = training.open_run(options.earlier).info
        options.model = options.model or info["model"]
        before = info["settings"] if options.model == info["model"] else {}  # `train` says that they differ
        grown["grow_from"] = options.earlier
    preset = presets.read(options.preset, options.model)["settings"] if options.preset else {}
    said = settings(options.set) | ({} if options.epochs is None else {"epochs": options.epochs})
    chosen = training.settings_of(options.model, before, preset, said)
    data = batches.load(options.data)
    k = lengths(options.k)
    training.train(
        data,
        options.model,
        options.out,
        chosen,
        seed=options.seed,
        k=k,
        overwrite=options.overwrite,
        resume=options.resume,
        checkpoint=None if options.checkpoint == "none" else options.checkpoint,
        tensorboard=options.tensorboard,
        verbose=options.json != "-",
        strategy=strategy,
        data_memory=options.data_memory,
        **grown,
    )
    if not launch.is_chief():
        return None
    run = json.loads((Path(options.out) / "run.json").read_text())
    metrics = json.loads((Path(options.out) / "metrics.json").read_text())["metrics"]
    result = {**run, "data": data.fingerprint, "metrics": metrics, "run": str(options.out)}
    screen = console(options.json)
    row = {
        "model": options.model,
        "metrics": metrics,
        "events": data.validation.scored_events,
        "train_seconds": run["seconds"],
    }
    screen.print(metrics_table([row], "on the validation split"))
    screen.print(f"{options.out}: {options.model} in {run['seconds']:.1f} s")
    write_json(result, options.json)
    return None


def evaluate_command(commands, every):
    command = commands.add_parser("evaluate", parents=[every], help="a run on its test split, every item ranked")
    command.add_argument("run_folder", metavar="RUN")
    command.add_argument("--data", metavar="DIR", help="where the data is now, if it was moved")
    command.add_argument("--split", choices=["test", "validation", "train"], default="test")
    command.add_argument("--k", default="5,10,20", help="lengths of list to report")
    command.add_argument("--no-slices", action="store_true", help="all events together only")
    command.set_defaults(run=evaluate)


def evaluate(options) -> None:
    from tfrecsession import evaluation, training

    run = training.open_run(options.run_folder)
    data = run.data(options.data)
    before = {"train": (), "validation": ("train",), "test": ("train", "validation")}[options.split]
    scored = evaluation.evaluate(
        run.model(),
        getattr(data, options.split),
        lengths(options.k),
        progress=True,
        beyond_accuracy=True,
        slices=not options.no_slices,
        earlier=[getattr(data, split) for split in before],
    )
    screen = console(options.json)
    where = f"{scored.events:,} events of {scored.sessions:,} sessions of {options.split}"
    screen.print(f"{options.run_folder}: {run.info['model']} on {where}", markup=False)
    screen.print(evaluation_table(scored))
    if scored.slices:
        screen.print(slices_table(scored.slices))
    screen.print(f"{NOTES} Ranking took {scored.seconds:.1f} s.")
    result = result_of(run.info["model"], data, scored)
    write_json({**result, "split": options.split, "run": options.run_folder}, options.json)


def export_command(commands, every):
    command = commands.add_parser("export", parents=[every], help="a run -> a SavedModel for TensorFlow Serving")
    command.add_argument("run_folder", metavar="RUN")
    command.add_argument("--out", required=True, metavar="DIR", help="the model's folder; the version goes below it")
    command.add_argument("--version", type=int, default=1, help="TensorFlow Serving answers from the highest (1)")
    command.add_argument("--k", type=int, default=20, help="items in an answer")
    command.add_argument("--exclude-seen", action="store_true", help="leave out the items of the history")
    command.add_argument("--longest", type=int, metavar="ITEMS", help="of a history are read, the newest (1000, 10000)")
    command.add_argument(
        "--index",
        choices=["exact", "exact-bf16", "exact-int8", "scann"],
        default="exact",
        help="how the best items are found: by all scores, from a table of half or a quarter of the size, or by ScaNN",
    )
    command.add_argument(
        "--target-recall", type=float, default=0.98, metavar="SHARE", help="of the exact answer, for scann (0.98)"
    )
    command.add_argument("--content", metavar="FILE", help="titles and images of the items, for the page of `serve`")
    command.add_argument("--overwrite", action="store_true", help="replace this version")
    command.set_defaults(run=export)


def export(options) -> None:
    if options.index == "scann":
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow Recommenders needs it before TensorFlow
    from tfrecsession import export as exporting
    from tfrecsession import training

    run = training.open_run(options.run_folder)
    version = Path(options.out) / str(options.version)
    about = {"data": run.info["data"]["fingerprint"], "settings": run.info["settings"]}
    choices = {"k": options.k, "exclude_seen": options.exclude_seen, "index": options.index}
    content = exporting.read_item_table(options.content) if options.content else None
    model = run.model()
    histories = None
    with contextlib.suppress(InputError):  # the run keeps no titles; where its data is gone, the export has none
        data = run.data()
        model.items.content = data.items.content_of(model.items)
        if options.index != "exact":
            split = next(split for split in (data.test, data.validation, data.train) if len(split))
            histories = split.beginnings(1000)
    more = {"longest": options.longest, "overwrite": options.overwrite, "about": about, "content": content}
    more |= {"target_recall": options.target_recall, "histories": histories}
    exporting.write_saved_model(model, version, **choices, **more)
    card = json.loads((version / "assets.extra" / "tfrecsession.json").read_text())
    found = {name: card[name] for name in ("recall", "recall_measured_on", "index_settings") if name in card}
    screen = console(options.json)
    screen.print(f"{version}: {run.info['model']}, the best {options.k} items as strings")
    if found:
        says = f"recall@{options.k} {card['recall']:.4f} against the exact answer, on {card['recall_measured_on']}"
        screen.print(f"index {options.index}: {says}; {card['index_settings']}", markup=False)
    result = {"model": run.info["model"], "path": str(version), "version": options.version, **choices, **found}
    write_json(result, options.json)


def recommend_command(commands, every):
    command = commands.add_parser("recommend", parents=[every], help="ask a SavedModel for the next items")
    command.add_argument("saved_model", metavar="DIR", help="a model's folder, or one version of it")
    command.add_argument("items", nargs="*", metavar="ITEM", help="the session so far, oldest first")
    command.add_argument("--k", type=int, help="fewer than the export gives")
    command.set_defaults(run=recommend)


def recommend(options) -> None:
    from tfrecsession import export as exporting

    items, scores = exporting.ask(options.saved_model, [options.items])
    answer = [(item, float(score)) for item, score in zip(items[0], scores[0], strict=True) if item]
    if options.k is not None and not 1 <= options.k <= items.shape[1]:
        raise InputError(
            f"--k {options.k}: this export gives {items.shape[1]}; say 1 to {items.shape[1]}, or export again"
        )
    answer = answer[: options.k]
    table = Table(title=f"after {' '.join(options.items) or 'nothing'}", title_justify="left")
    table.add_column("item")
    table.add_column("score", justify="right")
    for item, score in answer:
        table.add_row(item, f"{score:.4f}")
    console(options.json).print(table)
    result = {"history": options.items, "items": [item for item, _ in answer], "scores": [score for _, score in answer]}
    write_json(result, options.json)


COMMANDS = [train_command, evaluate_command, export_command, recommend_command]


def settings(said: list[str], of: str | None = None, among=()) -> dict:
    """`KEY=VALUE` words -> settings; with `of`, the `MODEL.KEY=VALUE` words that speak of that model."""
    found = {}
    for word in said:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--set {word}: say KEY=VALUE, e.g. --set units=[100]")
        if of is not None:
            model, dot, name = name.partition(".")
            if not dot or model not in among:
                raise InputError(f"--set {word}: say MODEL.KEY=VALUE with one of {', '.join(among)}")
            if model != of:
                continue
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = {"true": True, "false": False}.get(text.lower(), text)
    return found


def lengths(text: str) -> list[int]:
    """ "5,10,20" -> [5, 10, 20]."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"--k {text}: say whole numbers from 1, e.g. --k 5,10,20")
    return found


def result_of(model: str, data, scored) -> dict:
    return {"model": model, "data": data.fingerprint, **vars_of(scored)}


def vars_of(scored) -> dict:
    return {
        "metrics": scored.metrics,
        "events": scored.events,
        "seconds": round(scored.seconds, 3),
        "sessions": scored.sessions,
        "intervals": scored.intervals,
        "slices": scored.slices,
    }
