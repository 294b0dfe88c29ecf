"""Successive halving over models and settings, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from tfrecsession.evaluation.search.candidates import Candidate, Candidates
from tfrecsession.evaluation.search.ledger import Ledger
from tfrecsession.evaluation.search.samples import SCORED, SCREENED

KEEP = 3  # one of so many candidates goes on to the next share
ONCE = 0.6  # of the seconds left, the most that a network is trained: it is fitted again, if it is the best
ENDING = 0.1  # of the budget, the most that is kept for the test and the export
FEW = 2  # epochs that a network should have at least
LEAST = 2  # candidates that go on, also of a few
ROUNDS = 40
SAMPLES = {False: 9, True: 4}  # candidates of a round: of counted models, of networks
WORTH = 2  # models of a kind whose settings are searched
RATE = 10_000  # events that a network of unknown speed is expected to learn from in a second
RESERVE = 0.4  # of the budget, the most that is kept for the end
MEMBERS = 3  # of a blend
WORTH_BLENDING = 0.6  # share of the best value from which a model may be a member
BLENDING = 4.0  # scorings of a member that a blend costs
AGAIN = 1.2  # the cost of a fit on train and validation, relative to the first one
FIRST = 0.5  # of the budget, the most that the first round of counted models takes
SCREENING = 0.2  # of the budget, the most that a network is trained on a part of train
OVER = 0.5  # of the budget, the most by which the first model besides popularity may exceed it
LAST = 3  # candidates that are tried then
END = 10.0  # seconds of the end beside fitting and scoring


class Halving:
    """The search: rounds of candidates, of counted models and of networks in turn.

    A round fits its candidates on the smallest share of train, the best third of them on the next share, and so on; the
    last share is all of train. The first round of a kind has the defaults of its models, later ones sample settings of
    the best models. Candidates that the budget cannot pay for are left out, and a network that it cannot pay for in
    full has fewer epochs. The end of the search has a reserve: the best model is fitted again, and tested.

    Args:
        ledger: has the results.
        candidates: what is tried.
        run: (candidate, share, best value so far, seconds) -> the result of a trial.
        shares: the shares of train, rising to 1.
        events: targets of train. tested: those of test.
        within: whether a result respects the limits of latency and size.
        seed: of the samples.
        progress: called with a line, see `best`.
    """

    def __init__(
        self,
        ledger: Ledger,
        candidates: Candidates,
        run: Callable,
        shares: list[float],
        events: int,
        tested: int,
        within: Callable[[dict], bool],
        seed: int,
        progress: Callable[[str], None],
    ):
        self.ledger, self.candidates, self.run, self.shares = ledger, candidates, run, shares
        self.events, self.tested, self.within, self.seed, self.progress = events, tested, within, seed, progress
        self.results: list[dict] = []  # of all trials, in their order
        self.left_out: list[str] = []  # models that the budget could not pay for

    # The rounds

    def search(self) -> None:
        """Runs the rounds until the budget is spent or nothing new can be tried."""
        self.trial(self.candidates.made("popularity", {}), 1.0)
        idle = 0
        for number in range(2 * ROUNDS):
            network = number % 2 == 1
            tried = len(self.results)
            self.round(self._next(number // 2, network), FIRST if number == 0 else 1.0)
            idle = 0 if len(self.results) > tried else idle + 1
            if idle == 2:
                break
        self.ensure()

    def _next(self, number: int, network: bool) -> list[Candidate]:
        if number == 0:
            return self.candidates.first(network)
        best = {}
        for result in sorted(self.in_full(), key=_order):
            if result["network"] == network and result["model"] in self.candidates.models:
                best.setdefault(result["model"], self._candidate(result))
        worth = [candidate for candidate in best.values() if self.candidates.space_of(candidate.model)][:WORTH]
        known = {result["key"] for result in self.results}
        if not worth:
            return []
        sampled = self.candidates.sampled(worth, SAMPLES[network], [self.seed, number, int(network)])
        return [candidate for candidate in sampled if candidate.key not in known]

    def round(self, candidates: list[Candidate], until: float = 1.0) -> None:
        """Runs one round; `until`: the share of the budget after which it starts no trial, each share has its part."""
        began, end = self.ledger.spent, until * self.ledger.budget
        for step, share in enumerate(self.shares, start=1):
            limit, found = began + (end - began) * step / len(self.shares), []
            for candidate in candidates:
                paid = None if self.ledger.spent > limit else self._paid(candidate, share)
                if paid is not None and share < 1 and not self._leaves_room(paid, share, found):
                    paid = None
                if paid is None:
                    self.left_out.append(candidate.model)
                    continue
                result = self.trial(paid, share)
                if result["state"] == "complete":
                    found.append((result, candidate))
            found.sort(key=lambda pair: _order(pair[0]))
            candidates = [candidate for _, candidate in found[: max(ceil(len(found) / KEEP), LEAST)]]

    def ensure(self) -> None:
        """Fits a counted candidate on all of train where nothing but popularity was, a little over the budget."""
        if any(result["model"] != "popularity" for result in self.in_full()):
            return
        tried = {result["key"] for result in self.results if result["share"] == 1}
        known = [r for r in self.results if r["state"] == "complete" and not r["network"] and r["key"] not in tried]
        for result in sorted(known, key=_order)[:LAST]:
            candidate = self._candidate(result)
            if self._expected(candidate, 1.0) <= max(self.ledger.left, OVER * self.ledger.budget):
                self.trial(candidate, 1.0)
                if any(found["key"] == candidate.key for found in self.in_full()):
                    return

    def trial(self, candidate: Candidate, share: float) -> dict:
        """Runs a trial, or reads it from the ledger."""
        key = f"{candidate.key}@{share:g}"
        number = len(self.results) + 1
        label = f"trial {number}, {candidate.model}" + ("" if share == 1 else f" on {share:.1%} of train")

        def tell(doing: str = "fitting") -> None:
            self.progress(f"{label}: {doing}{self.so_far()}")

        def work() -> dict:
            tell()
            best = max((result["value"] for result in self.complete(share)), default=0.0)
            seconds = ONCE * self.ledger.left if share == 1 else SCREENING * self.ledger.budget
            return self.run(candidate, share, best, seconds, tell)

        described = {"key": candidate.key, "model": candidate.model, "settings": candidate.settings, "share": share}
        result = {**described, "network": candidate.network, **self.ledger.step(key, work)}
        self.results.append(result)
        self.progress(f"{label}: {_said(result)}{self.so_far()}")
        return result

    # The results so far

    def complete(self, share: float) -> list[dict]:
        return [result for result in self.results if result["state"] == "complete" and result["share"] == share]

    def in_full(self) -> list[dict]:
        """Returns the results of candidates that were fitted on all of train and respect the limits."""
        return [result for result in self.complete(1.0) if self.within(result)]

    def best(self) -> dict | None:
        return min(self.in_full(), key=_order, default=None)

    def for_a_blend(self) -> list[dict]:
        """Returns the best results of different models, at most MEMBERS, a network among them where there is one."""
        best = {}
        for result in sorted(self.in_full(), key=_order):
            if result["model"] != "popularity":
                best.setdefault(result["model"], result)
        top = max((result["value"] for result in best.values()), default=0.0)
        worth_it = [result for result in best.values() if result["value"] >= WORTH_BLENDING * top]
        members = worth_it[:MEMBERS]
        networks = [result for result in worth_it if result["network"]]
        if networks and not any(member["network"] for member in members):  # it differs most from the others
            members[-1] = networks[0]
        return members

    def so_far(self) -> str:
        best = self.best()
        spent, budget = self.ledger.spent, self.ledger.budget
        shown = "" if best is None else f"; best so far {best['model']} {best['value']:.4f}"
        return f"{shown}; {spent:.0f} of {budget:.0f} s"

    # Costs

    def reserve(self) -> float:
        """Returns the seconds that the end will take: a blend, another fit of the best models, and the test."""
        best = self.best()
        if best is None:
            return min(END, RESERVE * self.ledger.budget)
        members = self.for_a_blend() or [best]
        scoring = sum(member["score_seconds"] / max(member["scored_events"], 1) for member in members) * self.tested
        return min(self.cost_of_blending(members) + scoring + END, RESERVE * self.ledger.budget)

    @staticmethod
    def cost_of_blending(members: list[dict]) -> float:
        """Returns the seconds that learning a blend and fitting its members again will take."""
        return sum(BLENDING * member["score_seconds"] + AGAIN * member["fit_seconds"] for member in members)

    def _paid(self, candidate: Candidate, share: float) -> Candidate | None:
        """Returns the candidate, with fewer epochs where the budget needs it; None where it cannot be paid for."""
        left = self.ledger.left - self.reserve()
        if not candidate.network:
            return candidate if left > 0 and self._expected(candidate, share) <= left else None
        if share == 1:  # a blend is left out rather than the network
            left = self._without_blend()
        epochs = candidate.settings["epochs"]
        affordable = int(left / 2 / max(self._expected(candidate, share) / epochs, 1e-9))  # it is fitted twice, if best
        if affordable < 1:
            return None
        return candidate if affordable >= epochs else candidate.but(epochs=affordable)

    def _without_blend(self) -> float:
        """Returns the seconds that are left for a network, its last fit included, where nothing is blended."""
        return self.ledger.left - min(END, ENDING * self.ledger.budget)

    def _leaves_room(self, candidate: Candidate, share: float, found: list[tuple[dict, Candidate]]) -> bool:
        """Returns whether a network on a part of train leaves time to fit the best one so far on all of it."""
        if not candidate.network or not found:
            return True
        best = min(found, key=lambda pair: _order(pair[0]))[1]
        few = best.but(epochs=min(best.settings["epochs"], FEW))
        left = self._without_blend() - self._expected(candidate, share)
        return left >= 2 * self._expected(few, 1.0)

    def _expected(self, candidate: Candidate, share: float) -> float:
        """Returns the seconds that a trial is expected to take, by those of its model, or of other networks.

        Those on another share are scaled: the fit with the share and the epochs, scoring with the events scored.
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
            fit, scoring = result["fit_seconds"], result.get("score_seconds", 0.0)
            more = share * epochs / (result["share"] * (result.get("epochs") or 1))
            scored = SCORED / SCREENED if result["share"] < share == 1 else 1.0
            costs.append(fit * more + scoring * scored + max(result["seconds"] - fit - scoring, 0.0))
        return sum(costs) / len(costs)

    @staticmethod
    def _candidate(result: dict) -> Candidate:
        return Candidate(result["model"], result["settings"], result["network"])


def _order(result: dict) -> tuple:
    """Orders results from the best to the worst; equal ones by their names."""
    return -result["value"], result["key"]


def _said(result: dict) -> str:
    if result["state"] == "failed":
        return f"failed, {result['error']}"
    return f"{result['value']:.4f}{' (stopped, cannot win)' if result['state'] == 'stopped' else ''}"
