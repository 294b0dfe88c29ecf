"""The formats of `tfrecsession export` besides the SavedModel."""

from __future__ import annotations

from pathlib import Path

from tfrecsession.cli.output import console, write_json
from tfrecsession.errors import InputError
from tfrecsession.staging import check_folder

SAVED_MODEL = "tf_saved_model"
OPTIONS = {  # option -> its default and the formats that it is for
    "version": (1, {SAVED_MODEL}),
    "k": (20, {SAVED_MODEL}),
    "exclude_seen": (False, {SAVED_MODEL}),
    "longest": (None, {SAVED_MODEL}),
    "index": ("exact", {SAVED_MODEL}),
    "target_recall": (0.98, {SAVED_MODEL}),
    "content": (None, {SAVED_MODEL}),
    "evaluation": (None, {"preset"}),
    "data_licence": (None, {"preset"}),
}


def add_options(command) -> None:
    """Adds `--format` and the options of formats besides the SavedModel to the command."""
    command.add_argument(
        "--format",
        choices=[SAVED_MODEL, "preset"],
        default=SAVED_MODEL,
        help="tf_saved_model, or preset: settings, vocabulary, weights and a card, for `from_preset` "
        "(default: tf_saved_model)",
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
    from tfrecsession import presets

    out = Path(options.out)
    check_folder(out, marker=presets.weights.FILE, overwrite=options.overwrite)
    presets.card.scores_of(run, options.evaluation)  # checks it before TensorFlow is imported
    choices = {"evaluation": options.evaluation, "data_licence": options.data_licence}
    presets.save(run.model(), out, run=run, overwrite=options.overwrite, **choices)
    screen = console(options.json)
    screen.print(f"{out}: {run.info['model']} with weights; {out}/README.md is its card", markup=False)
    if options.evaluation is None:
        hint = f"`tfrecsession evaluate {options.run_folder} --json FILE`, then --evaluation FILE"
        screen.print(
            f"note: the card has scores on validation, without intervals; for those on test: {hint}", markup=False
        )
    write_json({"model": run.info["model"], "path": str(out), "format": options.format}, options.json)
