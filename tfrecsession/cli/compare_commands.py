"""compare, report."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tfrecsession.cli.output import comparison_table, console, write_json
from tfrecsession.cli.run_commands import lengths, settings
from tfrecsession.errors import InputError

DEFAULT = "popularity,item_knn,gru4rec"


def compare_command(commands, every):
    command = commands.add_parser("compare", parents=[every], help="several models on one data set, one protocol")
    command.add_argument("data", metavar="DIR", help="what `tfrecsession prepare` made")
    command.add_argument("--models", metavar="A,B", help=f"to fit and evaluate ({DEFAULT}); LABEL=MODEL names a row")
    command.add_argument("--runs", default="", metavar="RUN,RUN", help="finished runs on this data, to evaluate")
    command.add_argument("--out", required=True, metavar="DIR", help="report.html, results.json and the runs")
    command.add_argument("--set", action="append", default=[], metavar="MODEL.KEY=VALUE", help="a model's setting")
    command.add_argument(
        "--preset", action="append", default=[], metavar="MODEL=NAME", help="tuned settings, or a file"
    )
    command.add_argument("--epochs", type=int, help="of what learns by gradient")
    command.add_argument("--seed", type=int, default=0, help="of every training")
    command.add_argument("--k", default="20", help="lengths of list to report")
    command.add_argument("--overwrite", action="store_true", help="start afresh instead of going on")
    command.set_defaults(run=compare)


def compare(options) -> int:
    from tfrecsession import batches, evaluation

    runs = words(options.runs)
    models = words(DEFAULT if options.models is None and not runs else options.models or "")
    chosen = settings_of(options, models)
    k = lengths(options.k)
    data = batches.load(options.data)
    screen = console(options.json)
    try:
        with Bars(screen) as bars:
            results = evaluation.compare(
                data, models, options.out, settings=chosen, runs=runs, k=k, seed=options.seed,
                overwrite=options.overwrite, progress=bars,
            )  # fmt: skip
    except KeyboardInterrupt:
        screen.print(f"interrupted; what was finished is kept in {options.out}, and the same command goes on from it")
        return 130
    screen.print(comparison_table(results, f"{options.data}, test split, next event, whole catalogue, ties against"))
    screen.print("*: differs from the best of the column, p < 0.05 after Holm's correction. In brackets 95% intervals.")
    screen.print(f"{Path(options.out) / 'report.html'}: tests, charts, costs and the protocol, to look at in a browser")
    write_json(results, options.json)
    return 0


def report_command(commands, every):
    command = commands.add_parser("report", parents=[every], help="results.json of a comparison -> report.html again")
    command.add_argument("comparison", metavar="DIR", help="the folder of a comparison, or its results.json")
    command.add_argument("--out", metavar="FILE", help="the page to write (report.html beside results.json)")
    command.set_defaults(run=report)


def report(options) -> None:
    from tfrecsession.evaluation import read_results, write_report

    results, file = read_results(options.comparison)
    page = write_report(results, options.out or file.with_name("report.html"))
    console(options.json).print(f"{page}: {len(results['models'])} models")
    write_json({"report": str(page), "data": results["data"]}, options.json)


COMMANDS = [compare_command, report_command]


class Bars:
    """A progress bar per model on a terminal, a line per stage elsewhere; called as `evaluation.compare` says."""

    def __init__(self, screen):
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
        )
        self.screen = screen
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
        total = None if done is None else 1.0
        self.progress.update(self.tasks[label], total=total, completed=done or 0.0, stage=stage)


def words(text: str) -> list[str]:
    """ "a, b" -> ["a", "b"]."""
    return [word.strip() for word in text.split(",") if word.strip()]


def settings_of(options, models: list[str]) -> dict[str, dict]:
    """label -> what --preset, --epochs and --set say of it, each over the one before."""
    from tfrecsession import presets, training
    from tfrecsession.evaluation.comparison import labelled

    kinds = dict(labelled(word) for word in models)
    chosen = {label: {} for label in kinds}
    for word in options.preset:
        label, said, name = word.partition("=")
        if not said or label not in kinds:
            raise InputError(f"--preset {word}: say MODEL=NAME with one of {', '.join(kinds)}")
        chosen[label] |= presets.read(name, kinds[label])["settings"]
    for label, kind in kinds.items():
        if options.epochs is not None and "epochs" in training.settings_of(kind):
            chosen[label]["epochs"] = options.epochs
        chosen[label] |= settings(options.set, of=label, among=kinds)
    return chosen
