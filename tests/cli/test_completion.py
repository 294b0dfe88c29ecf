"""`tfrecsession completion`: what bash offers after a few words."""

import shutil
import subprocess

import pytest

from tfrecsession.cli import main


@pytest.fixture(scope="module")
def script():
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["completion"]) == 0
    return out.getvalue()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["comp"], {"compare", "completion"}),
        (["train", "clicks", "--model", "gru"], {"gru4rec"}),
        (["models", "nar"], {"narm"}),
        (["train", "clicks", "--ep"], {"--epochs"}),
        (["export", "run", "--index", "exact-"], {"exact-two-pass", "exact-bf16", "exact-int8"}),
        (["train", "cl"], set()),  # a file or folder
    ],
)
def test_what_is_offered(script, words, offered):
    line = " ".join(f"'{word}'" for word in ["tfrecsession", *words])
    asked = f'{script}\nCOMP_WORDS=({line}) COMP_CWORD={len(words)}\n_tfrecsession\necho "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
    assert not done.stderr
    assert set(done.stdout.split()) == offered


def test_all_commands_are_in_it(script):
    commands = next(line for line in script.splitlines() if 'words="prepare' in line)
    assert {"update-counts", "add-items", "completion"} <= set(commands.split())
