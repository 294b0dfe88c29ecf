"""The selection of `make test`, over made-up changes."""

import os
import shutil
import subprocess

import pytest

from tests.conformance import selection
from tests.conformance.descriptors import ROWS, TABLE

MODELS = "tfrecsession/models/"
LOG = """\0

tfrecsession/models/linear/slist.py
tfrecsession/models/rules/item_knn.py
\0

docs/index.md
\0
\0

tfrecsession/models/neighbours/sknn.py
"""
TABLE_TEXT = """
ROWS = [
    Model("random"),
    Model("gru4rec", **SEQUENCES, represents=True),
    Model("narm", **SEQUENCES),
]
"""


def changed(*commits, names=(), **options):
    return selection.changed(set(names), commits, ROWS, **options)


@pytest.fixture(autouse=True)
def all_that_changed(monkeypatch):
    """Selects as `make test` also in `make conformance`."""
    monkeypatch.delenv("TFRECSESSION_CONFORMANCE", raising=False)


def test_the_log_of_git_as_commits():
    assert selection.commits(LOG) == [
        [MODELS + "linear/slist.py", MODELS + "rules/item_knn.py"],
        ["docs/index.md"],
        [],
        [MODELS + "neighbours/sknn.py"],
    ]
    assert selection.commits("") == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("recurrent/gru4rec.py", {"gru4rec-bidirectional"}),  # the other variants are like it; it stands for its family
        ("neighbours/vsknn.py", {"vsknn"}),
        ("neighbours/sknn.py", {"sknn"}),  # like another, but this is its own file
        ("neighbours/session_search.py", {"vsknn"}),  # not the two that are like VSTAN
        ("rules/item_table_model.py", {"item_knn"}),
        ("linear/slist.py", set()),
        ("popularity/popularity.py", {"popularity"}),
        ("popularity/__init__.py", set()),
        ("popularity/README.md", set()),
        ("__init__.py", set()),
        ("../recommender/recommender.py", set()),
    ],
)
def test_models_of_a_changed_file(path, expected):
    assert changed([MODELS + path]) == expected


def test_a_change_of_the_whole_house_counts_for_no_model():
    everywhere = [row.file for row in ROWS]
    assert changed(everywhere) == set()
    assert changed(everywhere, [MODELS + "popularity/popularity.py"]) == {"popularity"}


def test_the_newest_changes_come_first_and_there_are_not_too_many():
    commits = [[MODELS + f"{path}.py"] for path in ("rules/item_knn", "neighbours/sknn", "popularity/popularity")]
    assert changed(*commits, most=2) == {"item_knn", "sknn"}
    assert changed(*commits, most=2, names={"random", "gru4rec"}) == {"random", "item_knn"}


def test_rows_that_changed():
    text = TABLE_TEXT.replace('"narm", ', '"narm", cost="large", ')
    assert selection.changed_rows(TABLE_TEXT, text) == {"narm"}
    assert selection.changed_rows(TABLE_TEXT, TABLE_TEXT.replace("    Model", "  Model")) == set()
    added = TABLE_TEXT.replace("]", '    Model("sasrec", **SEQUENCES),\n]')
    assert selection.changed_rows(TABLE_TEXT, added) == {"sasrec"}
    assert selection.changed_rows("", text) == set()
    rewritten = TABLE_TEXT.replace("SEQUENCES", "SMALL")
    assert selection.changed_rows(TABLE_TEXT, rewritten) == set()


def test_the_table_is_read_as_it_is():
    text = (selection.ROOT / selection.TABLE_FILE).read_text()
    assert list(selection.rows_of(text)) == list(TABLE)


def test_without_git_the_representatives(monkeypatch, tmp_path):
    alone = selection.representatives(ROWS)
    assert {"gru4rec", "gru4rec-repeats", "hrnn", "slist"} < alone < set(TABLE)
    monkeypatch.setattr(selection, "ROOT", tmp_path)
    assert selection.selected() == alone
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert selection.selected() == alone


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_in_a_repository_the_newest_day_and_the_working_tree(monkeypatch, tmp_path):
    def git(*words, day=1):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        dates = {f"GIT_{who}_DATE": f"2026-01-0{day}T12:00:00Z" for who in ("AUTHOR", "COMMITTER")}
        subprocess.run(["git", "-C", tmp_path, *identity, *words], env=os.environ | dates, check=True)

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    def further():
        return selection.selected() - selection.representatives(ROWS)

    monkeypatch.setattr(selection, "ROOT", tmp_path)
    monkeypatch.setattr(selection, "MOST", 4)
    git("init", "--quiet")
    for day, path in [(1, "rules/item_knn.py"), (2, "neighbours/sknn.py"), (4, "neighbours/vsknn.py")]:
        write(MODELS + path, "text")
        write(selection.TABLE_FILE, TABLE_TEXT)
        git("add", ".")
        git("commit", "--quiet", "--message", "text", day=day)
        assert further() == ({path.split("/")[1][:-3]} if day > 1 else set())  # the first commit adds everything
    write(MODELS + "popularity/popularity.py", "text")  # not yet known to git
    write(MODELS + "rules/item_knn.py", "other text")
    write(selection.TABLE_FILE, TABLE_TEXT.replace('"random"', '"random", like=None'))
    assert further() == {"vsknn", "popularity", "item_knn", "random"}
    write(selection.TABLE_FILE, "no Python at all")
    assert further() == set()


def test_a_few_models_alone(monkeypatch):
    monkeypatch.setenv("TFRECSESSION_CONFORMANCE", "few")
    assert selection.selected() == selection.FEW < set(TABLE)
