"""The commands `train` and `evaluate`."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path

from tfrecsession.cli import declared_models, launch
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
from tfrecsession.cli.values import add_weight_options, lengths, opened, result_of, settings, weight_settings
from tfrecsession.errors import InputError
from tfrecsession.staging import check_folder, check_parents


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
    add_weight_options(model)
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

    training.add_argument(
        "--whole-validation",
        action="store_true",
        help="rank all of a large validation split after each epoch (default: a fixed sample, for about a tenth of an "
        "epoch)",
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
    command.set_defaults(run=train, kept=_kept)


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
            whole_validation=options.whole_validation,
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


def _kept(options) -> str | None:
    """Returns what is left of an interrupted training, for the next one; None if it has no checkpoint."""
    from tfrecsession.training.unfinished_run import folder_of

    folder = folder_of(options.out)
    return f"checkpoints are kept in {folder}" if folder.exists() else None


def refit_line(refit: dict) -> str:
    """Returns the line that says on what a model was fitted again."""
    line = f"fitted again on train and validation: {refit['sessions']:,} sessions, {refit['events']:,} events"
    if refit.get("new_items"):
        line += f", {refit['new_items']:,} items that validation alone has"
    if "epochs" in refit:
        before, now = (1000 * refit["updates_per_event"][name] for name in ("before", "refit"))
        line += f", {refit['epochs']} epochs, {now:.2f} updates per 1,000 events ({before:.2f} before)"
    return f"{line}\nnote: with the items of train alone, {refit['why']}" if "why" in refit else line


def _checked_training(options, grown: dict):
    """Returns the data, all settings, those that follow the log, and the list lengths of `train`.

    Checks all that needs no TensorFlow.

    `grown` gets the run to continue from.
    """
    from tfrecsession import batches, presets
    from tfrecsession.recommender.settings import weights_of
    from tfrecsession.sessions.item_trends import check_times
    from tfrecsession.training.earlier_run import check_earlier_run
    from tfrecsession.training.newest import check_finetuning
    from tfrecsession.training.refit import check_refit
    from tfrecsession.training.run_folder import check_other_run, open_run
    from tfrecsession.training.teachers import check_teacher

    k = lengths(options.k or "20")
    earlier, earlier_settings, defaults = None, {}, {}
    if options.earlier is not None:
        earlier = open_run(options.earlier)
        info = earlier.info
        options.model = options.model or info["model"]
        if options.model not in declared_models.declared_models() and options.model == info["model"]:
            raise InputError(f"--from {options.earlier}: a {options.model} does not continue: train its members anew")
        if options.model == info["model"]:  # otherwise `check_earlier_run` raises the error
            earlier_settings, defaults = info["settings"], info.get("defaults", {})
        grown["grow_from"] = options.earlier
    declared_models.declared(options.model)
    preset = presets.read(options.preset, options.model)["settings"] if options.preset else {}
    given = settings(options.set)
    given |= weight_settings(options, given) | declared_models.epochs_setting(options.model, options.epochs)
    chosen = declared_models.settings_of(options.model, earlier_settings, preset, given)
    if earlier is not None:
        check_earlier_run(earlier, options.model, declared_models.declared(options.model), chosen)
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
    model, prepared = run.model(), data
    data = data.coded_for(model.items)
    screen = console(options.json)
    step = f"evaluating {run.info['model']}"
    with lines_where_piped(screen, step) as tell:
        scored = evaluation.evaluate(
            model,
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
    if data is not prepared and options.split != "train":
        further, as_prepared = len(data.items) - len(prepared.items), getattr(prepared, options.split).scored_events
        screen.print(
            f"note: this run knows {further:,} items that validation alone has, and is scored on them, too; the split "
            f"as prepared scores {as_prepared:,} events"
        )
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


COMMANDS = [train_command, evaluate_command]
