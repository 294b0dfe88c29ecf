"""Progress of commands whose output is piped."""

import io
import threading

from tfrecsession.cli.progress import ProgressLines


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
