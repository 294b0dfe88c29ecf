"""The command `tune`."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tfrecsession.cli import declared_models
from tfrecsession.cli.output import console, print_choices, write_json
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.cli.values import add_weight_options, settings, weight_settings

SHOWN = 10  # best trials shown in the table; --json has all of them


def tune_command(commands, common):
    command = commands.add_parser(
        "tune",
        parents=[common],
        help="search for a model's best settings on the validation split",
        description="Search for a model's best settings on the validation split. "
        "An interrupted search continues when the same command is run again.",
    )
    command.add_argument("data", metavar="DIR", help="data set made by `tfrecsession prepare`")
    command.add_argument("--model", required=True, metavar="NAME", help="model to tune: item_knn, gru4rec, ...")
    command.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="total number of trials, earlier ones included (default: 20)",
    )
    command.add_argument(
        "--metric", default="mrr@20", metavar="NAME@K", help="recall, mrr or ndcg at K (default: mrr@20)"
    )
    command.add_argument("--out", metavar="DIR", help="folder for the trials and best.json (default: tuned/MODEL)")
    command.add_argument(
        "--preset", metavar="NAME", help="settings of the first trial: a preset of the package or a .json file"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting to fix in every trial; repeatable"
    )
    add_weight_options(command)
    command.add_argument("--epochs", type=int, metavar="N", help="training epochs of every trial")
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed of the search and of every training (default: 0)"
    )
    command.add_argument("--timeout", metavar="DURATION", help="start no new trial after this time, e.g. 2h")
    command.set_defaults(run=tune, kept=_kept)


def tune(options) -> None:
    from tfrecsession import batches, presets
    from tfrecsession.evaluation.study import check_search
    from tfrecsession.sessions.spans import parse_duration

    declared_models.declared(options.model)
    logging.getLogger("tensorflow").setLevel("ERROR")  # it warns of retraced graphs, but every trial has a new model
    fixed = settings(options.set)
    fixed |= weight_settings(options, fixed) | declared_models.epochs_setting(options.model, options.epochs)
    preset = presets.read(options.preset, options.model)["settings"] if options.preset else None
    timeout = parse_duration(options.timeout, "timeout") / 1e6 if options.timeout else None
    out = options.out or f"tuned/{options.model}"
    declared_models.settings_of(options.model, preset or {}, fixed)
    screen, data = console(options.json), batches.load(options.data)
    check_search(data, options.metric, options.trials, out)
    if preset is None:
        print_choices(screen, options.model, declared_models.chosen_settings(options.model, fixed, data)[1])

    from tfrecsession import evaluation  # TensorFlow, after all checks

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    searching = f"tuning {options.model}"
    with (
        lines_where_piped(screen, searching) as tell,
        Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar,
    ):
        task = bar.add_task("opening", total=options.trials)
        shown = None

        def progress(doing: str, trials: list[dict]) -> None:
            nonlocal shown
            if shown is None:
                shown = len(trials)
                if shown:
                    screen.print(f"{out}: continuing after {shown} trials")
            for trial in trials[shown:]:
                screen.print(line(trial, options.metric))
            shown = len(trials)
            values = [trial["value"] for trial in trials if trial["state"] == "complete"]
            best = f", best {options.metric} {max(values):.4f}" if values else ""
            bar.update(task, description=doing + best, completed=shown)
            tell(f"{searching}: {doing}{best}")

        found = evaluation.tune(
            data,
            options.model,
            out,
            trials=options.trials,
            metric=options.metric,
            settings=fixed,
            preset=preset,
            seed=options.seed,
            timeout=timeout,
            progress=progress,
        )
    screen.print(trials_table(found.trials, options.metric, f"{options.model} on the validation split"))
    screen.print(counts(found.trials))
    screen.print(
        f"{out}/best.json: train with `tfrecsession train {options.data} --model {options.model} "
        f"--preset {out}/best.json --seed {options.seed} --out runs/{options.model}`"
    )
    result = {"model": options.model, "metric": options.metric, "split": "validation", "out": out, "best": found.best}
    write_json({**result, "trials": found.trials}, options.json)


def _kept(options) -> str | None:
    out = options.out or f"tuned/{options.model}"
    return f"finished trials are kept in {out}" if Path(out).exists() else None


def line(trial: dict, metric: str) -> str:
    """Formats one trial: `trial 3: mrr@20 0.2154, shrinkage=3.2, 7.1 s`."""
    result = trial.get("error") or f"{metric} {trial['value']:.4f}{' (pruned)' if trial['state'] == 'pruned' else ''}"
    return f"trial {trial['trial']}: {result}, {in_words(trial['settings'])}, {trial['seconds']:.1f} s"


def trials_table(trials: list[dict], metric: str, title: str) -> Table:
    """Returns a table of the best trials, best first."""
    complete = sorted((trial for trial in trials if trial["state"] == "complete"), key=lambda trial: -trial["value"])
    table = Table(title=title, title_justify="left")
    for name in ("trial", metric, "s"):
        table.add_column(name, justify="right")
    table.add_column("settings")
    for trial in complete[:SHOWN]:
        values = (str(trial["trial"]), f"{trial['value']:.4f}", f"{trial['seconds']:.1f}")
        table.add_row(*values, in_words(trial["settings"]))
    return table


def counts(trials: list[dict]) -> str:
    """Formats the trial counts: `20 trials: 17 complete, 2 pruned, 1 failed`."""
    states = [trial["state"] for trial in trials]
    parts = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    return f"{len(trials)} trials: {parts}"


def in_words(settings: dict) -> str:
    """Formats settings as `shrinkage=3.214 history=last`; best.json has floats with all digits."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in settings.items()
    )


COMMANDS = [tune_command]
