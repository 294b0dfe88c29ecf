"""The formats of `tfrecsession export` besides the SavedModel."""

from __future__ import annotations

import json
from pathlib import Path

from tfrecsession.cli.output import console, write_json
from tfrecsession.cli.progress import steps_shown
from tfrecsession.errors import InputError
from tfrecsession.staging import check_folder

SAVED_MODEL = "tf_saved_model"
RUNTIMES = ("litert", "onnx")
OPTIONS = {  # option -> its default and the formats that it is for
    "version": (1, {SAVED_MODEL}),
    "k": (20, {SAVED_MODEL, *RUNTIMES}),
    "exclude_seen": (False, {SAVED_MODEL, *RUNTIMES}),
    "longest": (None, {SAVED_MODEL, *RUNTIMES}),
    "index": ("exact", {SAVED_MODEL}),
    "target_recall": (0.98, {SAVED_MODEL}),
    "clusters": (None, {SAVED_MODEL}),
    "content": (None, {SAVED_MODEL}),
    "reasons": (0, {SAVED_MODEL}),
    "evaluation": (None, {"preset"}),
    "data_licence": (None, {"preset"}),
}


def add_options(command) -> None:
    """Adds `--format` and the options of formats besides the SavedModel to the command."""
    command.add_argument(
        "--format",
        choices=[SAVED_MODEL, "preset", *RUNTIMES],
        default=SAVED_MODEL,
        help="tf_saved_model; preset: settings, vocabulary, weights and a card, for `from_preset`; litert or onnx: a "
        "file for these runtimes, ids in, ids out (default: tf_saved_model)",
    )
    preset = command.add_argument_group("presets")
    preset.add_argument(
        "--evaluation",
        metavar="FILE",
        help="scores for the card, made by `evaluate RUN --json FILE` (default: those on validation)",
    )
    preset.add_argument("--data-licence", metavar="TEXT", help="the licence of the log, for the card")


def check_options(options) -> None:
    """Refuses options of another format than the chosen one."""
    for name, (default, formats) in OPTIONS.items():
        if options.format not in formats and getattr(options, name) != default:
            raise InputError(f"--{name.replace('_', '-')}: must be left out with --format {options.format}")


def export(options, run) -> None:
    """Writes a run in another format than a SavedModel."""
    run.check()
    (_preset if options.format == "preset" else _runtime)(options, run, Path(options.out), console(options.json))
    result = {"model": run.info["model"], "path": str(options.out), "format": options.format}
    write_json(result, options.json)


def _preset(options, run, out: Path, screen) -> None:
    from tfrecsession import presets

    check_folder(out, marker=presets.weights.FILE, overwrite=options.overwrite)
    presets.card.scores_of(run, options.evaluation)  # checks it before TensorFlow is imported
    choices = {"evaluation": options.evaluation, "data_licence": options.data_licence}
    step = f"exporting {run.info['model']}"
    with steps_shown(screen, f"{step}: loading it") as tell:
        model = run.model()
        tell(f"{step}: writing the preset")
        presets.save(model, out, run=run, overwrite=options.overwrite, **choices)
    screen.print(f"{out}: {run.info['model']} with weights; {out}/README.md is its card", markup=False)
    if options.evaluation is None:
        hint = f"`tfrecsession evaluate {options.run_folder} --json FILE`, then --evaluation FILE"
        line = f"note: the card has scores on validation, without intervals; for those on test: {hint}"
        screen.print(line, markup=False)


def _runtime(options, run, out: Path, screen) -> None:
    check_folder(out, marker="tfrecsession.json", overwrite=options.overwrite)
    choices = {name: getattr(options, name) for name in ("k", "exclude_seen", "longest", "overwrite")}
    step = f"exporting {run.info['model']}"
    with steps_shown(screen, f"{step}: loading it") as tell:
        model = run.model()
        tell(f"{step}: converting it, and comparing the file with the model")
        model.export(out, options.format, **choices)
    card = json.loads((out / "tfrecsession.json").read_text())
    size = f"{card['bytes'] / 1e6:.1f} MB, newest {card['longest']} items of a session"
    screen.print(f"{out}/{card['file']}: {run.info['model']}, {size}; {out}/README.md says how to ask it", markup=False)
