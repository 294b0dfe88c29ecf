"""The models and settings that a search tries. Needs no TensorFlow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tfrecsession.batches.data import Data
from tfrecsession.errors import InputError
from tfrecsession.recommender.search_space import Choice, Int, starting_at, walk

COUNTED = (  # those that most often win come first
    "sequential_rules",
    "item_knn",
    "slist",
    "vstan",
    "session_popularity",
    "markov",
    "stan",
    "session_aggregation",
    "vsknn",
)
NETWORKS = ("gru4rec", "sasrec")
STALE = 0.3  # turnover from which items live shorter than the log is long, as news do
DECAY = 1.0  # days of `session_decay` that are tried then
TREND = [0.04, 0.25, 1, 7]  # half-lives in days of `trend`, likewise
NEWEST = 0.25  # share of the log's days of `finetune_days`, likewise; chosen by benchmarks/freshness.py
REPEATS = 0.02  # share of repeated items from which the repeat head is tried
SURE = 0.1  # that from which it is in every network
# The first trial of every network: cross-entropy with logQ, their default, learns in so many epochs what it can.
TRAINED = {"epochs": 8, "decay": "linear"}
KEPT = 0.5  # share of the settings that a sampled candidate has from the best one of its model


@dataclass(frozen=True)
class Candidate:
    """A model with all its settings."""

    model: str
    settings: dict
    network: bool

    @property
    def key(self) -> str:
        """A name that depends on the model and its settings alone."""
        text = json.dumps(self.settings, sort_keys=True, default=str)
        return f"{self.model}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def but(self, **settings) -> Candidate:
        return Candidate(self.model, {**self.settings, **settings}, self.network)


class Candidates:
    """Settings to try on a data set: first the defaults that follow its log, then samples of the search spaces.

    Args:
        data: the data set.
        models: names of models; None: COUNTED and NETWORKS.
        settings_of: (model, given settings) -> all settings.
        space_of: model -> its search space.
        is_network: model -> whether it is trained by gradient.
        dense: items in the inverse of SLIST on larger catalogues; it needs 8 dense^2 bytes, and time of dense^3.
    """

    def __init__(
        self,
        data: Data,
        models: Iterable[str] | None,
        settings_of: Callable,
        space_of: Callable,
        is_network: Callable,
        dense: int = 4000,
    ):
        self.dense = dense
        self.data, self.settings_of, self.space_of, self.is_network = data, settings_of, space_of, is_network
        self.models = (*COUNTED, *NETWORKS) if models is None else tuple(dict.fromkeys(models))

    def made(self, model: str, given: dict) -> Candidate:
        settings = json.loads(json.dumps(self.settings_of(model, given)))
        return Candidate(model, settings, self.is_network(model))

    def first(self, network: bool) -> list[Candidate]:
        """Returns the settings that most often win of every model of a kind, in their order, and variants for this log.

        Networks have a repeat head where sessions repeat items. Where items live shorter than the log is long, newer
        sessions count more, and the first network has a trend and sees the newest sessions again.
        """
        found, log = [], self.data.statistics
        stale = log.days is not None and log.turnover >= STALE
        for model in self.models:
            if self.is_network(model) != network:
                continue
            defaults = self.settings_of(model, {})
            given = [self._fitting(model, defaults)]
            if log.repeats >= REPEATS and defaults.get("repeats") is False:
                given += [] if "repeats" in given[0] else [{**given[0], "repeats": True}]
            if stale and defaults.get("session_decay", DECAY) is None:
                given.append({**given[0], "session_decay": DECAY})
            if stale and network and not found and "trend" in defaults:
                again = {**given[0], "finetune_days": round(NEWEST * log.days, 2)}
                given += [again, {**again, "trend": TREND}]
            found += [self.made(model, settings) for settings in given]
        return list({candidate.key: candidate for candidate in found}.values())

    def lead(self) -> Candidate | None:
        """Returns the network that most often wins, which is fitted on all of train before others; None without one."""
        networks = self.first(True)
        return next((each for each in networks if each.settings.get("trend")), networks[0]) if networks else None

    def sampled(self, best: list[Candidate], count: int, seed) -> list[Candidate]:
        """Returns further candidates of the given models, each near to the best settings so far or anywhere.

        Args:
            best: the best candidate of each model that is worth a search.
            count: how many.
            seed: of the samples.
        """
        random, found = np.random.default_rng(seed), {}
        for index in range(4 * count):
            candidate = best[index % len(best)]
            start, space = candidate.settings, self.space_of(candidate.model)

            def draw(name, values, start=start):
                return start[name] if name in start and random.random() < KEPT else _drawn(values, random)

            try:
                space = starting_at(space, start)
            except InputError:  # a default outside of its range, such as None
                space = {name: values for name, values in space.items() if start.get(name) is not None}
            settings = json.loads(json.dumps({**start, **walk(space, start, draw)}))
            new = Candidate(candidate.model, settings, candidate.network)
            found.setdefault(new.key, new)
            if len(found) == count:
                break
        return list(found.values())

    def _fitting(self, model: str, defaults: dict) -> dict:
        """Returns the settings of a model that fit this log and its size."""
        if self.is_network(model):
            given = {name: value for name, value in TRAINED.items() if name in defaults}
            repeats = self.data.statistics.repeats >= SURE and defaults.get("repeats") is False
            return {**given, "repeats": True} if repeats else given
        large = model == "slist" and len(self.data.items) > self.dense  # bounds its memory
        return {"dense_items": self.dense} if large else {}


def _drawn(values, random):
    if isinstance(values, Choice):
        return values.options[int(random.integers(len(values.options)))]
    low, high = (np.log([values.low, values.high])) if values.log else (values.low, values.high)
    number = random.uniform(low, high)
    number = float(np.exp(number)) if values.log else float(number)
    number = min(max(number, values.low), values.high)
    return round(number) if isinstance(values, Int) else float(f"{number:.4g}")
