"""TensorFlow's start-up lines, kept from the terminal where they say nothing to a user."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.machinery import PathFinder

START_UP = r"^I[0-9]{4} |^WARNING: All log messages before absl::InitializeLog|^To enable the following instructions:"
PATIENCE = 5  # seconds to wait for the last lines


def quiet_start_up() -> None:
    """Hides TensorFlow's start-up lines where there is no GPU.

    They inform about instruction sets, rounding and the GPU that was not found. A TF_CPP_MIN_LOG_LEVEL set by the user
    wins, and a TensorFlow that was imported before is left alone. TensorFlow 2.20 follows the variable. Version 2.21
    writes some of the lines before it reads the variable, so they are filtered while it is imported.
    """
    if "tensorflow" in sys.modules:
        return
    if not os.path.exists("/dev/nvidia0"):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") in ("1", "2", "3"):
        sys.meta_path.insert(0, _TensorFlowFinder)


class _TensorFlowFinder:
    """Finder of `tensorflow` whose first import is filtered."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "tensorflow":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                with contextlib.suppress(ValueError):
                    sys.meta_path.remove(cls)
                with filtered_stderr():
                    execute(module)

            spec.loader.exec_module = exec_module
        return spec


@contextlib.contextmanager
def filtered_stderr():
    """Passes what is written to file descriptor 2 on at the end, without the lines that match START_UP.

    The filter is a process of its own: it also passes on the last words of a process that dies meanwhile.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        command = ["grep", "-a", "-v", "-E", START_UP]
        grep = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr, env={**os.environ, "LC_ALL": "C"})
    except OSError:  # a system without grep
        os.close(stderr)
        yield
        return
    os.dup2(grep.stdin.fileno(), 2)
    grep.stdin.close()
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(subprocess.TimeoutExpired):
            grep.wait(PATIENCE)
