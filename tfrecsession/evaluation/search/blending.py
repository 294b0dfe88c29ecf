"""The blend of the best models of a search, and whether it is better."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from tfrecsession import training
from tfrecsession.evaluation import cost
from tfrecsession.evaluation.search.costs import Costs
from tfrecsession.evaluation.search.trials import TIMED
from tfrecsession.evaluation.significance import sign_flip_p
from tfrecsession.models import Blend

SIGNIFICANT = 0.05
LATE = 0.05  # of the budget, by which a blend may exceed it


def tried_blend(halving, ledger, trials, given, progress) -> dict | None:
    """Blends the best candidates of different models, and compares the blend with the best one.

    The comparison is by session of validation, each with weights that the other half of the sessions chose. The weights
    of the blend are those that all of them choose.

    Returns:
        `members` (keys of trials), `accepted` and `because`, and of a blend that was compared its `weights`, `lengths`,
        `scales`, `difference`, `p` and `latency_ms`. None where there are not two models.
    """
    members = affordable(halving.for_a_blend(), halving.costs, most := max(ledger.left, LATE * ledger.budget))
    if len(members) < 2:
        return None
    keys = [member["key"] for member in members]
    if halving.costs.of_the_end(members, continues=True) > most:
        return {"members": keys, "accepted": False, "because": "the budget was spent"}
    progress(f"blending {', '.join(member['model'] for member in members)}{halving.so_far()}")
    events = halving.costs.weighed(len(members))
    step = ledger.step(f"blend {'+'.join(keys)}", lambda: _compared(members, trials, given, events))
    if step["state"] == "failed":
        return {"members": keys, "accepted": False, "because": step["error"]}
    return {"members": keys, **{name: value for name, value in step.items() if name not in ("state", "seconds")}}


def affordable(members: list[dict], costs: Costs, seconds: float) -> list[dict]:
    """Leaves out members until the end of the search can be paid for, but a network and a counted model stay.

    The dearest are left out first, counted models before networks.
    """
    members = list(members)
    while len(members) > 2 and costs.of_the_end(members, continues=True) > seconds:
        first = {network: next((m for m in members if m["network"] == network), None) for network in (True, False)}
        others = [member for member in members if not any(member is kept for kept in first.values())]
        if None in first.values():  # one kind alone: the best stays
            others = members[1:]
        worst = max(others, key=lambda member: (not member["network"], costs.of_the_end([member], continues=True)))
        members = [member for member in members if member is not worst]
    return members


def _compared(members: list[dict], trials, given, events: int) -> dict:
    sessions = trials.validation
    models = [training.open_run(trials.out / member["run"]).model() for member in members]
    blend = Blend(models)
    blend.fit(sessions, metric=given.metric, events=events, seed=trials.seed)
    learned = blend.learned
    if len(blend.used) < 2:
        return {"accepted": False, "because": "one model alone is best"}
    found = {"difference": learned.gain, "p": sign_flip_p(learned.gains, seed=trials.seed), "events": learned.events}
    if learned.gain <= 0 or found["p"] >= SIGNIFICANT:
        return {**found, "accepted": False, "because": "it is not significantly better"}
    found["latency_ms"] = cost.latency(blend, sessions, given.k, histories=TIMED, seed=trials.seed)["p50"]
    with tempfile.TemporaryDirectory() as folder:
        blend.save(Path(folder) / "blend.keras")
        found["bytes"] = cost.size_on_disk(Path(folder) / "blend.keras")
    found |= {
        "weights": blend.weights_by_length.tolist(),
        "lengths": list(blend.lengths),
        "scales": [list(scale) for scale in blend.scales],
        "value": learned.value,
    }
    del blend, models
    gc.collect()
    if not given.within(found):
        return {**found, "accepted": False, "because": "it exceeds the limits"}
    return {**found, "accepted": True, "because": "it is significantly better"}
