"""The commands `blend` and `best`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from rich.progress import Progress, TextColumn
from rich.table import Table

from tfrecsession.cli import declared_models
from tfrecsession.cli.output import console, metrics_table, write_json
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.cli.run_commands import refit_line
from tfrecsession.cli.values import lengths
from tfrecsession.errors import InputError


def blend_command(commands, common):
    command = commands.add_parser(
        "blend",
        parents=[common],
        help="blend the models of finished runs into one",
        description="Blend the models of finished runs on one data set: a weighted sum of their probabilities, with "
        "weights learned on the validation split. The result is a run: evaluate and export it like any other.",
    )
    command.add_argument("runs", nargs="+", metavar="RUN", help="run folders made by `tfrecsession train`, two or more")
    command.add_argument("--out", required=True, metavar="RUN", help="run folder to create")
    command.add_argument("--data", metavar="DIR", help="the runs' data set, if it was moved")
    command.add_argument("--weights", metavar="W,W", help="a weight for each run, e.g. 0.7,0.3 (default: learned)")
    command.add_argument(
        "--metric", default="ndcg@20", metavar="NAME@K", help="recall, mrr or ndcg at K to learn for (default: ndcg@20)"
    )
    command.add_argument(
        "--one-weight", action="store_true", help="the same weights for histories of all lengths, even if others pay"
    )
    command.add_argument(
        "--refit",
        action="store_true",
        help="fit the members again on train and validation together, once the weights are known",
    )
    command.add_argument("--k", default="20", metavar="K,K", help="list lengths to report, e.g. 5,10,20 (default: 20)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the sample (default: 0)")
    command.add_argument("--overwrite", action="store_true", help="replace an existing run")
    command.set_defaults(run=blend)


def blend(options) -> None:
    from tfrecsession.training.run_folder import open_run, opened_runs

    k, weights = lengths(options.k), None
    if options.weights is not None:
        try:
            weights = [float(word) for word in options.weights.split(",")]
        except ValueError:
            weights = []
        if len(weights) != len(options.runs):
            count = len(options.runs)
            raise InputError(f"--weights {options.weights}: must be {count} numbers, one per run, e.g. 0.7,0.3")
    data = open_run(options.runs[0]).data(options.data)
    opened_runs(data, options.runs, "blend")

    from tfrecsession import training  # TensorFlow, after all checks

    screen = console(options.json)
    with lines_where_piped(screen, "blending") as tell:
        training.blend(
            data,
            options.runs,
            options.out,
            weights=weights,
            metric=options.metric,
            by_length=not options.one_weight,
            refit=options.refit,
            seed=options.seed,
            k=k,
            overwrite=options.overwrite,
            progress=lambda doing: tell(f"blending: {doing}"),
        )
    run = json.loads((Path(options.out) / "run.json").read_text())
    metrics = json.loads((Path(options.out) / "metrics.json").read_text())["metrics"]
    for line in described(run["blend"], options.runs):
        screen.print(line, markup=False)
    if metrics:
        events = data.validation.scored_events
        row = {"model": "blend", "metrics": metrics, "events": events, "train_seconds": run["seconds"]}
        where = "on the validation split" + ("" if weights else ", where the weights were learned")
        screen.print(metrics_table([row], where))
    if refit := run.get("refit"):
        screen.print(refit_line(refit))
    screen.print(f"{options.out}: blend of {len(options.runs)} runs, in {run['seconds']:.1f} s")
    write_json({**run, "data": data.fingerprint, "metrics": metrics, "run": str(options.out)}, options.json)


def described(blended: dict, labels) -> list[str]:
    """Returns the lines that say which weights a blend has, and on what they were learned."""
    lines = []
    for first, after, weights in zip(
        blended["lengths"], [*blended["lengths"][1:], None], blended["weights"], strict=True
    ):
        parts = ", ".join(f"{label} {weight:.2f}" for label, weight in zip(labels, weights, strict=True))
        if len(blended["lengths"]) == 1:
            lines.append(f"weights: {parts}")
        else:
            span = f"{first} or more" if after is None else f"{first}" if after == first + 1 else f"{first}-{after - 1}"
            lines.append(f"weights after {span} items: {parts}")
    if held_out := blended.get("held_out"):
        lines.append(
            f"no validation split: the weights were learned on the newest {held_out['sessions']:,} sessions of train, "
            "with models fitted without them"
        )
    return lines


def best_command(commands, common):
    command = commands.add_parser(
        "best",
        parents=[common],
        help="find the best model for a data set within a time, blended, tested and exported",
        description="Find the best model for a data set within a time: baselines first, then models and settings by "
        "successive halving on validation, a blend if it is better, a last fit on train and validation, one test, a "
        "report and an export. An interrupted search continues when the same command is run again.",
    )
    command.add_argument("data", metavar="DIR", help="data set made by `tfrecsession prepare`")
    command.add_argument("--out", default="best", metavar="DIR", help="folder for all results (default: best)")
    command.add_argument(
        "--budget", default="30m", metavar="DURATION", help="time for the search, e.g. 5m or 2h (default: 30m)"
    )
    command.add_argument(
        "--metric", metavar="NAME@K", help="recall, mrr or ndcg at K, which decides on validation (default: ndcg@20)"
    )
    command.add_argument(
        "--models", metavar="A,B", help="models to try (default: counted models and networks that fit most logs)"
    )
    command.add_argument(
        "--latency", metavar="TIME", help="longest median time of one recommendation in Python, e.g. 20ms"
    )
    command.add_argument("--size", metavar="SIZE", help="largest file of the model, e.g. 500MB")
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed of all fits and samples (default: 0)"
    )
    command.add_argument("--overwrite", action="store_true", help="start over instead of continuing")
    command.set_defaults(run=best)


def best(options) -> int:
    from tfrecsession import batches
    from tfrecsession.evaluation.search.arguments import checked
    from tfrecsession.training.held_out import with_held_out

    models = None
    if options.models is not None:
        models = [word.strip() for word in options.models.split(",") if word.strip()]
        for model in models:
            declared_models.declared(model)
    data = batches.load(options.data)
    out = Path(options.out).expanduser().absolute()
    checked(data, options.budget, out, options.metric, models, options.latency, options.size, options.overwrite)
    with_held_out(data)
    logging.getLogger("tensorflow").setLevel("ERROR")  # it warns of retraced graphs, but every trial has a new model

    from tfrecsession import evaluation  # TensorFlow, after all checks

    screen = console(options.json)
    searching = f"searching, at most {options.budget}"
    bar = Progress(TextColumn("{task.description}"), console=screen, transient=True, disable=not screen.is_terminal)
    try:
        with lines_where_piped(screen, searching) as tell, bar:
            task = bar.add_task(searching)

            def progress(line: str) -> None:
                bar.update(task, description=line)
                tell(line)

            found = evaluation.best(
                data,
                options.budget,
                options.out,
                metric=options.metric,
                models=models,
                latency=options.latency,
                size=options.size,
                seed=options.seed,
                overwrite=options.overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        screen.print(f"interrupted; finished trials are kept in {options.out}, run the same command again to continue")
        return 130
    screen.print(leaderboard_table(found))
    for sentence in found["why"]:
        screen.print(sentence, markup=False)
    row = {"model": found["model"], "metrics": found["metrics"], "events": found["events"]}
    screen.print(metrics_table([{**row, "train_seconds": found["seconds"]}], f"on the {found['split']} split"))
    screen.print(f"{options.out}/report.html: the report; {options.out}/run: the run")
    screen.print(
        f"{options.out}/saved_model: the export; try it with `tfrecsession recommend {options.out}/saved_model`"
    )
    write_json(found, options.json)
    return 0


def leaderboard_table(found: dict) -> Table:
    """Returns a table of the best trial of each model on validation."""
    table = Table(title="on validation, the best settings of each model", title_justify="left")
    table.add_column("model")
    for name in (found["metric"], "s", "answer ms", "MB"):
        table.add_column(name, justify="right")
    shown = {}
    for row in found["leaderboard"]:
        shown.setdefault(row["model"], row)
    for row in shown.values():
        latency = "-" if row["latency_ms"] is None else f"{row['latency_ms']:.1f}"
        table.add_row(
            row["model"] + ("" if row["within_limits"] else " (beyond the limits)"),
            f"{row['value']:.4f}",
            f"{row['seconds']:.1f}",
            latency,
            f"{row['bytes'] / 1e6:.1f}",
        )
    return table


COMMANDS = [blend_command, best_command]
