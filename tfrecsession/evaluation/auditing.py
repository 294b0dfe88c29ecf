"""The audit of a scorer: whether its scores leak, and whether its scores flatter it.

A scorer is any function from histories to scores of the catalogue. An honest one gives a history the same scores in any
batch, in any call, and whatever follows the history. The audit changes all of that and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import keras
import numpy as np

from tfrecsession.batches import Data, Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.audit_probes import Check, Probing
from tfrecsession.evaluation.audit_sample import Sample
from tfrecsession.evaluation.audited_scorers import FunctionScorer, KerasScorer, ModelScorer

SCORES_BYTES = 1 << 28  # of all histories; they are held several times


@dataclass
class Audit:
    """The result of an audit.

    Attributes:
        checks: in the order of `CHECKS`.
        histories: how many were scored.
        k: of Recall@k.
        recall: Recall@k of these histories, ties against the scorer.
    """

    checks: list[Check]
    histories: int
    k: int
    recall: float

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """The names of the failed checks."""
        return [check.name for check in self.checks if check.passed is False]

    def as_dict(self) -> dict:
        """Returns the result as JSON has it."""
        checks = [asdict(check) for check in self.checks]
        found = {"passed": self.passed, "failed": self.failed, "histories": self.histories, "k": self.k}
        return {**found, "recall": self.recall, "checks": checks}

    def __repr__(self) -> str:
        result = "passed" if self.passed else f"failed: {', '.join(self.failed)}"
        head = f"<Audit of {self.histories} histories, Recall@{self.k} {self.recall:.4f}: {result}"
        return "\n".join([head, *(f"  {check.line}" for check in self.checks)]) + ">"


def audit(
    scorer: Callable,
    data: Data | Sessions,
    *,
    k: int = 20,
    histories: int = 64,
    context=(),
    ties: str | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Audit:
    """Audits a scorer: does it read its neighbours in the batch, the future or the target, and do ties flatter it?

        trs.evaluation.audit(lambda histories: my_model.scores(histories), data.test).passed

    Args:
        scorer: a model of this package; a Keras model from int32 [rows, steps] ids, 0 behind the last one, to scores;
            or a function of histories, lists of item ids as in the log, oldest first. Scores are [histories, items] in
            the order of `data.items.ids`, or with two columns more in front, as ids have them; [histories, steps,
            items] are scores after every event; a pair (items, scores), [histories, k] each, is a list of the best. A
            function with an argument `targets` is handed other items than the true targets there,
            and the true ones once, to see whether it reads them.
        data: a data set, whose test split is used, or a split.
        k: of the Recall that a line names.
        histories: how many are scored, each of another session.
        context: columns of the log that a function is handed beside the histories, `context={"time": [[...], ...]}`.
        ties: "against" for a scorer whose own evaluation counts ties against it; then ties do not fail. None: a rank
            may be counted in any way.
        tolerance: differences of scores, in deviations of the best 100, that count as rounding. None: 0.001, in half
            precision 0.05.
        seed: of the sampling.
        progress: called with the name of each step when it begins.

    Raises:
        InputError: `scorer` is no function or returns other shapes, or `data` has no split to sample from.
    """
    split = data.test if isinstance(data, Data) else data
    if not isinstance(split, Sessions):
        raise InputError(f"data: must be a data set or a split of one, not {type(data).__name__}")
    if not callable(scorer):
        raise InputError(f"scorer: must be a function from histories to scores, not {type(scorer).__name__}")
    if ties not in (None, "against"):
        raise InputError(f"ties={ties!r}: must be 'against' or None")
    for name, value in (("k", k), ("histories", histories)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name}={value!r}: must be a whole number from 1")
    ours = hasattr(scorer, "scores_after")
    histories = max(2, min(histories, SCORES_BYTES // (4 * split.items.size)))
    sample = Sample.of(split, histories, seed, timed=split.timed and (not ours or scorer.context is not None))
    if ours:
        scorer.check_vocabulary(split.items)
        called, ties = ModelScorer(scorer, sample.sessions), "against"
    elif isinstance(scorer, keras.Model):
        called = KerasScorer(scorer, sample.sessions)
    else:
        called = FunctionScorer(scorer, sample.sessions, context)
    if tolerance is None:
        half = ours and scorer.compute_dtype in ("float16", "bfloat16")
        tolerance = 0.05 if half else 0.001
    tell = progress or (lambda step: None)
    tell(f"scoring {sample.scored} histories")
    probing = Probing(called, sample, k, tolerance, ties)
    checks = [*probing.of_scores(), *probing.of_calls(lambda name: tell(f"check {name}"))]
    if ours:
        tell("check evaluation")
        checks.append(probing.of_evaluation(scorer))
    return Audit(checks, sample.scored, k, probing.recall)
