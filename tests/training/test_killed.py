"""Real kill -9 at any moment, also while a checkpoint is written."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import training

SETTINGS = {"units": [8], "rows": 16, "steps": 8, "negatives": 32, "epochs": 3, "dropout": 0.3, "decay": "linear"}
WORDS = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
START = "import sys; from tfrecsession.cli import main; sys.exit(main(sys.argv[1:]))"
KILLS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("killed")
    trs.prepare("synthetic:items=100,sessions=1500,seed=1", root / "data")
    assert begin(root, "whole", "--checkpoint", "none").wait() == 0
    return root


def begin(root, run, *more):
    words = ["train", f"{root}/data", "--model", "gru4rec", "--out", f"{root}/{run}", "--seed", "5", *WORDS, *more]
    return subprocess.Popen([sys.executable, "-c", START, *words], stdout=subprocess.DEVNULL)


def wait_for(pattern, folder, process):
    """Waits for a file newer than the process."""
    began = time.time()

    def newer(path):
        try:
            return path.stat().st_mtime > began
        except FileNotFoundError:  # renamed or removed meanwhile
            return False

    while process.poll() is None and not any(map(newer, folder.glob(pattern))):
        time.sleep(0.0002)


def weights(run):
    model = training.open_run(run).model()
    return [np.asarray(variable.value) for variable in [*model.weights, *model.optimizer.variables]]


@pytest.mark.slow
def test_every_resumed_training_ends_with_the_same_weights(root):
    chance, kills, half_written, run = random.Random(7), 0, 0, 0
    whole = weights(root / "whole")
    while kills < KILLS:
        name, unfinished = f"run-{run}", root / f"run-{run}.unfinished"
        for _ in range(4):
            process = begin(root, name, "--checkpoint", "1")
            if kills % 4 == 0:  # anywhere from the start of the process on
                time.sleep(chance.random() * 8)
            elif kills % 4 == 2:  # in training, or after its end
                wait_for("checkpoint-*", unfinished, process)
                time.sleep(chance.random() * 3)
            else:  # in the middle of a checkpoint
                wait_for("checkpoint-*.partial", unfinished, process)
                time.sleep(chance.random() * 0.01)
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                kills += 1
                half_written += any(unfinished.glob("*.partial"))
        if not (root / name).exists():
            assert begin(root, name).wait() == 0
        assert all((own == expected).all() for own, expected in zip(weights(root / name), whole, strict=True))
        for file in ("history.json", "metrics.json"):
            assert json.loads((root / name / file).read_text()) == json.loads((root / "whole" / file).read_text())
        assert not any(path.name.startswith(f"{name}.partial") for path in root.iterdir())
        run += 1
    assert half_written
