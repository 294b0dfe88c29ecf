"""The checks of an audit: what is changed, and how scores are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.audit_sample import Sample
from tfrecsession.evaluation.ranking import evaluate

BEST = 100  # the best items, whose scores are compared
FLATTERED = 0.05  # Recall that ties may add
CHECKS = {  # name -> what holds, and what does not
    "finite": ("no score is NaN", "have scores that are NaN, which no comparison puts above the target"),
    "constant": ("scores tell items apart", "give all items the same score"),
    "ties": ("few targets share their score with other items", "have a target that shares its score with other items"),
    "calls": ("a batch gets the same scores in every call", "get other scores in another call of the same batch"),
    "permuted": ("the order of a batch changes no score", "get other scores in another order of the batch"),
    "neighbours": ("scores do not depend on the other histories", "get other scores beside other histories"),
    "duplicates": ("histories that occur twice change no score", "get other scores where histories occur twice"),
    "batch_size": ("scores do not depend on the size of the batch", "get other scores in batches of other sizes"),
    "padding": ("a longer history in the batch changes no score", "get other scores beside a longer history"),
    "future": ("what follows a history changes no score", "get other scores where what follows is handed over"),
    "target": ("the target changes no score", "get other scores with another target"),
    "evaluation": ("evaluation ranks by the history alone", "are ranked in whole sessions otherwise than alone"),
}


@dataclass
class Check:
    """A check of an audit.

    Attributes:
        name: a key of `CHECKS`.
        passed: None where it could not be checked.
        line: what was found, in one line.
        changed: how many histories the line speaks of.
        recall: Recall@k without what was found, ties against the scorer.
        flattered: Recall@k with what was found; None: it has none.
    """

    name: str
    passed: bool | None
    line: str
    changed: int = 0
    recall: float | None = None
    flattered: float | None = None


class Probing:
    """The checks of one scorer."""

    def __init__(self, scorer, sample: Sample, k: int, tolerance: float, ties: str | None):
        self.scorer, self.sample, self.k, self.tolerance, self.ties = scorer, sample, k, tolerance, ties
        self.histories, self.decoys = sample.histories, sample.others(sample.targets)
        self.column = sample.targets - 2
        try:
            self.scores = self.call(self.histories)
        except InputError:
            raise
        except Exception as error:  # the scorer is anybody's code
            raise InputError(f"scorer: fails on {len(self.histories)} histories: {_text_of(error)}") from error
        self.recall = recall(self.scores, self.column, k)

    def call(self, histories, **more) -> np.ndarray:
        """Scores histories; those behind the scored ones have a decoy for a target too."""
        targets = np.resize(self.decoys, len(histories))
        return self.scorer(histories, **{"targets": targets, **more})

    def of_scores(self) -> list[Check]:
        """Checks the scores themselves: NaN, constant scores, ties."""
        nan = np.isnan(self.scores).any(axis=1)
        finite = np.where(np.isfinite(self.scores), self.scores, np.nan)
        with np.errstate(all="ignore"):
            constant = ~nan & (np.nanmax(finite, axis=1, initial=-np.inf) <= np.nanmin(finite, axis=1, initial=np.inf))
            constant &= np.isfinite(finite).sum(axis=1) > 1
        own = np.take_along_axis(self.scores, self.column[:, None], axis=1)
        tied = ~nan & (((self.scores == own) & np.isfinite(own)).sum(axis=1) > 1)
        many = constant.mean() >= 0.5
        tied &= ~constant if many else True
        checks = [self._of_ties("finite", nan, failed=nan.any())]
        checks.append(self._of_ties("constant", constant, failed=many))
        check = self._of_ties("ties", tied, failed=False)
        if check.flattered is not None and check.flattered - check.recall > FLATTERED:
            check.passed = self.ties == "against"
        return [*checks, check]

    def _of_ties(self, name: str, found: np.ndarray, failed) -> Check:
        """Returns the check of histories whose ranks depend on how scores are compared."""
        if not found.any():
            return Check(name, True, f"{name}: {CHECKS[name][0]}")
        best = np.where(found, ranks(self.scores, self.column, favour=True), ranks(self.scores, self.column))
        flattered = float((best <= self.k).mean())
        line = (
            f"{name}: {found.sum()} of {len(found)} histories {CHECKS[name][1]}: Recall@{self.k} is {self.recall:.4f}"
        )
        line += f" with ties against the target, it would be {flattered:.4f} with ties in its favour"
        return Check(name, not failed, line, int(found.sum()), self.recall, flattered)

    def of_calls(self, begins: Callable[[str], None] = lambda name: None) -> list[Check]:
        """Checks other calls; where equal calls differ there is nothing to compare. `begins` is told each check."""
        found = {}
        for name, probe in self._probes().items():
            begins(name)
            if name != "calls" and not found["calls"].passed:
                found[name] = Check(name, None, f"{name}: not checked, equal calls give other scores")
            elif name == "padding" and not found["neighbours"].passed:
                found[name] = Check(name, None, f"{name}: not checked, any other history changes the scores")
            else:
                found[name] = self._checked(name, probe)
        if found["calls"].passed:  # after all these calls
            found["calls"] = self._checked("calls", self._probes()["calls"])
        return list(found.values())

    def _checked(self, name: str, probe: Callable[[], Iterator[tuple]]) -> Check:
        try:
            return self._compared(name, list(probe()))
        except Exception as error:  # the scorer is anybody's code
            return Check(name, False, f"{name}: the scorer fails, {_text_of(error)}", len(self.histories))

    def _compared(self, name: str, pairs: list) -> Check:
        """Returns a check of pairs of scores: (rows, scores, scores that must be equal)."""
        if not pairs:
            return Check(name, None, f"{name}: not checked, all histories are of one length")
        changed = np.zeros(len(self.histories), bool)
        for rows, one, other in pairs:
            changed[rows] |= self._differ(one, other)
        if not changed.any():
            return Check(name, True, f"{name}: {CHECKS[name][0]}")
        rows, one, other = max(pairs, key=lambda pair: self._differ(*pair[1:]).sum())
        before, after = (recall(scores, self.column[rows], self.k) for scores in (one, other))
        line = f"{name}: {changed.sum()} of {len(changed)} histories {CHECKS[name][1]}: Recall@{self.k} is {after:.4f} "
        return Check(name, False, f"{line}instead of {before:.4f}", int(changed.sum()), before, after)

    def _differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns bool [n]: rows whose best items have other scores, beyond rounding."""
        return np.array([differ(*pair, self.tolerance) for pair in zip(one, other, strict=True)], bool)

    def _probes(self) -> dict[str, Callable[[], Iterator[tuple]]]:
        """Returns name -> a function that yields (rows, scores, scores that must be equal)."""
        histories, scores, call = self.histories, self.scores, self.call
        every, count, half = np.arange(len(histories)), len(histories), len(histories) // 2
        lengths = np.array([len(history.ids) for history in histories])
        order = np.argsort(-lengths, kind="stable")  # the longest history comes first

        def calls():
            yield every, scores, call(histories)

        def permuted():
            mixed = self.sample.rng.permutation(count)
            found = self.scorer([histories[row] for row in mixed], self.decoys[mixed])
            yield mixed, scores[mixed], found

        def neighbours():
            rows, rest = order[: count - half], order[count - half :]
            others = self.sample.neighbours([histories[row] for row in rest])
            decoys = np.concatenate([self.decoys[rows], self.decoys[rest]])
            yield rows, scores[rows], self.scorer([*(histories[row] for row in rows), *others], decoys)[: len(rows)]

        def duplicates():
            again = np.concatenate([every, np.resize(every[: max(half // 2, 1)], count)])  # some of them, several times
            found = self.scorer([histories[row] for row in again], self.decoys[again])
            yield again, scores[again], found

        def batch_size():
            alone = every[:16]
            found = [self.scorer([histories[row]], self.decoys[[row]])[0] for row in alone]
            yield alone, np.stack(found), scores[alone]
            for rows in np.array_split(order, max(count // 7, 2)):
                yield rows, self.scorer([histories[row] for row in rows], self.decoys[rows]), scores[rows]

        def padding():
            short = order[lengths[order] < lengths.max()]
            if len(short):
                batch, decoys = [histories[row] for row in short], self.decoys[[*short, order[0]]]
                further = [
                    *self.sample.neighbours(batch[:1]),
                    histories[order[0]],
                ]  # one that is short, one that is not
                one, other = (self.scorer([*batch, history], decoys)[: len(short)] for history in further)
                yield short, one, other

        def future():
            yield from self._behind(None)

        def target():
            if self.scorer.reads_targets:
                yield every, scores, call(histories, targets=self.sample.targets)
            else:
                yield from self._behind(1)

        probes = (calls, permuted, neighbours, duplicates, batch_size, padding, future, target)
        return {probe.__name__: probe for probe in probes}

    def _behind(self, last: int | None) -> Iterator[tuple]:
        """Compares scores where the target and what follows are in the batch with those where others are.

        A scorer by step is handed them in the same row and read before them; any other in further rows.
        """
        whole = self.sample.whole() if last is None else self.sample.whole(following=1)
        other = self.sample.replaced(whole, last)
        every, count = np.arange(len(self.histories)), len(self.histories)
        if self.scorer.by_step:
            after = [len(history.ids) for history in self.histories]
            true, replaced = (self.call(rows, after=after) for rows in (whole, other))
        else:
            true, replaced = (self.call([*self.histories, *rows])[:count] for rows in (whole, other))
        yield every, replaced, true

    def of_evaluation(self, model) -> Check:
        """Checks that `evaluate`, which is handed whole sessions, ranks targets as their histories alone do."""
        sessions = self.sample.sessions
        if model.reads.by_user:  # each session is one of a user of its own
            arrays = sessions.arrays
            columns = {name: arrays.column(name) for name in arrays.columns}
            columns["user"] = np.array([f"user {number}" for number in range(len(sessions))], object)
            sessions = Sessions(
                type(arrays)(arrays.items, arrays.values, arrays.offsets, columns), "test", sessions.timed
            )
        found = evaluate(model, sessions, (1,), slices=False, draws=0, earlier=(), whole_ranks=True)
        ranked = found.ranks[np.searchsorted(found.event, self.sample.target[: self.sample.scored])]
        own = np.take_along_axis(self.scores, self.column[:, None], axis=1)
        near = np.array([scale(row, self.tolerance) for row in self.scores])[:, None]
        least, most = ((self.scores >= own + sign * near).sum(axis=1) for sign in (1, -1))
        changed = (ranked < least) | (ranked > most)
        if not changed.any():
            return Check("evaluation", True, f"evaluation: {CHECKS['evaluation'][0]}")
        after = float((ranked <= self.k).mean())
        line = f"evaluation: {changed.sum()} of {len(changed)} targets {CHECKS['evaluation'][1]}: Recall@{self.k} is "
        line += f"{after:.4f} instead of {self.recall:.4f}"
        return Check("evaluation", False, line, int(changed.sum()), self.recall, after)


def _text_of(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def ranks(scores: np.ndarray, column: np.ndarray, favour: bool = False) -> np.ndarray:
    """Returns the rank of each target, int [n]; ties and NaN against it, or in its favour."""
    own = np.take_along_axis(scores, column[:, None], axis=1)
    with np.errstate(invalid="ignore"):
        return 1 + (scores > own).sum(axis=1) if favour else scores.shape[1] - (scores < own).sum(axis=1)


def recall(scores: np.ndarray, column: np.ndarray, k: int) -> float:
    """Returns Recall@k with ties against the target."""
    return float((ranks(scores, column) <= k).mean())


def differ(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """Returns whether two rows of scores differ at their best items; items that a list lacks score as its last one."""
    if (np.isnan(one) != np.isnan(other)).any():
        return True
    floor = [row[np.isfinite(row)].min(initial=np.inf) for row in (one, other)]
    listed = [bool((row == -np.inf).any()) and np.isfinite(low) for row, low in zip((one, other), floor, strict=True)]
    if any(listed):
        low = max(low for low, is_list in zip(floor, listed, strict=True) if is_list)
        one, other = np.maximum(one, low), np.maximum(other, low)
    best = np.unique(np.concatenate([best_of(one), best_of(other)]))
    one, other = one[best], other[best]
    with np.errstate(invalid="ignore"):
        distance = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
    return bool((distance > scale(one, tolerance)).any())


def best_of(row: np.ndarray) -> np.ndarray:
    """Returns the columns of the best scores, NaN last."""
    row = np.where(np.isnan(row), -np.inf, row)
    return np.argpartition(-row, min(BEST, len(row)) - 1)[:BEST]


def scale(row: np.ndarray, tolerance: float) -> float:
    """Returns the difference of scores that counts as rounding."""
    best = row[best_of(row)]
    best = best[np.isfinite(best)]
    return float(tolerance * best.std() + 1e-5 * np.abs(best).max()) if len(best) else 0.0
