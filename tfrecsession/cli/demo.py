"""The command `demo`: runs the other commands one after another."""

from __future__ import annotations

import sys


def demo_command(commands, common):
    command = commands.add_parser(
        "demo",
        parents=[common],
        help="run the whole pipeline: prepare, compare, export, recommend",
        description="Run the whole pipeline on one log: prepare, compare, export, recommend. "
        "Further options are passed to `prepare`.",
    )
    source = "synthetic:items=5000,sessions=60000,seed=1"
    command.add_argument(
        "source", nargs="?", metavar="SOURCE", default=source, help=f"the log to read (default: {source})"
    )
    command.add_argument("--out", default="demo", metavar="DIR", help="folder for all results (default: demo)")
    command.add_argument("--epochs", type=int, default=5, metavar="N", help="training epochs of GRU4Rec (default: 5)")
    command.set_defaults(run=demo, takes_the_rest=True)


def demo(options) -> int:
    from tfrecsession import batches

    out = options.out
    data, report, saved = f"{out}/data", f"{out}/report", f"{out}/saved_models/gru4rec"

    def step(*words: str) -> None:
        print("\n$ tfrecsession " + " ".join(words), flush=True)
        if code := options.run_command(words):
            sys.exit(code)

    step("prepare", options.source, "--out", data, "--overwrite", *options.rest)
    compared = ("--models", "popularity,item_knn,gru4rec", "--epochs", str(options.epochs))
    step("compare", data, "--out", report, "--overwrite", *compared, "--json", f"{out}/results.json")
    step("export", f"{report}/runs/gru4rec", "--out", saved, "--k", "10", "--exclude-seen", "--overwrite")
    loaded = batches.load(data)
    step("recommend", saved, *loaded.items.decode(loaded.test[0][:2]))
    print(f"\nTo try the model at http://localhost:8501/: tfrecsession serve {out}/saved_models")
    print(f"Comparison report, open it in a browser: {report}/report.html")
    return 0


COMMANDS = [demo_command]
