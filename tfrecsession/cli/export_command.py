"""The command `export`."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from tfrecsession.cli import export_formats
from tfrecsession.cli.output import console, write_json
from tfrecsession.cli.progress import steps_shown
from tfrecsession.cli.values import opened
from tfrecsession.errors import InputError
from tfrecsession.staging import check_folder, differences


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
        choices=["exact", "exact-two-pass", "exact-bf16", "exact-int8", "ivf", "scann"],
        default="exact",
        help="how the top items are found: by scoring all items, the same in bfloat16 and the best again in float32, "
        "with item vectors of half or a quarter of the size, by searching the clusters nearest to the history, or by "
        "ScaNN (default: exact)",
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
    histories, more = None, {"longest": options.longest, "overwrite": options.overwrite, "about": about}
    more |= {"content": content, "target_recall": options.target_recall}
    more |= {"clusters": options.clusters, "reasons": options.reasons}
    screen, step = console(options.json), f"exporting {run.info['model']}"
    with steps_shown(screen, f"{step}: loading it") as tell:
        model = run.model()
        with contextlib.suppress(InputError):  # titles are in the run's data set; without it the export has none
            data = run.data()
            model.items.content = data.coded_for(model.items).items.content_of(model.items)
            if options.index not in ("exact", "exact-two-pass"):
                split = next(split for split in (data.test, data.validation, data.train) if len(split))
                histories = split.beginnings(1000)
        more |= {"histories": histories, "progress": lambda text: tell(f"{step}: {text}")}
        exporting.write_saved_model(model, version, **choices, **more)
    card = json.loads((version / "assets.extra" / "tfrecsession.json").read_text())
    found = {name: card[name] for name in ("recall", "recall_measured_on", "index_settings") if name in card}
    screen.print(f"{version}: {run.info['model']}, top {options.k} items as strings")
    if found:
        recall = "exact answers"
        if "recall" in found:
            recall = (
                f"recall@{options.k} {card['recall']:.4f} against the exact answer, on {card['recall_measured_on']}"
            )
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


COMMANDS = [export_command]
