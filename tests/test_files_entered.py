"""The files of the package that a GRU4Rec enters, to be open to follow it: `python -m tests.test_files_entered`."""

import sys
import tempfile
import threading
from pathlib import Path

import pytest

import tfrecsession

PACKAGE = Path(tfrecsession.__file__).parent
# content, context, trend and users are asked also where they are off: 7 to 11 of these files; every export has rules: 9
LIMITS = {"training": 29, "evaluation": 31, "export": 41}


def entered(run) -> dict[str, set[str]]:
    """Returns file -> the functions of it that are called while `run()` runs."""
    seen = {}

    def profile(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(f"{PACKAGE}/") and code.co_name != "<module>":
            file = str(Path(code.co_filename).relative_to(PACKAGE))
            seen.setdefault(file, set()).add(code.co_name)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return seen


def files_of_gru4rec(data) -> dict[str, dict[str, set[str]]]:
    """Returns the files that an epoch of training, an evaluation and an export enter."""
    with tempfile.TemporaryDirectory() as folder:
        for run in runs_of_gru4rec(data, Path(folder) / "0").values():
            run()  # imports what is imported at first use, whose classes would be counted
        return {name: entered(run) for name, run in runs_of_gru4rec(data, Path(folder) / "1").items()}


def runs_of_gru4rec(data, folder: Path) -> dict:
    import tfrecsession as trs

    evaluate = trs.evaluation.evaluate  # to look it up is no work of an evaluation
    model = trs.models.GRU4Rec(data.items, units=[8])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
    return {
        "training": lambda: model.fit(data.train.batches(rows=16, steps=8), epochs=1, verbose=0),
        "evaluation": lambda: evaluate(model, data.test),
        "export": lambda: model.export(folder / "1", k=5),
    }


@pytest.mark.slow
def test_no_more_files_are_entered_than_before(shop):
    found = files_of_gru4rec(shop)
    assert {name: len(files) for name, files in found.items() if len(files) > LIMITS[name]} == {}, found


if __name__ == "__main__":
    for name, files in files_of_gru4rec(tfrecsession.synthetic_sessions(items=100, sessions=500, seed=1)).items():
        print(name, len(files), *(f"\n    {file}: {', '.join(sorted(names))}" for file, names in sorted(files.items())))
