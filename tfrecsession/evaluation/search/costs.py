"""The seconds that steps of a search will take, by those that earlier steps took. Needs no TensorFlow."""

from __future__ import annotations

from tfrecsession.evaluation.search.candidates import Candidate
from tfrecsession.evaluation.search.ledger import Ledger
from tfrecsession.evaluation.search.samples import SCORED, SCREENED

END = 15.0  # seconds of the test and the export beside scoring ...
TRACING = 5.0  # ... and of a blend, to trace its graphs ...
ENDING = 0.05  # ... but at most these shares of the budget
RATE = 10_000  # events that a network of unknown speed is expected to learn from in a second
AGAIN = 1.2  # the cost of a fit on train and validation, relative to the first one
CONTINUING = 0.15  # that of continuing on the newest sessions
BLENDING = 2.0  # scorings of a member that a blend costs, beside its weights
WEIGHING = 5e8  # items x events x weights that are compared in a second
WEIGHED = 0.1  # of the budget, the most that the comparison of weights takes
POINTS = {2: 21}  # weights of a blend of so many members that are compared ...
MANY = 45  # ... and of more


class Costs:
    """Expected costs, in seconds.

    Args:
        ledger: has the budget.
        results: those of all trials so far; it grows.
        events: targets of train. tested: those of test. items: of the catalogue.
    """

    def __init__(self, ledger: Ledger, results: list[dict], events: int, tested: int, items: int):
        self.ledger, self.results, self.events, self.tested, self.items = ledger, results, events, tested, items

    # Trials

    def expected(self, candidate: Candidate, share: float) -> float:
        """Returns the cost of a trial, by trials of its model, or of other networks.

        Trials on another share are scaled: the fit with the share and the epochs, scoring with the events scored.
        """
        epochs = candidate.settings.get("epochs", 1)
        measured = [result for result in self.results if "fit_seconds" in result]
        known = [result for result in measured if result["model"] == candidate.model]
        known = [result for result in known if result["share"] == share] or known
        known = known or [result for result in measured if candidate.network and result["network"]]
        if not known:
            return share * epochs * self.events / RATE if candidate.network else 0.0
        costs = []
        for result in known:
            fit, scoring, before = result["fit_seconds"], result.get("score_seconds", 0.0), result.get("epochs") or 1
            if pace := result.get("epoch_seconds"):  # the rest of a fit does not depend on the epochs
                fitting = max(fit - pace * before, 0.0) + pace * epochs * share / result["share"]
            else:
                fitting = fit * epochs / before * share / result["share"]
            scored = SCORED / SCREENED if result["share"] < share == 1 else 1.0
            costs.append(fitting + scoring * scored + max(result["seconds"] - fit - scoring, 0.0))
        return sum(costs) / len(costs)

    def epochs(self, candidate: Candidate, share: float, seconds: float) -> int:
        """Returns how many epochs of a network fit into some seconds."""
        one, two = (self.expected(candidate.but(epochs=count), share) for count in (1, 2))
        return 0 if one > seconds else 1 + int((seconds - one) / max(two - one, 1e-9))

    def left_to_a_network(self, members: list[dict], continues: bool = False) -> float:
        """Returns what the budget leaves to another network on all of train, if the end is to be paid for too.

        Args:
            members: of the blend so far.
            continues: whether the network may continue on the newest sessions at the end, where it would else be fitted
                again.
        """
        counted = [member for member in members if not member["network"]][:1]
        scoring = counted[0] if counted else {"score_seconds": 0.0, "scored_events": SCORED}
        network = {**scoring, "network": True, "fit_seconds": 0.0}
        left = self.ledger.left - self.of_the_end([*counted, network])
        if continues:
            return left / (1 + CONTINUING)
        return min(left / (1 + AGAIN), self.ledger.left - self.of_the_end(members))

    # The end

    def of_the_end(self, members: list[dict], continues: bool = False) -> float:
        """Returns the cost of learning a blend, fitting its members again, the test and the export.

        Args:
            members: results of trials.
            continues: whether networks continue from their weights on the newest sessions.
        """
        return self.of_blending(members) + self.of_fitting(members, continues) + self.of_the_test(members)

    def of_fitting(self, members: list[dict], continues: bool = False) -> float:
        """Returns the cost of the last fit; see `of_the_end` for the arguments."""
        factors = [CONTINUING if continues and member["network"] else AGAIN for member in members]
        return sum(factor * member["fit_seconds"] for factor, member in zip(factors, members, strict=True))

    def of_the_test(self, members: list[dict]) -> float:
        """Returns the cost of the test and the export."""
        scoring = sum(member["score_seconds"] / max(member["scored_events"], 1) for member in members) * self.tested
        return scoring + min(END, ENDING * self.ledger.budget)

    def of_blending(self, members: list[dict]) -> float:
        """Returns the cost of learning the weights of a blend."""
        if len(members) < 2:
            return 0.0
        weighing = self.weighed(len(members)) * POINTS.get(len(members), MANY) * self.items / WEIGHING
        scoring = BLENDING * sum(member["score_seconds"] for member in members)
        return scoring + weighing + min(TRACING, ENDING * self.ledger.budget)

    def weighed(self, members: int) -> int:
        """Returns on how many events the weights of a blend are learned, as the budget allows."""
        most = WEIGHED * self.ledger.budget * WEIGHING / (POINTS.get(members, MANY) * max(self.items, 1))
        return int(max(min(SCORED, most), SCORED / 5))

    def continues(self, members: list[dict]) -> bool:
        """Returns whether networks continue from their weights, as the budget does not pay for another fit."""
        return self.of_fitting(members) + self.of_the_test(members) > self.ledger.left
