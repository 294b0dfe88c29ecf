"""Successive halving over models and settings, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from tfrecsession.evaluation.search.candidates import Candidate, Candidates
from tfrecsession.evaluation.search.costs import Costs
from tfrecsession.evaluation.search.ledger import Ledger

KEEP = 3  # one of so many candidates goes on to the next share
FEW = (
    4  # epochs that a network should have; where its last fit leaves less, it continues on the newest sessions instead
)
LATE = 1.3  # times the expected seconds, after which the training of a network ends
LEAST = 2  # candidates that go on, also of a few
ROUNDS = 40
SAMPLES = {False: 9, True: 4}  # candidates of a round: of counted models, of networks
WORTH = 2  # models of a kind whose settings are searched
MEMBERS = 3  # of a blend
WORTH_BLENDING = 0.6  # share of the best value from which a model may be a member
FIRST = 0.3  # of the budget, the most that the first round of counted models takes
SCREENING = 0.2  # of the budget, the most that a network is trained on a part of train
OVER = 0.5  # of the budget, the most by which the first model besides popularity may exceed it
LAST = 3  # candidates that are tried then


class Halving:
    """The search: rounds of candidates, of counted models and of networks in turn.

    A round fits its candidates on the smallest share of train, the best third of them on the next share, and so on; the
    last share is all of train. The first round of a kind has the settings that most often win, later ones sample
    settings of the best models. After the first round of counted models the leading network is fitted on all of train,
    whatever its rank on a part would be: with a counted model it makes the blend that is hard to beat. Its pace is
    measured on the smallest share before.

    Candidates that the budget cannot pay for are left out, and a network that it cannot pay for in full has fewer
    epochs. The end of the search has a reserve: the best models are blended, fitted again, and tested.

    Args:
        ledger: has the results.
        candidates: what is tried.
        run: (candidate, share, best value so far, seconds) -> the result of a trial.
        shares: the shares of train, rising to 1.
        events: targets of train. tested: those of test. items: of the catalogue.
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
        items: int,
        within: Callable[[dict], bool],
        seed: int,
        progress: Callable[[str], None],
    ):
        self.ledger, self.candidates, self.run, self.shares = ledger, candidates, run, shares
        self.within, self.seed, self.progress = within, seed, progress
        self.results: list[dict] = []  # of all trials, in their order
        self.costs = Costs(ledger, self.results, events, tested, items)
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
            if number == 0:
                self.lead()
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

    def lead(self) -> None:
        """Fits the leading network on all of train, with as many epochs as the budget pays for."""
        candidate = self.candidates.lead()
        if candidate is None:
            return
        if len(self.shares) > 1 and self.ledger.left > 0:
            pace = self._paid(candidate.but(epochs=1), self.shares[0])
            if pace is not None:
                self.trial(pace, self.shares[0])
        paid = self._paid(candidate, 1.0, leads=True)
        if paid is None:
            self.left_out.append(candidate.model)
        else:
            self.trial(paid, 1.0)

    def ensure(self) -> None:
        """Fits a counted candidate on all of train where nothing but popularity was, a little over the budget."""
        if any(result["model"] != "popularity" for result in self.in_full()):
            return
        tried = {result["key"] for result in self.results if result["share"] == 1}
        known = [r for r in self.results if r["state"] == "complete" and not r["network"] and r["key"] not in tried]
        for result in sorted(known, key=_order)[:LAST]:
            candidate = self._candidate(result)
            if self.costs.expected(candidate, 1.0) <= max(self.ledger.left, OVER * self.ledger.budget):
                self.trial(candidate, 1.0)
                if any(found["key"] == candidate.key for found in self.in_full()):
                    return

    def trial(self, candidate: Candidate, share: float) -> dict:
        """Runs a trial, or reads it from the ledger; one that this search has run before counts once."""
        for result in self.results:
            if (result["key"], result["share"]) == (candidate.key, share):
                return result
        key = f"{candidate.key}@{share:g}"
        number = len(self.results) + 1
        label = f"trial {number}, {candidate.model}" + ("" if share == 1 else f" on {share:.1%} of train")

        def tell(doing: str = "fitting") -> None:
            self.progress(f"{label}: {doing}{self.so_far()}")

        def work() -> dict:
            tell()
            best = max((result["value"] for result in self.complete(share)), default=0.0)
            return self.run(candidate, share, best, self._most(candidate, share) if candidate.network else 0.0, tell)

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
        """Returns the best results of different models, at most MEMBERS, best first.

        A network and a counted model are among them, where there are both: these differ most from each other.
        """
        best = {}
        for result in sorted(self.in_full(), key=_order):
            if result["model"] != "popularity":
                best.setdefault(result["model"], result)
        top = max((result["value"] for result in best.values()), default=0.0)
        worth_it = [result for result in best.values() if result["value"] >= WORTH_BLENDING * top]
        members = worth_it[:MEMBERS]
        for network in (True, False):
            kind = [result for result in worth_it if result["network"] == network]
            if kind and not any(member["network"] == network for member in members):
                members[-1] = kind[0]
        return members

    def so_far(self) -> str:
        best = self.best()
        spent, budget = self.ledger.spent, self.ledger.budget
        shown = "" if best is None else f"; best so far {best['model']} {best['value']:.4f}"
        return f"{shown}; {spent:.0f} of {budget:.0f} s"

    # The budget

    def _paid(self, candidate: Candidate, share: float, leads: bool = False) -> Candidate | None:
        """Returns the candidate, with fewer epochs where the budget needs it; None where it cannot be paid for.

        A network on all of train is fitted again, if it is the best, together with the other members of the blend.
        Where this leaves the leading network too few epochs, it continues on the newest sessions instead.
        """
        costs, left = self.costs, self.ledger.left - self.reserve()
        if not candidate.network:
            return candidate if left > 0 and costs.expected(candidate, share) <= left else None
        planned = candidate.settings["epochs"]
        if share < 1:
            affordable = costs.epochs(candidate, share, min(left, SCREENING * self.ledger.budget))
            return None if affordable < 1 else candidate.but(epochs=min(affordable, planned))
        members, few = self.for_a_blend(), min(FEW, planned)
        affordable = costs.epochs(candidate, share, costs.left_to_a_network(members))
        if affordable < few:
            if not leads:
                return None
            most = costs.left_to_a_network(members, continues=True)
            affordable = min(few, costs.epochs(candidate, share, most))
            if affordable < 1 and most >= costs.expected(candidate.but(epochs=1), share) / 2:
                affordable = 1  # its time ends within the epoch
        return None if affordable < 1 else candidate.but(epochs=min(affordable, planned))

    def _most(self, candidate: Candidate, share: float) -> float:
        """Returns the seconds after which the training of a network ends."""
        if share < 1:
            return SCREENING * self.ledger.budget
        members, late = self.for_a_blend(), LATE * self.costs.expected(candidate, share)
        again, continues = (self.costs.left_to_a_network(members, continues) for continues in (False, True))
        return max(again, min(continues, late))

    def _leaves_room(self, candidate: Candidate, share: float, found: list[tuple[dict, Candidate]]) -> bool:
        """Returns whether a network on a part of train leaves time to fit the best one so far on all of it."""
        if not candidate.network:
            return True
        best = min(found, key=lambda pair: _order(pair[0]))[1] if found else candidate
        few = best.but(epochs=min(best.settings["epochs"], FEW))
        left = self.costs.left_to_a_network(self.for_a_blend()) - self.costs.expected(candidate, share)
        return left >= self.costs.expected(few, 1.0)

    def reserve(self) -> float:
        """Returns the seconds that the end will take: a blend, another fit of the best models, and the test."""
        return self.costs.of_the_end(self.for_a_blend() or [result for result in [self.best()] if result])

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
