"""Several workers on this machine: real processes that use only the loopback interface."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.training import in_step
from tfrecsession import InputError, training
from tfrecsession.cli import launch
from tfrecsession.training import workers

ROOT = Path(in_step.__file__).parents[2]
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at processes through /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    trs.prepare("synthetic:items=60,sessions=500,seed=3", folder / "data")
    return folder


def run_all(folder, names, **environment):
    """Runs one worker per name, at the same time; several workers get a TF_CONFIG each."""
    hosts = [f"127.0.0.1:{port}" for port in launch.free_ports(len(names))]
    processes = []
    for index, name in enumerate(names):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        own = {"TF_CONFIG": json.dumps(config)} if len(names) > 1 else {}
        command = [sys.executable, "-m", in_step.__name__, str(folder / "data"), str(folder / name)]
        processes.append(
            subprocess.Popen(command, cwd=ROOT, env=os.environ | own | environment, stderr=subprocess.PIPE, text=True)
        )
    errors = [process.communicate(timeout=300)[1] for process in processes]
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error[-3000:]
    return [(np.load(folder / f"{name}.npz"), json.loads((folder / f"{name}.json").read_text())) for name in names]


@pytest.fixture(scope="module")
def joint(folder):
    """One worker with whole batches."""
    return run_all(folder, ["alone"])[0]


@pytest.fixture(scope="module")
def two(folder):
    return run_all(folder, ["first", "second"])


def assert_equal_to_joint(found, joint):
    arrays, histories = found
    expected, expected_histories = joint
    assert arrays.files == expected.files
    for name in arrays.files:
        if "loss" not in name and "seed_generator" not in name:
            np.testing.assert_allclose(arrays[name], expected[name], rtol=0, atol=1e-5, err_msg=name)
    for name in in_step.TRAINED:
        np.testing.assert_allclose(histories[name]["loss"], expected_histories[name]["loss"], rtol=1e-5)


def test_two_workers_end_with_the_weights_of_one_worker(two, joint):
    for worker in two:
        assert_equal_to_joint(worker, joint)


@pytest.mark.slow
def test_four_workers_end_with_the_weights_of_one_worker(folder, joint):
    for worker in run_all(folder, [f"of_four_{index}" for index in range(4)]):
        assert_equal_to_joint(worker, joint)


def test_both_workers_have_the_same_weights_to_the_last_bit(two):
    (first, histories), (second, others) = two
    for name in first.files:
        if "seed_generator" not in name:  # dropout has a random state per worker
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert histories == others  # the chief's validation too


@pytest.mark.slow
def test_the_chief_validates_as_evaluate_does(folder, two):
    _, histories = two[1]
    model = keras.models.load_model(folder / "first.keras")
    scores = model.evaluate(trs.load(folder / "data").validation, verbose=0, return_dict=True)
    for name, value in scores.items():
        if name != "loss":
            assert histories["adagrad"][f"val_{name}"][-1] == pytest.approx(value, abs=1e-6)
    assert "val_recall@20" in histories["adagrad"]


@pytest.mark.slow
def test_workers_with_different_settings_name_the_differences(two):
    for _, found in two:
        assert found["refused"].startswith(
            "worker 1 differs from worker 0 in seed (1 instead of 0), learning_rate (1.1 instead of 0.1)"
        )


@pytest.mark.slow
def test_two_devices_of_one_process_end_with_the_weights_of_one_worker(folder, joint):
    devices = run_all(folder, ["devices"], LOGICAL_CPUS="2")[0]
    assert_equal_to_joint(devices, joint)
    assert devices[1]["whole_tables_read"] == []  # the cost of a step follows the rows touched


# The command line ----------------------------------------------------------------------------------------------------

TRAIN = ["--model", "gru4rec", "--set", "units=[8]", "--set", "rows=16", "--set", "negatives=32"]


@contextlib.contextmanager
def launched(folder, *more, epochs="100000"):
    """Runs `tfrecsession train --workers 2` inside the block, which begins at the end of the first epoch."""
    command = [sys.executable, "-m", "tfrecsession", "train", str(folder / "data"), *TRAIN, "--epochs", epochs]
    command += ["--out", str(folder / "run"), "--workers", "2", *more]
    out = (folder / "out.txt").open("w+")
    process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + 240
        while "epoch " not in (folder / "out.txt").read_text():
            assert process.poll() is None and time.monotonic() < until, (folder / "out.txt").read_text()[-3000:]
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()
        out.close()


def children(process):
    """Returns the processes that it started: process id -> index of the worker."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == process.pid:
                found[int(entry.name)] = int((entry / "cmdline").read_text().split("\0")[-2])
    return found


def gone(pids, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text() for pid in pids):
            return True
        time.sleep(0.1)
    return False


def peers(pid):
    """Returns the peers of a process's TCP connections, as hexadecimal addresses."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return {row[2].partition(":")[0] for row in rows if row[9] in inodes and row[3] != "0A"}


LOOPBACK = re.compile("0100007F|0{16}FFFF00000100007F|0{24}01000000")


@LINUX
@pytest.mark.slow
def test_a_worker_that_dies_stops_the_others(folder):
    with launched(folder) as process:
        pids = children(process)
        assert sorted(pids.values()) == [0, 1]
        addresses = set().union(*(peers(pid) for pid in pids))
        assert addresses and all(LOOPBACK.fullmatch(address) for address in addresses)
        os.kill(next(pid for pid, worker in pids.items() if worker == 1), signal.SIGKILL)
        assert process.wait(timeout=60) not in (0, None)
        assert gone(pids)
    printed = (folder / "out.txt").read_text()
    assert "worker 1 ended by SIGKILL, so the others were stopped; start again" in printed
    assert not (folder / "run").exists()


@pytest.mark.slow
@LINUX
def test_several_workers_resume_from_a_checkpoint(folder):
    def weights(name):
        model = training.open_run(folder / name).model()
        return [variable.numpy() for variable in model.trainable_variables]

    with launched(folder, "--out", str(folder / "whole"), epochs="40") as process:
        assert process.wait(timeout=240) == 0
    with launched(folder, "--out", str(folder / "broken"), epochs="40") as process:
        os.kill(next(iter(children(process))), signal.SIGKILL)
        assert process.wait(timeout=60) not in (0, None)
    assert not (folder / "broken").exists() and (folder / "broken.unfinished").exists()
    with launched(folder, "--out", str(folder / "broken"), epochs="40") as process:
        assert process.wait(timeout=240) == 0
    assert "going on after" in (folder / "out.txt").read_text()
    for one, other in zip(weights("whole"), weights("broken"), strict=True):
        np.testing.assert_array_equal(one, other)


@LINUX
@pytest.mark.slow
def test_workers_do_not_outlive_the_launcher(folder):
    with launched(folder) as process:
        pids = children(process)
        process.kill()
        assert gone(pids)


@pytest.mark.parametrize(
    ("model", "settings", "word"),
    [
        ("als", {}, "als"),
        ("item_knn", {}, "item_knn"),
        ("gru4rec", {"lanes": 8}, "lanes=8"),
        ("gru4rec", {"accumulate": 2}, "accumulate=2"),
        ("gru4rec", {"precision": "mixed_float16"}, "precision=mixed_float16"),
    ],
)
def test_settings_that_only_one_worker_can_train_are_refused(model, settings, word, monkeypatch):
    gpus = SimpleNamespace(num_replicas_in_sync=2)
    assert workers.suited(gpus, model, settings).num_replicas_in_sync == 1  # on one of them
    monkeypatch.setattr(workers, "workers_of", lambda together: 2)
    with pytest.raises(InputError, match=f"{word}.*train on one worker"):
        workers.suited(gpus, model, settings)


@pytest.mark.parametrize(
    ("hosts", "worker", "message"),
    [
        ("one:1,two", 0, "host:port,host:port"),
        ("one:1,two:2", None, "among the 2 hosts"),
        ("one:1,two:2", 2, "among the 2 hosts"),
        (None, 1, "host:port,host:port"),
    ],
)
def test_invalid_hosts_are_refused(hosts, worker, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match=message):
        launch.set_cluster_env(hosts, worker)
    assert "TF_CONFIG" not in os.environ


def test_hosts_become_a_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    launch.set_cluster_env("one:1,two:2", 1)
    config = {"cluster": {"worker": ["one:1", "two:2"]}, "task": {"type": "worker", "index": 1}}
    assert json.loads(os.environ["TF_CONFIG"]) == config and not launch.is_chief()


@pytest.mark.parametrize(
    "text",
    ["{", '{"cluster": {"ps": ["a:1"]}}', '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
)
def test_an_invalid_tf_config_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match="TF_CONFIG=.*must be"):
        training.strategy()
