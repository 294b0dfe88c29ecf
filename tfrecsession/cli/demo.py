"""The command `demo`: runs the other commands one after another."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError
from tfrecsession.staging import check_parents, differences, replace_file

MARK = "demo.json"  # a folder that holds one is a demo


def demo_command(commands, common):
    command = commands.add_parser(
        "demo",
        parents=[common],
        help="run the whole pipeline: prepare, compare, export, recommend, best",
        description="Run the whole pipeline on one log: prepare, compare, export, recommend, best. "
        "Further options are passed to `prepare`.",
    )
    source = "synthetic:items=5000,sessions=60000,seed=1"
    command.add_argument(
        "source", nargs="?", metavar="SOURCE", default=source, help=f"the log to read (default: {source})"
    )
    command.add_argument("--out", default="demo", metavar="DIR", help="folder for all results (default: demo)")
    command.add_argument("--epochs", type=int, default=5, metavar="N", help="training epochs of GRU4Rec (default: 5)")
    command.add_argument(
        "--budget",
        default="30s",
        metavar="DURATION",
        help="time of the last step, best; 0: without it (default: 30s)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace a demo with other options")
    command.set_defaults(run=demo, takes_the_rest=True)


def demo(options) -> int:
    out = options.out
    data, report, saved = f"{out}/data", f"{out}/report", f"{out}/saved_models/gru4rec"
    screen = console(options.json)
    _claim(Path(out), {"source": options.source, "epochs": options.epochs, "options": options.rest}, options.overwrite)

    def step(*words: str) -> None:
        screen.print("\n$ tfrecsession " + " ".join(words), markup=False, soft_wrap=True)
        sys.stdout.flush()
        with redirect_stdout(sys.stderr if options.json == "-" else sys.stdout):
            code = options.run_command(words)
        if code:
            sys.exit(code)

    step("prepare", options.source, "--out", data, "--overwrite", *options.rest)
    compared = ("--models", "popularity,item_knn,gru4rec", "--epochs", str(options.epochs))
    step("compare", data, "--out", report, "--overwrite", *compared, "--json", f"{out}/results.json")
    step("export", f"{report}/runs/gru4rec", "--out", saved, "--k", "10", "--exclude-seen", "--overwrite")
    from tfrecsession import batches

    loaded = batches.load(data)
    step("recommend", saved, *loaded.items.decode(loaded.test[0][:2]))
    best = f"{out}/best"
    if options.budget != "0":
        step("best", data, "--out", best, "--budget", options.budget, "--overwrite")
        screen.print(f"\nReport of the search: {best}/report.html", markup=False, soft_wrap=True)
    served = f"tfrecsession serve {out}/saved_models"
    screen.print(f"\nTo try the model at http://localhost:8501/: {served}", markup=False, soft_wrap=True)
    page = f"{report}/report.html"
    screen.print(f"Comparison report, open it in a browser: {page}", markup=False, soft_wrap=True)
    results = json.loads(Path(out, "results.json").read_text(encoding="utf-8"))
    folders = {"path": data, "report": page, "run": f"{report}/runs/gru4rec", "saved_model": saved}
    if options.budget != "0":
        folders["best"] = best
    write_json({**results, **folders}, options.json)
    return 0


def _claim(out: Path, request: dict, overwrite: bool) -> None:
    """Marks `out` as the folder of this demo.

    Raises:
        InputError: it holds something else, or a demo with other options; or it cannot be written.
    """
    mark = out / MARK
    check_parents(mark)
    if out.is_dir() and any(out.iterdir()):
        before_marks = overwrite and (out / "data" / "dataset.json").is_file()  # a demo of an earlier version
        if not mark.is_file() and not before_marks:
            raise InputError(f"{out}: is neither empty nor a demo (no {MARK}): choose another name for --out")
        try:
            held = json.loads(mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            held = {}
        if not overwrite and (differ := differences(held, request)):
            raise InputError(
                f"{out}: holds a demo that differs ({differ}): choose another --out, or replace it with --overwrite"
            )
    replace_file(mark, json.dumps(request) + "\n")


COMMANDS = [demo_command]
