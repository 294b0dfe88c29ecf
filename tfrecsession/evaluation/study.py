"""A search in a folder that outlives its process. The one file that knows Optuna."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.recommender.search_space import Choice, Float, Int

FILE = "study.db"


class Study:
    """Trials one after the other, each drawn from those before it, kept in SQLite: a killed process loses one trial.

    A trial that was killed or interrupted does not count and is run again; one that was killed twice has failed.
    """

    def __init__(self, study, seed: int):
        self.study = study
        self.seed = seed

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path, bound: dict, patience: int) -> Iterator[Study]:
        """The study in the folder `out`, made where there is none; nobody else may work in it meanwhile.

        Args:
            out: the folder.
            bound: what all trials have in common, with a "seed" among it. A study that is bound to anything else is
                refused.
            patience: epochs that no trial is pruned in.

        Raises:
            InputError: Optuna is not installed, `out` is no place for a study, or the study there is another.
        """
        try:
            import optuna
        except ImportError:
            raise InputError("tuning needs Optuna: pip install 'tfrecsession[tune]'") from None
        verbosity = optuna.logging.get_verbosity()
        with _alone(out):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            try:
                pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=patience)
                try:
                    # through a connection of ours: in a URL some names of folders would be read as options
                    storage = optuna.storages.RDBStorage(f"sqlite:///{FILE}", {"creator": lambda: _connect(out)})
                    study = optuna.create_study(
                        storage=storage, study_name="tune", direction="maximize", load_if_exists=True, pruner=pruner
                    )
                except Exception as error:
                    raise InputError(f"{out / FILE}: not a study that Optuna can open: {_line(error)}") from None
                _bind(study, out, json.loads(json.dumps(bound, default=repr)))
                for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # its process is gone
                yield cls(study, bound["seed"])
                storage.remove_session()
            finally:
                optuna.logging.set_verbosity(verbosity)

    def run(self, draw: Callable, score: Callable, first: dict) -> None:
        """One trial more.

        Args:
            draw: what `walk` calls, (name, range) -> value, goes in; setting -> value comes out.
            score: (setting -> value, report) -> the metric. An exception makes the trial a failed one.
                `report(value, epoch)` ends it where it falls behind the median of the others.
            first: the settings of the very first trial.
        """
        import optuna

        counted = len(self._counted())
        # By the number of trials before, not by how often the process was started: both ways lead to the same trials.
        seed = np.random.SeedSequence([self.seed, counted]).generate_state(1)[0]
        self.study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        killed = _attempts(self.study.get_trials(deepcopy=False)[-1:])
        if not counted and not self.study.get_trials(states=[optuna.trial.TrialState.WAITING]):
            self.study.enqueue_trial({name: _label(value) for name, value in first.items()})
        trial = self.study.ask()
        trial.set_user_attr("attempt", killed + 1)

        def report(value: float, epoch: int) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            drawn = draw(lambda name, one: _suggest(trial, name, one))
            trial.set_user_attr("drawn", drawn)
            self.study.tell(trial, score(drawn, report))
        except optuna.TrialPruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except Exception as error:
            trial.set_user_attr("error", _line(error))
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        except BaseException:  # Ctrl-C is not the trial's fault
            trial.set_user_attr("attempt", 0)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise

    def trials(self) -> list[dict]:
        """The trials that count, in their order, see `Tuning.trials`."""
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        found = []
        for number, trial in enumerate(self._counted(), start=1):
            failed = {"error": trial.user_attrs.get("error", "its process was killed, twice")}
            found.append(
                {
                    "trial": number,
                    "state": states[trial.state.name],
                    "value": trial.value,
                    "settings": trial.user_attrs.get("drawn", {}),
                    "seconds": round(trial.duration.total_seconds(), 3),
                    **(failed if trial.state.name == "FAIL" else {}),
                }
            )
        return found

    def _counted(self) -> list:
        trials = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]
        return [
            trial
            for trial in trials
            if trial.state.name != "FAIL" or "error" in trial.user_attrs or trial.user_attrs.get("attempt", 0) > 1
        ]


def _connect(out: Path) -> sqlite3.Connection:
    return sqlite3.connect(out / FILE, check_same_thread=False)


def _attempts(last: list) -> int:
    """How often the trial to come has been killed already, by the last trial there is."""
    killed = last and last[0].state.name == "FAIL" and "error" not in last[0].user_attrs
    attempt = last[0].user_attrs.get("attempt", 0) if killed else 0
    return attempt if attempt < 2 else 0


def _suggest(trial, name: str, one: Float | Choice):
    if isinstance(one, Choice):
        options = {_label(option): option for option in one.options}
        return options[trial.suggest_categorical(name, list(options))]
    suggest = trial.suggest_int if isinstance(one, Int) else trial.suggest_float
    return suggest(name, one.low, one.high, log=one.log)


def _label(value):
    """A value as Optuna stores it: lists by what is written."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _bind(study, out: Path, bound: dict) -> None:
    """Refuse a study of anything else."""
    if (there := study.user_attrs.get("bound")) is None:
        study.set_user_attr("bound", bound)
        return
    for name, value in bound.items():
        before = there.get(name)
        if before == value:
            continue
        if isinstance(value, dict):
            differ = [key for key in {**before, **value} if before.get(key) != value.get(key)]
            before, value = ({key: side.get(key) for key in differ} for side in (before, value))
        raise InputError(
            f"{out} holds a search with {name} {before}, and this one has {value}: choose another --out, or remove it"
        )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make the folder and lock it; the lock goes with the process."""
    import fcntl  # not on every system, which all but tuning can do without

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FILE).exists())):
        raise InputError(f"{out}: exists and holds no study (no {FILE}): choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another process tunes there: wait for it, or choose another --out") from None
        yield
    finally:
        os.close(folder)


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
