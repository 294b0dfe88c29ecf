"""TensorFlow's start-up lines are hidden, and nothing else is."""

import os
import subprocess
import sys

import pytest

FAKE = """
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
os.write(2, b"I0000 00:00:1795874635.055974   26746 port.cc:153] oneDNN custom operations are on.\\n")
os.write(2, b"W0000 00:00:1795874635.055974   26746 some.cc:1] a warning\\n")
print("E0000 in Python", file=sys.stderr)
value = 1
"""
KEPT = "W0000 00:00:1795874635.055974   26746 some.cc:1] a warning\nE0000 in Python\n"


@pytest.fixture
def start(tmp_path):
    """(text of a module `tensorflow`, code, TF_CPP_MIN_LOG_LEVEL) -> the process that ran the code."""

    def run(module, code, level=None):
        (tmp_path / "tensorflow.py").write_text(module)
        environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        environment |= {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)

    return run


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_start_up_lines_are_hidden_and_others_are_kept(start, level):
    done = start(FAKE, "import tfrecsession, tensorflow; print(tensorflow.value)", level)
    assert (done.stdout, done.stderr) == ("1\n", KEPT)


def test_what_comes_after_the_import_is_kept(start):
    done = start(FAKE, "import tfrecsession, tensorflow; print('I0000 later', file=sys.stderr)", "3")
    assert done.stderr == KEPT + "I0000 later\n"


def test_a_user_who_asks_for_all_lines_gets_them(start):
    done = start(FAKE, "import tfrecsession, tensorflow", "0")
    assert "oneDNN" in done.stderr and done.stderr.endswith(KEPT)


def test_a_tensorflow_that_was_imported_before_is_left_alone(start):
    done = start(FAKE, "import tensorflow, os, tfrecsession; assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ")
    assert done.returncode == 0 and "oneDNN" in done.stderr


def test_an_error_of_the_import_is_shown(start):
    done = start(
        "import os; os.write(2, b'before\\n'); raise ImportError('broken')", "import tfrecsession, tensorflow", "3"
    )
    assert done.returncode == 1
    assert done.stderr.startswith("before\nTraceback") and done.stderr.endswith("ImportError: broken\n")


def test_the_last_words_of_a_process_that_dies_are_shown(start):
    done = start("import os; os.write(2, b'F0000 no AVX\\n'); os.abort()", "import tfrecsession, tensorflow", "3")
    assert done.returncode < 0 and "F0000 no AVX\n" in done.stderr


def test_without_grep_and_without_stderr_the_import_works(start):
    no_grep = start(FAKE, "import os; os.environ['PATH'] = '/nowhere'; import tfrecsession, tensorflow", "3")
    assert no_grep.returncode == 0 and no_grep.stderr.endswith(KEPT)
    closed = start("", "import os; os.close(2); import tfrecsession, tensorflow", "3")
    assert closed.returncode == 0


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="there is a GPU, which TensorFlow may report")
def test_tensorflow_prints_nothing():
    """TensorFlow prints nothing at its first computation after our import."""
    code = "import tfrecsession as trs; trs.models.GRU4Rec; import tensorflow as tf; print(int(tf.constant(1) + 1))"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("2\n", "")
