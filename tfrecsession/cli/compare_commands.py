"""The commands `compare` and `report`."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfrecsession.cli import declared_models
from tfrecsession.cli.output import comparison_table, console, print_choices, write_json
from tfrecsession.cli.progress import lines_where_piped
from tfrecsession.cli.values import lengths, settings
from tfrecsession.errors import InputError

DEFAULT = "popularity,item_knn,gru4rec"


def compare_command(commands, common):
    command = commands.add_parser(
        "compare",
        parents=[common],
        help="train and evaluate several models on one data set",
        description="Train several models on one data set, evaluate them on its test split and write a report. "
        "An interrupted comparison continues when the same command is run again.",
    )
    command.add_argument("data", metavar="DIR", help="data set made by `tfrecsession prepare`")
    command.add_argument(
        "--models",
        metavar="A,B",
        help=f"models to train and evaluate; LABEL=MODEL gives a model another label (default: {DEFAULT})",
    )
    command.add_argument("--runs", default="", metavar="RUN,RUN", help="finished runs on this data set to evaluate too")
    command.add_argument(
        "--out", required=True, metavar="DIR", help="folder for report.html, results.json and the runs"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="MODEL.KEY=VALUE", help="a setting of one model; repeatable"
    )
    command.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="MODEL=NAME",
        help="tuned settings of one model: a preset of the package or a .json file; repeatable",
    )
    command.add_argument("--epochs", type=int, metavar="N", help="training epochs of models trained by gradient")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of every training (default: 0)")
    command.add_argument("--k", default="20", metavar="K,K", help="list lengths to report, e.g. 5,10,20 (default: 20)")
    command.add_argument("--events", metavar="A,B", help="score only targets of these event types, e.g. purchase")
    command.add_argument("--overwrite", action="store_true", help="start over instead of continuing")
    command.set_defaults(run=compare)


def compare(options) -> int:
    from tfrecsession import batches
    from tfrecsession.batches.event_weights import event_types
    from tfrecsession.evaluation import compared_runs

    runs = words(options.runs)
    models = words(DEFAULT if options.models is None and not runs else options.models or "")
    chosen = settings_of(options, models)
    k = lengths(options.k)
    data = batches.load(options.data)
    events = None if options.events is None else event_types("events", options.events)
    checked = {"settings": chosen, "runs": runs, "k": k, "seed": options.seed, "events": events}
    out = Path(options.out).absolute()
    entries = compared_runs.requested(data, models, out, declared_models.chosen_settings, **checked)
    compared_runs.check_kept(data, entries, options.out, k, options.overwrite, events)

    from tfrecsession import evaluation  # TensorFlow, after all checks

    screen = console(options.json)
    for entry in entries:
        print_choices(screen, entry.label, entry.defaults)
    try:
        with lines_where_piped(screen, "comparing") as tell, Bars(screen, tell) as bars:
            results = evaluation.compare(
                data, models, options.out, **checked, overwrite=options.overwrite, progress=bars
            )
    except KeyboardInterrupt:
        screen.print(f"interrupted; finished models are kept in {options.out}, run the same command again to continue")
        return 130
    scored = "next event" if events is None else f"targets {', '.join(events)} only"
    screen.print(
        comparison_table(results, f"{options.data}, test split, {scored}, whole catalogue, ties against the model")
    )
    screen.print("*: differs from the best in the column, p < 0.05 after Holm's correction. Brackets: 95% intervals.")
    screen.print(f"{Path(options.out) / 'report.html'}: tests, charts, costs and the protocol; open it in a browser")
    write_json(results, options.json)
    return 0


def report_command(commands, common):
    command = commands.add_parser(
        "report",
        parents=[common],
        help="write report.html again from a comparison's results.json",
        description="Write report.html again from the results.json of a comparison.",
    )
    command.add_argument("comparison", metavar="DIR", help="folder of the comparison, or its results.json")
    command.add_argument("--out", metavar="FILE", help="file to write (default: report.html beside results.json)")
    command.add_argument("--overwrite", action="store_true", help="replace the report of another comparison")
    command.set_defaults(run=report)


def report(options) -> None:
    from tfrecsession.evaluation import read_results, write_report

    results, file = read_results(options.comparison)
    screen = console(options.json)
    with lines_where_piped(screen, "writing the report"):
        page = write_report(results, options.out or file.with_name("report.html"), overwrite=options.overwrite)
    screen.print(f"{page}: {len(results['models'])} models")
    write_json({"report": str(page), "data": results["data"]}, options.json)


COMMANDS = [compare_command, report_command]


class Bars:
    """A progress bar per model on a terminal, a line per stage elsewhere; the `progress` of `evaluation.compare`.

    Args:
        screen: the console.
        tell: called with the stage of a model and the share of it that is done.
    """

    def __init__(self, screen, tell):
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
        )
        self.screen, self.tell = screen, tell
        self.progress = Progress(*columns, console=screen, disable=not screen.is_terminal)
        self.tasks, self.stages = {}, {}

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *error):
        self.progress.stop()

    def __call__(self, label: str, stage: str, done: float | None = None) -> None:
        if label not in self.tasks:
            self.tasks[label] = self.progress.add_task(label, total=1.0, start=False, stage="")
        if stage != "waiting":
            self.progress.start_task(self.tasks[label])
        if not self.screen.is_terminal and stage not in ("waiting", self.stages.get(label)):
            self.screen.print(f"{label}: {stage}")
        self.stages[label] = stage
        if stage not in ("waiting", "done"):
            self.tell(f"{label}: {stage}", done)
        total = None if done is None else 1.0
        self.progress.update(self.tasks[label], total=total, completed=done or 0.0, stage=stage)


def words(text: str) -> list[str]:
    """Splits "a, b" into ["a", "b"]."""
    return [word.strip() for word in text.split(",") if word.strip()]


def settings_of(options, models: list[str]) -> dict[str, dict]:
    """Returns label -> settings from --preset, --epochs and --set; later ones override earlier ones."""
    from tfrecsession import presets
    from tfrecsession.evaluation.compared_runs import labelled

    kinds = dict(labelled(word) for word in models)
    for kind in kinds.values():
        declared_models.declared(kind)
    chosen = {label: {} for label in kinds}
    for word in options.preset:
        label, equals, name = word.partition("=")
        if not equals or label not in kinds:
            raise InputError(f"--preset {word}: must be MODEL=NAME, with MODEL one of {', '.join(kinds)}")
        preset = presets.read(name, kinds[label])["settings"]
        chosen[label] |= declared_models.settings_of(kinds[label], preset)  # complete: nothing in it follows the log
    for label, kind in kinds.items():
        if options.epochs is not None and "epochs" in declared_models.settings_of(kind):
            chosen[label]["epochs"] = options.epochs
        chosen[label] |= settings(options.set, of=label, among=kinds)
    return chosen
