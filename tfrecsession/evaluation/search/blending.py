"""The blend of the best models of a search, and whether it is better."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import numpy as np

from tfrecsession import training
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.ranking import evaluate
from tfrecsession.evaluation.search.trials import TIMED
from tfrecsession.evaluation.significance import paired
from tfrecsession.models import Blend

SIGNIFICANT = 0.05
LATE = 0.15  # of the budget, by which a blend may exceed it


def tried_blend(halving, ledger, trials, given, progress) -> dict | None:
    """Blends the best candidates of different models, and compares the blend with the best one.

    The weights are learned on one half of the sessions of validation, and the blend is compared on the other half.
    Where it is better, the weights are learned again on all of them.

    Returns:
        `members` (keys of trials), `accepted` and `because`, and of a blend that was compared its `weights`, `lengths`,
        `scales`, `difference`, `p` and `latency_ms`. None where there are not two models.
    """
    members = halving.for_a_blend()
    if len(members) < 2:
        return None
    keys = [member["key"] for member in members]
    if halving.cost_of_blending(members) > max(ledger.left, LATE * ledger.budget):
        return {"members": keys, "accepted": False, "because": "the budget was spent"}
    progress(f"blending {', '.join(member['model'] for member in members)}{halving.so_far()}")
    step = ledger.step(f"blend {'+'.join(keys)}", lambda: _compared(members, trials, given))
    if step["state"] == "failed":
        return {"members": keys, "accepted": False, "because": step["error"]}
    return {"members": keys, **{name: value for name, value in step.items() if name not in ("state", "seconds")}}


def _compared(members: list[dict], trials, given) -> dict:
    sessions = trials.validation
    first = np.arange(len(sessions)) % 2 == 0
    models = [training.open_run(trials.out / member["run"]).model() for member in members]
    blend = Blend(models)
    options = {"metric": given.metric, "events": len(sessions.values), "seed": trials.seed}
    blend.fit(sessions.only(first), **options)
    other = sessions.only(~first)
    if not blend.used[1:] or not other.scored_events:
        return {"accepted": False, "because": "one model alone is best"}
    scored = [evaluate(model, other, [given.k], slices=False, draws=0) for model in (blend, models[0])]
    test = paired(*scored, other, given.metric)
    found = {"difference": test.difference, "p": test.p_value}
    if test.difference <= 0 or test.p_value >= SIGNIFICANT:
        return {**found, "accepted": False, "because": "it is not significantly better"}
    blend.fit(sessions, **options)
    found["latency_ms"] = cost.latency(blend, sessions, given.k, histories=TIMED, seed=trials.seed)["p50"]
    with tempfile.TemporaryDirectory() as folder:
        blend.save(Path(folder) / "blend.keras")
        found["bytes"] = cost.size_on_disk(Path(folder) / "blend.keras")
    found |= {
        "weights": blend.weights_by_length.tolist(),
        "lengths": list(blend.lengths),
        "scales": [list(scale) for scale in blend.scales],
        "value": blend.learned.value,
    }
    del blend, models
    gc.collect()
    if not given.within(found):
        return {**found, "accepted": False, "because": "it exceeds the limits"}
    return {**found, "accepted": True, "because": "it is significantly better"}
