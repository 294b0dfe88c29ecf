"""The command `pipeline`."""

from __future__ import annotations

import json
from pathlib import Path

from tfrecsession.cli.output import console, metrics_table, write_json
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.cli.values import lengths, settings


def pipeline_command(commands, common):
    command = commands.add_parser(
        "pipeline",
        parents=[common],
        help="rank the candidates of a finished run with all features, as one model",
        description="Make one model of two stages: the first run finds candidates, a Wide & Deep network ranks them by "
        "context, content, crosses of columns and the scores of all runs. It is fitted on the newest part of train, "
        "with models fitted on the older part. The result is a run: evaluate and export it like any other.",
    )
    command.add_argument("runs", nargs="+", metavar="RUN", help="run folders; the first one finds the candidates")
    command.add_argument("--out", required=True, metavar="RUN", help="run folder to create")
    command.add_argument("--data", metavar="DIR", help="the runs' data set, if it was moved")
    command.add_argument("--n", type=int, default=500, metavar="N", help="candidates of each history (default: 500)")
    command.add_argument(
        "--share", type=float, default=0.2, metavar="X", help="newest share of train for the ranker (default: 0.2)"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the ranker, e.g. crosses=[last*item,seen], context=[device], content=[category], "
        "hidden=[64,32], epochs=5, l1=0.001",
    )
    command.add_argument("--k", default="20", metavar="K,K", help="list lengths to report, e.g. 5,10,20 (default: 20)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    command.add_argument("--overwrite", action="store_true", help="replace an existing run")
    command.set_defaults(run=pipeline)


def pipeline(options) -> None:
    from tfrecsession.training.run_folder import open_run, opened_runs

    k, given = lengths(options.k), settings(options.set)
    data = open_run(options.runs[0]).data(options.data)
    opened_runs(data, options.runs, "pipeline")

    from tfrecsession import training  # TensorFlow, after all checks

    screen = console(options.json)
    with lines_where_piped(screen, "making the pipeline") as tell:
        training.pipeline(
            data,
            options.runs,
            options.out,
            n=options.n,
            share=options.share,
            settings=given,
            seed=options.seed,
            k=k,
            overwrite=options.overwrite,
            progress=lambda doing: tell(f"pipeline: {doing}"),
        )
    run = json.loads((Path(options.out) / "run.json").read_text())
    metrics = json.loads((Path(options.out) / "metrics.json").read_text())["metrics"]
    made = run["pipeline"]
    screen.print(
        f"the ranker was fitted on the newest {made['held_out']['sessions']:,} sessions of train: {made['examples']:,} "
        f"of {made['events']:,} events have their item among {options.n} candidates"
    )
    for row in made["crosses"]:
        screen.print(f"cross {row['cross']}: {row['weights']:,} weights, {row['seen']:,} combinations", markup=False)
    if metrics:
        first = {"model": made["members"][0], "metrics": made["first_stage"], "events": data.validation.scored_events}
        both = {"model": "pipeline", "metrics": metrics, "events": data.validation.scored_events}
        screen.print(metrics_table([first, {**both, "train_seconds": run["seconds"]}], "on the validation split"))
    screen.print(f"{options.out}: pipeline of {len(options.runs)} runs, in {run['seconds']:.1f} s")
    write_json({**run, "data": data.fingerprint, "metrics": metrics, "run": str(options.out)}, options.json)


COMMANDS = [pipeline_command]
