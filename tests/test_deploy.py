"""The launch files give every worker its arguments and stop all workers if one fails."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stubs of `tfrecsession` and `ssh` that print their arguments; worker $FAILS exits with 7."""
    programs = {
        "tfrecsession": 'printf "%s\\n" "$TF_CONFIG" "$@"\ncase "$*" in *"--worker $FAILS") exit 7 ;; esac\n'
        'exec sleep "$LASTS"',
        "ssh": 'while [ "${1#-}" != "$1" ] || [ "${1#*=}" != "$1" ]; do shift; done\necho "on $1"\nexec sh -c "$2"',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("FAILS", "none")
    monkeypatch.setenv("LASTS", "0")
    for name in ("TF_CONFIG", "VENV", "SSH", "PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def over_ssh(folder, *arguments):
    (folder / "hosts").write_text("one  # the chief\n\ntwo:77\n")
    command = ["bash", DEPLOY / "hosts.sh", folder / "hosts", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_hosts_over_ssh(commands):
    ran = over_ssh(commands, "train", "the data", "--set", "units=[8]")
    words = ["train", "the data", "--set", "units=[8]", "--workers", "one:2222,two:77", "--worker"]
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if line] == ["on one", *words, "0"]
    assert [line for line in (commands / "worker-1.log").read_text().splitlines() if line] == ["on two", *words, "1"]


def test_a_failed_worker_stops_the_others(commands, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    monkeypatch.setenv("LASTS", "3000")
    ran = over_ssh(commands, "train", "data")
    assert ran.returncode == 7 and "a worker ended with code 7, so all are stopped" in ran.stderr


def test_a_pod_knows_its_index(commands):
    text = (DEPLOY / "kubernetes.yaml").read_text()
    block = re.search(r"args:\n +- \|\n((?: {14}.*\n)+)", text).group(1)
    variables = {"JOB_COMPLETION_INDEX": "2"}
    for name in ("WORKERS", "JOB"):
        variables[name] = re.search(rf"name: {name}\b.*\n +value: \"?(\w+)", text).group(1)
    ran = subprocess.run(["sh", "-c", block], env=os.environ | variables, capture_output=True, text=True, timeout=60)
    config, verb = ran.stdout.splitlines()[:2]
    hosts = [f"gru4rec-{index}.gru4rec:2222" for index in range(4)]
    assert verb == "train"
    assert json.loads(config) == {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 2}}
    assert re.search(r"parallelism: (\d)", text).group(1) == variables["WORKERS"]
