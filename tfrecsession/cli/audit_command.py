"""The command `audit`."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from tfrecsession.cli.output import console, write_json
from tfrecsession.cli.progress import steps_shown
from tfrecsession.errors import InputError

FAILED = 1
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def audit_command(commands, common):
    command = commands.add_parser(
        "audit",
        parents=[common],
        help="check that a scorer neither leaks nor flatters itself",
        description="Check a run, an export or any Python function from histories to scores: do its scores depend on "
        "the batch, on earlier calls, on what follows or on the target, and would ties flatter it? "
        f"The exit code is 0 where all checks pass, {FAILED} where one fails, 2 for invalid input.",
    )
    command.add_argument(
        "scorer",
        metavar="RUN|EXPORT|MODULE:FUNCTION",
        help="run folder, exported model, or a function of histories (lists of item ids) in a module of the path",
    )
    command.add_argument("--data", metavar="DIR", help="the data set; may be left out for a run that has not moved")
    command.add_argument(
        "--split", choices=["test", "validation", "train"], default="test", help="split to read (default: test)"
    )
    command.add_argument("--k", type=int, metavar="N", help="of the Recall that lines name (default: 20)")
    command.add_argument("--histories", type=int, default=64, metavar="N", help="number of histories (default: 64)")
    command.add_argument("--context", metavar="A,B", help="columns of the log to hand to a function, e.g. time")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the sampling (default: 0)")
    command.set_defaults(run=audit)


def audit(options) -> int:
    kind = kind_of(options.scorer)
    if options.context and kind != "function":
        raise InputError("--context: must be left out: a run reads the context it was trained with, an export none")
    data, load, k = LOADERS[kind](options)
    more = {"context": [name for name in (options.context or "").split(",") if name]}
    more |= {"ties": "against"} if kind == "export" else {}  # equal scores stand in a fixed order there

    from tfrecsession import evaluation  # TensorFlow, after all checks

    screen = console(options.json)
    sizes = {"k": min(k, len(data.items)), "histories": options.histories, "seed": options.seed}
    step = f"auditing {options.scorer}"
    with steps_shown(screen, f"{step}: loading it") as tell:
        scorer = load()
        data = data.coded_for(scorer.items) if kind == "run" else data
        more |= {"progress": lambda text: tell(f"{step}: {text}")}
        found = evaluation.audit(scorer, getattr(data, options.split), **sizes, **more)
    for check in found.checks:
        mark = {True: "ok", False: "FAIL", None: "-"}[check.passed]
        screen.print(f"{mark:5}{check.line}", markup=False, soft_wrap=True)
    result = "passed" if found.passed else f"failed: {', '.join(found.failed)}"
    screen.print(f"{options.scorer}: audit of {found.histories} histories of {options.split} {result}", markup=False)
    about = {"scorer": options.scorer, "kind": kind, "data": data.fingerprint, "split": options.split}
    write_json({**found.as_dict(), **about}, options.json)
    return 0 if found.passed else FAILED


def kind_of(scorer: str) -> str:
    """Returns "run", "export" or "function"."""
    path = Path(scorer)
    if (path / "run.json").is_file():
        return "run"
    if (path / "saved_model.pb").is_file() or any(path.glob("*/saved_model.pb")):
        return "export"
    if FUNCTION.fullmatch(scorer) and not path.exists():
        return "function"
    raise InputError(f"{scorer}: must be a run, an export, or a function as in my_module:my_function")


def _run(options):
    from tfrecsession.training.run_folder import open_run

    run = open_run(options.scorer)
    run.check()
    return run.data(options.data), run.model, options.k or 20


def _export(options):
    from tfrecsession.export.versions import newest_version, read_card

    data, version = _data(options), newest_version(options.scorer)
    card = read_card(version)
    if data.joint is not None and card.get("vocabulary") == data.joint.items.fingerprint:
        data = data.jointly_coded()
    if card.get("vocabulary", data.items.fingerprint) != data.items.fingerprint:
        raise InputError(f"--data {options.data}: must be the data set of {version}, whose items are others")
    most = card.get("k", 20)
    if options.k is not None and options.k > most:
        raise InputError(f"--k {options.k}: must be at most {most}, the items of an answer")

    def load():
        from tfrecsession.export.asking import answering

        return answering(version)

    return data, load, options.k or min(20, most)


def _function(options):
    module, name = options.scorer.split(":")
    sys.path.insert(0, "")  # the folder at hand
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise InputError(f"{options.scorer}: cannot be imported: {error}") from None
    if not callable(function):
        raise InputError(f"{options.scorer}: must be a function of histories, {module} has no function {name}")
    return _data(options), lambda: function, options.k or 20


def _data(options):
    from tfrecsession import batches

    if options.data is None:
        raise InputError(f"--data: must be given, the data set to audit {options.scorer} on")
    return batches.load(options.data)


LOADERS = {"run": _run, "export": _export, "function": _function}
"""Kind of scorer -> a function of the options: the data, a function that loads the scorer, and k."""
COMMANDS = [audit_command]
