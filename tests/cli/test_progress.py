"""Progress of commands whose output is piped."""

import io
import threading

import pytest
from rich.console import Console

from tfrecsession.cli import main
from tfrecsession.cli.progress import ProgressLines, lines_where_piped, steps_shown


def test_a_line_at_each_interval_names_the_step_and_the_time():
    file, turns, printed = io.StringIO(), threading.Semaphore(0), threading.Semaphore(0)
    times = iter([100.0, 110.0, 120.4])
    rounds = iter([False, False, True])

    def wait(seconds):
        assert seconds == 10.0
        printed.release()
        turns.acquire()
        return next(rounds)

    with ProgressLines("reading", file=file, clock=lambda: next(times), wait=wait) as lines:
        printed.acquire()
        turns.release()  # ten seconds pass
        printed.acquire()
        lines.update("writing train", 0.25)
        turns.release()
        printed.acquire()
        turns.release()
    assert file.getvalue().splitlines() == ["10 s: reading", "20 s: writing train 25%"]


def test_nothing_is_printed_by_a_quick_step(capsys):
    with ProgressLines("reading") as lines:
        lines.update("writing")
    assert capsys.readouterr() == ("", "")


def test_lines_are_for_pipes_alone(monkeypatch, capsys):
    entered = []
    monkeypatch.setattr(ProgressLines, "__enter__", lambda lines: entered.append(lines) or lines)
    monkeypatch.setattr(ProgressLines, "__exit__", lambda lines, *error: None)
    with lines_where_piped(Console(force_terminal=True), "evaluating") as tell:
        tell("evaluating", 0.5)
    assert not entered
    with lines_where_piped(Console(force_terminal=False), "evaluating") as tell:
        tell("evaluating", 0.5)
    assert len(entered) == 1


def test_steps_stand_in_a_status_line_on_a_terminal(capsys):
    screen = Console(force_terminal=True, file=io.StringIO())
    with steps_shown(screen, "exporting: loading it") as tell:
        tell("exporting: writing the items")
    assert "exporting: writing the items" in screen.file.getvalue() or "exporting: loading it" in screen.file.getvalue()


@pytest.mark.slow
def test_every_long_command_tells_its_steps_where_the_output_is_piped(tmp_path, monkeypatch, capsys):
    steps = []
    monkeypatch.setattr(ProgressLines, "update", lambda lines, step, done=None: steps.append((step, done)))

    def told(*words):
        steps.clear()
        began = len(started)
        assert main([str(word) for word in words]) == 0
        assert len(started) == began + 1, "the command prints no lines"
        return [step for step, _ in steps], [done for _, done in steps if done is not None]

    started, enter = [], ProgressLines.__enter__
    monkeypatch.setattr(ProgressLines, "__enter__", lambda lines: started.append(lines._step) or enter(lines))
    data, run = tmp_path / "data", tmp_path / "run"
    told("prepare", "synthetic:items=60,sessions=400,seed=1", "--out", data)
    words, _ = told("train", data, "--model", "gru4rec", "--set", "units=[4]", "--epochs", 1, "--out", run)
    assert any(word.startswith("training gru4rec  epoch 1/1") and "events/s" in word for word in words)
    words, done = told("evaluate", run, "--k", 5)
    assert set(words) == {"evaluating gru4rec"} and done[-1] == 1.0
    words, _ = told("compare", data, "--models", "popularity", "--k", 5, "--out", tmp_path / "report")
    assert {"popularity: fitting", "popularity: evaluating"} <= set(words)
    told("report", tmp_path / "report")
    words, _ = told("tune", data, "--model", "item_knn", "--trials", 2, "--out", tmp_path / "tuned")
    assert any(word.startswith("tuning item_knn: trial 2 of 2") for word in words)
    words, _ = told("export", run, "--out", tmp_path / "exported", "--k", 5)
    assert "exporting gru4rec: loading it" in started
    assert [word.removeprefix("exporting gru4rec: ") for word in words] == [
        "preparing the model",
        "making the index exact",
        "building the signatures",
        "tracing and writing 7 signatures",
        "writing the items",
        "writing warm-up requests",
    ]
    words, _ = told("export", run, "--format", "preset", "--out", tmp_path / "preset")
    assert words == ["exporting gru4rec: writing the preset"]
    words, _ = told("audit", run, "--histories", 8)
    assert f"auditing {run}: scoring 8 histories" in words and words[-1] == f"auditing {run}: check evaluation"
    assert {f"auditing {run}: check {name}" for name in ("calls", "permuted", "padding", "future")} <= set(words)
