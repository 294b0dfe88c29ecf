"""The commands `train`, `evaluate`, `export` and `recommend`."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import warnings
from functools import partial
from pathlib import Path

from rich.table import Table

from tfrecsession.cli import declared_models, export_formats, launch
from tfrecsession.cli.output import (
    NOTES,
    console,
    evaluation_table,
    metrics_table,
    print_choices,
    slices_table,
    write_json,
)
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.errors import InputError
from tfrecsession.staging import check_folder, check_parents, differences


def train_command(commands, common):
    command = commands.add_parser(
        "train",
        parents=[common],
        help="train a model on a prepared data set",
        description="Train a model on a prepared data set and write it to a run folder. "
        "An interrupted training continues when the same command is run again.",
    )
    command.add_argument("data", metavar="DIR", help="data set made by `tfrecsession prepare`")
    command.add_argument("--out", required=True, metavar="RUN", help="run folder to create")
    command.add_argument(
        "--overwrite", action="store_true", help="replace an existing run; start an unfinished one over"
    )
    command.add_argument(
        "--resume", action="store_true", default=None, help="continue an unfinished run (default unless --overwrite)"
    )

    model = command.add_argument_group("model")
    model.add_argument("--model", metavar="NAME", help="gru4rec, slist, item_knn, ...; `tfrecsession models` lists all")
    model.add_argument(
        "--preset", metavar="NAME", help="start from tuned settings: a preset of the package or a .json file"
    )
    model.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, e.g. units=[100]; repeatable; `tfrecsession models MODEL` lists all",
    )
    model.add_argument("--epochs", type=int, metavar="N", help="training epochs of models trained by gradient")
    model.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="random seed of weights, shuffling, negatives and dropout (default: 0)",
    )

    training = command.add_argument_group("training")
    training.add_argument("--k", metavar="K,K", help="list lengths to report on validation, e.g. 5,10,20 (default: 20)")
    training.add_argument(
        "--checkpoint",
        default="auto",
        metavar="WHEN",
        help="time between checkpoints (5m), number of batches (1000), none, or auto: at most 2%% of the time "
        "(default: auto)",
    )
    training.add_argument("--tensorboard", metavar="DIR", help="write logs for `tensorboard --logdir DIR`")
    training.add_argument(
        "--data-memory",
        metavar="SIZE",
        help="stream the training data from disk and hold at most SIZE of it, e.g. 512MB (default: load all)",
    )

    training.add_argument(
        "--refit",
        action="store_true",
        help="fit the model again on train and validation together, once it is scored on validation",
    )

    workers = command.add_argument_group("several workers")
    workers.add_argument(
        "--workers",
        metavar="N|HOSTS",
        help="N processes on this machine; or host:port,host:port for one process on each host, the chief first",
    )
    workers.add_argument("--worker", type=int, metavar="I", help="index of this process in HOSTS, from 0")

    growing = command.add_argument_group("continuing with a newer log", "--start and --gone need --from.")
    growing.add_argument(
        "--from",
        dest="earlier",
        metavar="RUN",
        help="continue training this run's model, with its settings; DIR may have other items",
    )
    growing.add_argument(
        "--start",
        choices=["neighbours", "content", "mean"],
        help="initial vectors of new items: the mean of the items in the same sessions, of items that share "
        "content, or of all items (default: neighbours)",
    )
    growing.add_argument(
        "--gone",
        choices=["keep", "drop"],
        help="items that DIR no longer has: keep them, or make them unknown (default: keep)",
    )
    command.set_defaults(run=train)


def train(options) -> int | None:
    grown = {name: value for name in ("start", "gone") if (value := getattr(options, name)) is not None}
    if options.earlier is None and grown:
        raise InputError(f"--{next(iter(grown))}: must come with --from RUN, the run to continue")
    if options.earlier is None and options.model is None:
        raise InputError("--model: must be given, e.g. --model gru4rec; or --from RUN to continue a run's model")
    if options.earlier is not None and options.workers is not None:
        raise InputError("--from: a run is continued by one worker, leave out --workers")
    data, chosen, defaults, k = _checked_training(options, grown)
    if options.workers is not None and options.workers.isdigit():
        return launch.run_local_workers(int(options.workers), options.arguments)
    if options.workers is not None or options.worker is not None:
        launch.set_cluster_env(options.workers, options.worker)

    from tfrecsession import training  # TensorFlow, after all checks
    from tfrecsession.training.progress import ReportedProgress

    strategy = training.strategy()  # must be created before TensorFlow runs anything else
    screen = console(options.json)
    if launch.is_chief():
        print_choices(screen, options.model, defaults)
    step = f"training {options.model}"
    with lines_where_piped(screen, step) if launch.is_chief() else contextlib.nullcontext() as tell:
        callbacks = [ReportedProgress(lambda text: tell(f"{step}  {text}"))] if tell else []
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
            callbacks=callbacks,
            strategy=strategy,
            data_memory=options.data_memory,
            defaults=defaults,
            refit=options.refit,
            **grown,
        )
    if not launch.is_chief():
        return None
    run = json.loads((Path(options.out) / "run.json").read_text())
    metrics = json.loads((Path(options.out) / "metrics.json").read_text())["metrics"]
    result = {**run, "data": data.fingerprint, "metrics": metrics, "run": str(options.out)}
    if data.validation.scored_events:
        row = {
            "model": options.model,
            "metrics": metrics,
            "events": data.validation.scored_events,
            "train_seconds": run["seconds"],
        }
        screen.print(metrics_table([row], "on the validation split"))
    else:
        screen.print(f"{options.data} has no validation split: nothing was scored; `tfrecsession evaluate` scores test")
    if refit := run.get("refit"):
        screen.print(refit_line(refit))
    if run.get("teacher", {}).get("refit"):
        screen.print("note: the teacher was fitted on validation too, so that metrics on validation are too high")
    screen.print(f"{options.out}: {options.model}, trained in {run['seconds']:.1f} s")
    write_json(result, options.json)
    return None


def refit_line(refit: dict) -> str:
    """Returns the line that says on what a model was fitted again."""
    line = f"fitted again on train and validation: {refit['sessions']:,} sessions, {refit['events']:,} events"
    if "epochs" in refit:
        before, now = (1000 * refit["updates_per_event"][name] for name in ("before", "refit"))
        line += f", {refit['epochs']} epochs, {now:.2f} updates per 1,000 events ({before:.2f} before)"
    return line


def _checked_training(options, grown: dict):
    """Returns the data, all settings, those that follow the log, and the list lengths of `train`.

    Checks all that needs no TensorFlow.

    `grown` gets the run to continue from.
    """
    from tfrecsession import batches, presets
    from tfrecsession.recommender.settings import weights_of
    from tfrecsession.sessions.item_trends import check_times
    from tfrecsession.training.newest import check_finetuning
    from tfrecsession.training.refit import check_refit
    from tfrecsession.training.run_folder import check_other_run, open_run
    from tfrecsession.training.teachers import check_teacher

    k = lengths(options.k or "20")
    earlier_settings, defaults = {}, {}
    if options.earlier is not None:
        info = open_run(options.earlier).info
        options.model = options.model or info["model"]
        if options.model == info["model"]:  # otherwise `training.train` raises the error
            earlier_settings, defaults = info["settings"], info.get("defaults", {})
        grown["grow_from"] = options.earlier
    declared_models.declared(options.model)
    preset = presets.read(options.preset, options.model)["settings"] if options.preset else {}
    given = settings(options.set) | ({} if options.epochs is None else {"epochs": options.epochs})
    chosen = declared_models.settings_of(options.model, earlier_settings, preset, given)
    data = batches.load(options.data)
    if options.earlier is None and options.preset is None:  # others are complete
        chosen, defaults = declared_models.chosen_settings(options.model, given, data)
    defaults = {name: choice for name, choice in defaults.items() if name not in {**preset, **given}}
    data.train.weighted(**weights_of(declared_models.declared(options.model), chosen))  # checks them
    if options.k is not None and max(k) > len(data.items):
        raise InputError(f"--k {options.k}: must be at most {len(data.items):,}, the size of the catalogue")
    check_finetuning(chosen, data, options.data_memory)
    if chosen.get("trend"):
        check_times(data.train, f"trend={chosen['trend']}")
    if options.refit:
        check_refit(data, options.data_memory)
    check_teacher(chosen, data, declared_models.declared_models(), options.refit)
    if options.data_memory is not None:
        from tfrecsession.sessions.options import bytes_of

        bytes_of(options.data_memory)
    every = options.checkpoint
    if every not in ("auto", "none") and not every.removesuffix(" batches").isdecimal() and every[-1:].isalpha():
        from tfrecsession.sessions.spans import parse_duration

        parse_duration(every, "checkpoint")
    if launch.is_chief():
        described = {"model": options.model, "settings": chosen, "seed": options.seed, "data": data.fingerprint}
        check_other_run(options.out, described, options.overwrite)
        check_folder(options.out, marker="run.json", overwrite=options.overwrite)
        if options.tensorboard is not None:
            check_parents(Path(options.tensorboard) / "events")
    return data, chosen, defaults, k


def evaluate_command(commands, common):
    command = commands.add_parser(
        "evaluate",
        parents=[common],
        help="evaluate a run on its test split",
        description="Evaluate a run on its test split: rank the next item among all items, at every event.",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder made by `tfrecsession train`, or a preset")
    command.add_argument("--data", metavar="DIR", help="the run's data set, if it was moved")
    command.add_argument(
        "--split", choices=["test", "validation", "train"], default="test", help="split to evaluate (default: test)"
    )
    command.add_argument("--k", default="5,10,20", metavar="K,K", help="list lengths to report (default: 5,10,20)")
    command.add_argument(
        "--events", metavar="A,B", help="score only events of these types, e.g. purchase; all are input (default: all)"
    )
    command.add_argument(
        "--live",
        action="store_true",
        help="let the counts of a model with trend go on: a session sees the events of other sessions before it "
        "(default: the training log alone)",
    )
    command.add_argument(
        "--no-slices", action="store_true", help="skip the metrics by slice (position, history length, ...)"
    )
    command.set_defaults(run=evaluate)


def evaluate(options) -> None:
    run = opened(options.run_folder)
    run.check()
    k = lengths(options.k)
    data = run.data(options.data)
    events = None
    if options.events is not None:
        from tfrecsession.batches.event_weights import check_types, event_types

        events = event_types("events", options.events)
        check_types(getattr(data, options.split), {"events": events})

    from tfrecsession import evaluation  # TensorFlow, after all checks
    from tfrecsession.sessions.leaks import split_and_leaks

    before = {"train": (), "validation": ("train",), "test": ("train", "validation")}[options.split]
    screen = console(options.json)
    step = f"evaluating {run.info['model']}"
    with lines_where_piped(screen, step) as tell:
        scored = evaluation.evaluate(
            run.model(),
            getattr(data, options.split),
            k,
            progress=True if screen.is_terminal else partial(tell, step),
            beyond_accuracy=True,
            slices=not options.no_slices,
            events=events,
            live=options.live,
            earlier=[getattr(data, split) for split in before],
        )
    where = f"{scored.events:,} events of {scored.sessions:,} sessions of {options.split}"
    where += "" if events is None else f", targets {', '.join(events)} only"
    where += ", counts of recent events go on" if options.live else ""
    screen.print(f"{options.run_folder}: {run.info['model']} on {where}", markup=False)
    if split := split_and_leaks(data.info):
        screen.print(f"Split by {split['by']}. {split['leaks']}", markup=False)
    screen.print(evaluation_table(scored))
    if options.split == "validation" and "refit" in run.info:
        screen.print("note: this run was fitted again with validation included; its metrics.json is from before")
    if scored.slices:
        screen.print(slices_table(scored.slices))
    screen.print(f"{NOTES} Ranking took {scored.seconds:.1f} s.")
    result = {**result_of(run.info["model"], data, scored), "hold_out": split}
    if events is not None:
        result["event_types"] = list(events)
    result |= {"live": True} if options.live else {}
    write_json({**result, "split": options.split, "run": options.run_folder}, options.json)


def export_command(commands, common):
    command = commands.add_parser(
        "export",
        parents=[common],
        help="export a run for TensorFlow Serving, for LiteRT or ONNX, or as a preset with weights",
        description="Export a run as a SavedModel for TensorFlow Serving, in DIR/VERSION, or in DIR in another format.",
    )
    command.add_argument("run_folder", metavar="RUN", help="run folder made by `tfrecsession train`, or a preset")
    command.add_argument("--out", required=True, metavar="DIR", help="the model's folder, which holds its versions")
    export_formats.add_options(command)
    command.add_argument(
        "--version",
        type=int,
        default=1,
        metavar="N",
        help="version to write; TensorFlow Serving uses the highest (default: 1)",
    )
    command.add_argument("--k", type=int, default=20, metavar="N", help="number of items returned (default: 20)")
    command.add_argument("--exclude-seen", action="store_true", help="do not return items of the history")
    command.add_argument(
        "--longest",
        type=int,
        metavar="N",
        help="read only the newest N items of a history (default: 1000 or 10000, depending on the model)",
    )
    command.add_argument(
        "--index",
        choices=["exact", "exact-bf16", "exact-int8", "ivf", "scann"],
        default="exact",
        help="how the top items are found: by scoring all items, the same with item vectors of half or a quarter of "
        "the size, by searching the clusters nearest to the history, or by ScaNN (default: exact)",
    )
    command.add_argument(
        "--target-recall",
        type=float,
        default=0.98,
        metavar="SHARE",
        help="share of the exact answer that ivf and scann must find (default: 0.98)",
    )
    command.add_argument(
        "--clusters", type=int, metavar="N", help="number of clusters of ivf (default: by the number of items)"
    )
    command.add_argument(
        "--content", metavar="FILE", help="table with titles and images of the items, for the page of `serve`"
    )
    command.add_argument(
        "--reasons",
        type=int,
        default=0,
        metavar="N",
        help="add the signature explain, which names the N events that carried each item, and costs up to 50 times as "
        "much as others (default: 0, none)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace this version")
    command.set_defaults(run=export)


def opened(folder: str):
    """Returns the run of a folder, or the preset with weights that was written from one."""
    from tfrecsession import presets
    from tfrecsession.training.run_folder import open_run

    return presets.open_preset(folder) if presets.is_preset(folder) else open_run(folder)


def export(options) -> None:
    export_formats.check_options(options)
    if options.format != export_formats.SAVED_MODEL:
        export_formats.export(options, opened(options.run_folder))
        return
    if options.index == "scann":
        os.environ.setdefault(
            "TF_USE_LEGACY_KERAS", "1"
        )  # TensorFlow Recommenders needs it set before TensorFlow is imported
    from tfrecsession import export as exporting

    run = opened(options.run_folder)
    run.check()
    version = Path(options.out) / str(options.version)
    if options.version < 1:
        raise InputError(f"--version {options.version}: must be a whole number from 1")
    if options.k < 1:
        raise InputError(f"--k {options.k}: must be a whole number from 1, at most the size of the catalogue")
    if options.longest is not None and options.longest < 1:
        raise InputError(f"--longest {options.longest}: must be a whole number from 1")
    if options.reasons < 0:
        raise InputError(f"--reasons {options.reasons}: must be a whole number from 0")
    _check_version(version, run, options)
    about = {"data": run.info["data"]["fingerprint"], "settings": run.info["settings"]}
    choices = {"k": options.k, "exclude_seen": options.exclude_seen, "index": options.index}
    content = exporting.read_item_table(options.content) if options.content else None
    model = run.model()
    histories = None
    with contextlib.suppress(InputError):  # titles are in the run's data set; without it the export has none
        data = run.data()
        model.items.content = data.items.content_of(model.items)
        if options.index != "exact":
            split = next(split for split in (data.test, data.validation, data.train) if len(split))
            histories = split.beginnings(1000)
    more = {"longest": options.longest, "overwrite": options.overwrite, "about": about, "content": content}
    more |= {"target_recall": options.target_recall, "histories": histories}
    more |= {"clusters": options.clusters, "reasons": options.reasons}
    screen = console(options.json)
    with lines_where_piped(screen, f"exporting {run.info['model']}"):
        exporting.write_saved_model(model, version, **choices, **more)
    card = json.loads((version / "assets.extra" / "tfrecsession.json").read_text())
    found = {name: card[name] for name in ("recall", "recall_measured_on", "index_settings") if name in card}
    screen.print(f"{version}: {run.info['model']}, top {options.k} items as strings")
    if found:
        recall = f"recall@{options.k} {card['recall']:.4f} against the exact answer, on {card['recall_measured_on']}"
        screen.print(f"index {options.index}: {recall}; {card['index_settings']}", markup=False)
    result = {"model": run.info["model"], "path": str(version), "version": options.version, **choices, **found}
    write_json(result, options.json)


def _check_version(version: Path, run, options) -> None:
    """Refuses to replace a version without --overwrite, by what differs."""
    from tfrecsession.export.versions import read_card

    if not options.overwrite and (card := read_card(version)):
        wanted = {
            "data": run.info["data"]["fingerprint"],
            "settings": run.info["settings"],
            "k": options.k,
            "exclude_seen": options.exclude_seen,
            "index": options.index,
            **({"reasons": options.reasons} if options.reasons or "reasons" in card else {}),
        }
        differ = differences({name: card.get(name) for name in wanted}, wanted)
        held = (
            f"holds an export that differs ({differ})" if differ else "exists already, an export of the same settings"
        )
        raise InputError(f"{version}: {held}: write another --version, or replace it with --overwrite")
    check_folder(version, marker="saved_model.pb", overwrite=options.overwrite)


def recommend_command(commands, common):
    command = commands.add_parser(
        "recommend",
        parents=[common],
        help="recommend the next items with a SavedModel",
        description="Recommend the next items of a session with an exported SavedModel.",
    )
    command.add_argument("saved_model", metavar="DIR", help="a model's folder, or one version of it")
    command.add_argument("items", nargs="*", metavar="ITEM", help="item ids of the session so far, oldest first")
    command.add_argument("--k", type=int, metavar="N", help="number of items to show (default: the k of the export)")
    for side, what in (("context", "of the items of the session"), ("request", "known of the request")):
        command.add_argument(
            f"--{side}",
            action="append",
            default=[],
            metavar="COLUMN=VALUE",
            help=f"a value of the context {what}; repeatable"
            + ("; VALUE,VALUE,... gives one for each item" if side == "context" else ""),
        )
    command.add_argument(
        "--rules",
        metavar="JSON",
        help='filters, boosts, quotas, diversity and pinned items of the list, or a file with them: \'{"filter": '
        '{"category": ["shoes"], "price": {"between": [10, 50]}}, "at_most": {"brand": 2}, "diversity": 0.3}\'',
    )
    command.set_defaults(run=recommend)


def recommend(options) -> None:
    from tfrecsession.export.versions import newest_version, read_card

    version = newest_version(options.saved_model)
    card = read_card(version)
    most = card.get("k")
    if options.k is not None and (options.k < 1 or (most and options.k > most)):
        raise InputError(_too_many(options.k, most))
    given = in_context(options, card.get("context", []))
    rules = None if options.rules is None else _rules(options.rules, card)

    from tfrecsession import export as exporting  # TensorFlow, after all checks

    with warnings.catch_warnings(action="ignore"):  # notes are printed
        items, scores, *more = exporting.ask(version, [options.items], **given, rules=rules)
    answer = [(item, float(score)) for item, score in zip(items[0], scores[0], strict=True) if item]
    if options.k is not None and not 1 <= options.k <= items.shape[1]:
        raise InputError(_too_many(options.k, items.shape[1]))
    answer = answer[: options.k]
    table = Table(title=f"after {' '.join(options.items) or 'an empty session'}", title_justify="left")
    table.add_column("item")
    table.add_column("score", justify="right")
    for item, score in answer:
        table.add_row(item, f"{score:.4f}")
    screen = console(options.json)
    screen.print(table)
    result = {"history": options.items, "items": [item for item, _ in answer], "scores": [score for _, score in answer]}
    if more:
        (removed,), (note,) = more
        for rule, count in removed.items():
            screen.print(f"{rule}: {count:,} removed", markup=False)
        if note:
            screen.print(note, markup=False)
        result |= {"removed": removed, "note": note}
    write_json(result, options.json)


def _rules(text: str, card: dict) -> dict:
    """Reads and checks --rules before TensorFlow is imported."""
    from tfrecsession.rules import read_rules, rule_texts

    rules = read_rules(text)
    if "rules" in card:
        rule_texts(rules, 1, card["rules"], card["k"])
    return rules


def in_context(options, known: list[dict]) -> dict:
    """Parses --context and --request, `COLUMN=VALUE` texts, into the arguments of `export.ask`.

    One value of --context counts for all items of the session, and for the request where the model reads it there too.

    known: the inputs for context in the card of the export.
    """
    count, found = len(options.items), {"context": {}, "request": {}}
    reads = {side: [entry["column"] for entry in known if entry["side"] == side] for side in found}
    for side in found:
        for word in getattr(options, side):
            name, equals, text = word.partition("=")
            if not (name and equals):
                raise InputError(f"--{side} {word}: must be COLUMN=VALUE, e.g. --{side} device=phone")
            every = text.split(",") if count > 1 and text.count(",") == count - 1 else None
            if side == "context" and (name in reads["context"] or name not in reads["request"]):
                found["context"][name] = [every or [text] * count]
            if side == "request" or (name in reads["request"] and not every and name != "time"):
                found["request"][name] = [text]
    return {side: columns for side, columns in found.items() if columns}


def _too_many(k: int, most: int | None) -> str:
    return f"--k {k}: must be 1 to {most or 'the k'}, the k of this export; or export again with a larger --k"


COMMANDS = [train_command, evaluate_command, export_command, recommend_command]


def settings(given: list[str], of: str | None = None, among=()) -> dict:
    """Parses `KEY=VALUE` texts into settings; with `of`, only the `MODEL.KEY=VALUE` texts of that model."""
    found = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not equals:
            raise InputError(f"--set {word}: must be KEY=VALUE, e.g. --set units=[100]")
        if of is not None:
            model, dot, name = name.partition(".")
            if not dot or model not in among:
                raise InputError(f"--set {word}: must be MODEL.KEY=VALUE, with MODEL one of {', '.join(among)}")
            if model != of:
                continue
        found[name] = value_of(text)
    return found


def value_of(text: str):
    """Parses the value of a setting: a Python literal, true or false, bare words, or a list of them: [a,b]."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    text = text.strip()
    for first, last in ("[]", "()"):
        if text.startswith(first) and text.endswith(last):
            return [value_of(part) for part in _parts(text[1:-1])]
    if text.startswith(("[", "(")) or text.endswith(("]", ")")):
        raise InputError(f"{text}: must be a list in brackets, e.g. [a,b]")
    return {"true": True, "false": False}.get(text.lower(), text)


def _parts(text: str) -> list[str]:
    """Splits "a, [b, c], 'd, e'" at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for mark in text:
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"" and not parts[-1].strip():
            quote = mark
        elif mark in "[(":
            depth += 1
        elif mark in "])":
            depth -= 1
        if mark == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += mark
    return [part.strip() for part in parts if part.strip()]


def lengths(text: str) -> list[int]:
    """Parses "5,10,20" into [5, 10, 20]."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"--k {text}: must be whole numbers from 1, e.g. --k 5,10,20")
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
