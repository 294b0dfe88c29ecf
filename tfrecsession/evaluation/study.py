"""A persistent hyperparameter search in a folder. This is the only module that uses Optuna."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfrecsession.batches.data import check_data
from tfrecsession.errors import InputError
from tfrecsession.file_lock import locked_folder
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.staging import check_parents, one_line

if TYPE_CHECKING:
    from tfrecsession.batches import Data

FILE = "study.db"
METRICS = ("recall", "mrr", "ndcg")  # names of `evaluation.metrics_of`


class Study:
    """Sequential trials, kept in SQLite. Each is sampled given the earlier ones; a killed process loses one trial.

    A trial that was killed or interrupted does not count and is run again. A trial that was killed twice has failed.
    """

    def __init__(self, study, seed: int):
        self.study = study
        self.seed = seed

    @classmethod
    @contextlib.contextmanager
    def open(cls, out: Path, bound: dict, patience: int) -> Iterator[Study]:
        """Opens or creates the study in the folder `out`, and locks it against other processes.

        Args:
            out: the folder.
            bound: what all trials have in common, including "seed". A study with other values is refused.
            patience: number of first epochs in which no trial is pruned.

        Raises:
            InputError: Optuna is not installed, `out` cannot hold a study, or holds another one.
        """
        try:
            import optuna
        except ImportError:
            raise InputError("tuning needs Optuna: pip install 'tfrecsession[tune]'") from None
        verbosity = optuna.logging.get_verbosity()
        with _locked(out):
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            try:
                new = not (out / FILE).exists()
                pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=patience)
                try:
                    # with our own connection: in a URL, parts of a folder name could be read as options
                    storage = optuna.storages.RDBStorage(f"sqlite:///{FILE}", {"creator": lambda: _connect(out)})
                    study = optuna.create_study(
                        storage=storage, study_name="tune", direction="maximize", load_if_exists=True, pruner=pruner
                    )
                except Exception as error:
                    if new:
                        shutil.rmtree(out)  # there was nothing in it
                        with one_line(out):
                            raise
                    raise InputError(f"{out / FILE}: not a study that Optuna can open: {_line(error)}") from None
                _bind(study, out, json.loads(json.dumps(bound, default=repr)))
                for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # its process was killed
                yield cls(study, bound["seed"])
                storage.remove_session()
            finally:
                optuna.logging.set_verbosity(verbosity)

    def run(self, draw: Callable, score: Callable, first: dict) -> None:
        """Runs one more trial.

        Args:
            draw: takes the sampling function that `walk` calls, (name, range) -> value; returns setting -> value.
            score: (setting -> value, report) -> the metric. If it raises an exception, the trial has failed.
                `report(value, epoch)` ends the trial if it falls behind the median of the others.
            first: the settings of the very first trial.
        """
        import optuna

        counted = len(self._counted())
        # Seeded by the number of earlier trials, so that an interrupted search gives the same trials.
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
            drawn = draw(lambda name, values: _suggest(trial, name, values))
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
        """Returns the trials that count, in order, see `Tuning.trials`."""
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


def check_search(data: Data, metric: str, trials: int, out: str | Path) -> int:
    """Checks what a search needs, before TensorFlow is imported and the folder exists; returns the k of the metric.

    Raises:
        InputError: Optuna is missing, the data has no validation split, the metric is unknown, `trials` is below 1, or
            `out` cannot hold a study.
    """
    check_data(data)
    if not data.validation.scored_events:
        raise InputError(
            f"{data.path or 'the data'} has no validation split to tune on: prepare it again with "
            "validation_span='1d', or a share such as 10% if the log has no times"
        )
    name, _, text = metric.partition("@")
    k = int(text) if text.isdecimal() else 0
    if name not in METRICS or not 1 <= k <= len(data.items):
        known = ", ".join(f"{known}@k" for known in METRICS)
        raise InputError(
            f"metric={metric!r}: must be one of {known}, with k from 1 to the catalogue's {len(data.items):,}"
        )
    if trials < 1:
        raise InputError(f"trials={trials}: must be the total number of trials, at least 1")
    if find_spec("optuna") is None:
        raise InputError("tuning needs Optuna: pip install 'tfrecsession[tune]'")
    _check_folder(Path(out).expanduser().absolute())
    return k


def _check_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / FILE).exists())):
        raise InputError(f"{out}: exists and holds no study (no {FILE}): choose another out=")
    check_parents(out / FILE)


def _connect(out: Path) -> sqlite3.Connection:
    return sqlite3.connect(out / FILE, check_same_thread=False)


def _attempts(last: list) -> int:
    """Returns how often the next trial was killed before, from the list of the last trial."""
    killed = last and last[0].state.name == "FAIL" and "error" not in last[0].user_attrs
    attempt = last[0].user_attrs.get("attempt", 0) if killed else 0
    return attempt if attempt < 2 else 0


def _suggest(trial, name: str, values: Float | Choice):
    if isinstance(values, Choice):
        options = {_label(option): option for option in values.options}
        return options[trial.suggest_categorical(name, list(options))]
    suggest = trial.suggest_int if isinstance(values, Int) else trial.suggest_float
    return suggest(name, values.low, values.high, log=values.log)


def _label(value):
    """Returns a value as Optuna stores it: lists as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _bind(study, out: Path, bound: dict) -> None:
    """Binds a new study to `bound`; refuses a study that is bound to other values."""
    if (stored := study.user_attrs.get("bound")) is None:
        study.set_user_attr("bound", bound)
        return
    for name, value in bound.items():
        before = stored.get(name)
        if before == value:
            continue
        if isinstance(value, dict):
            differ = [key for key in {**before, **value} if before.get(key) != value.get(key)]
            before, value = ({key: side.get(key) for key in differ} for side in (before, value))
        raise InputError(
            f"{out} holds a search with {name} {before}, and this one has {value}: choose another out=, or remove it"
        )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Creates the folder and locks it; the lock ends with the process."""
    _check_folder(out)
    with locked_folder(out, "tuning"):
        yield


def _line(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
