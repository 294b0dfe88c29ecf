"""Learning of a blend's scales and weights on a split that no member was fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
import tensorflow as tf

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import BLOCK_BYTES
from tfrecsession.metrics import conservative_ranks
from tfrecsession.models.ensemble.scales import comparable
from tfrecsession.recommender.keras_contract import BY_LABEL

RANGES = (1, 2, 3, 5)  # shortest histories of the ranges that may have weights of their own
SCALED_ON = 1000  # events that the scales are chosen on
SOFTMAX = tuple(2.0**power for power in range(-6, 4))  # of the deviation of the scores
SHARE = (0.5, 0.75, 1.0, 1.5, 2.0)
UNIFORM = 0.01  # share of the uniform distribution in a likelihood, where a probability may be 0
STEPS = {2: 20, 3: 8, 4: 5, 5: 4}  # members -> steps of the lattice
LEAST_GAIN = 2.0  # standard errors


@dataclass
class Learned:
    """The weights and scales that a blend has learned.

    Attributes:
        scales: a pair (kind, T) per member.
        lengths: the shortest history of each range.
        weights: float32 [lengths, members].
        metric: the name of the metric.
        value: its value of the blend on the events that the weights were learned on.
        alone: its value of each member there.
        events: how many events.
        gains: float64 [sessions], the sum of each session's gains over the best member alone. The weights behind them
            were learned on the other half of the sessions, whereas the scales were chosen on all of them.
    """

    scales: list[tuple[str, float]]
    lengths: tuple[int, ...]
    weights: np.ndarray
    metric: str
    value: float
    alone: list[float]
    events: int
    gains: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def gain(self) -> float:
        """The mean gain of an event over the best member alone, on sessions that the weights were not learned on."""
        return float(self.gains.sum() / max(self.events, 1))

    def as_json(self) -> dict:
        fields = {name: value for name, value in vars(self).items() if name != "gains"}
        return {**fields, "weights": self.weights.round(4).tolist(), "scales": [list(pair) for pair in self.scales]}


@dataclass
class Events:
    """Targets of sampled sessions, and what the members encode before them."""

    encoded: list[tuple] = field(default_factory=list)  # by batch: a tuple by member of [n, any]
    targets: list[np.ndarray] = field(default_factory=list)  # by batch: int32 [n]
    lengths: list[np.ndarray] = field(default_factory=list)  # by batch: int32 [n], known items of the history
    sessions: list[np.ndarray] = field(default_factory=list)  # by batch: int [n], a number per session


def learn(blend, sessions: Sessions, metric: str, by_length: bool, events: int, seed: int) -> Learned:
    """Learns scales and weights; see `Blend.fit`."""
    value_of = _metric(metric, len(blend.items))
    blend.weights_by_length = np.full((len(blend.lengths), len(blend.members)), 1 / len(blend.members), np.float32)
    sampled = _encoded(blend, _sample(sessions, events, seed))
    scales = blend.scales = _scales(blend, sampled)
    candidates = lattice(len(blend.members))  # (candidates, members)
    values = value_of(_ranks(blend, sampled, candidates))  # (candidates, events)
    session, length = np.concatenate(sampled.sessions), np.concatenate(sampled.lengths)
    length = length if by_length else np.ones_like(length)
    lengths, chosen = _choice(values, session, length)
    bucket = np.searchsorted(lengths, np.maximum(length, 1), side="right") - 1
    best = values[chosen[bucket], np.arange(len(length))]
    alone = [float(values[np.flatnonzero(candidates[:, member] == 1)[0]].mean()) for member in range(len(scales))]
    weights = candidates[chosen].astype(np.float32)
    gains = _gains(values, session, length, int(np.argmax(alone)))
    return Learned(scales, lengths, weights, metric, float(best.mean()), alone, len(length), gains)


def lattice(members: int) -> np.ndarray:
    """Returns the weights that are tried, float64 [candidates, members]: rows sum to 1, single members come first."""
    alone, equal = np.eye(members), np.full((1, members), 1 / members)
    steps = STEPS.get(members)
    if steps is None:  # many members, such as seeds of one model: pairs and leaving one out
        pairs = [(alone[i] + alone[j]) / 2 for i in range(members) for j in range(i)]
        without = [(1 - row) / (members - 1) for row in alone]
        halves = [(row + equal[0]) / 2 for row in alone]
        return np.concatenate([alone, equal, halves, without, pairs])
    bars = combinations_with_replacement(range(members), steps)
    points = np.array([np.bincount(places, minlength=members) / steps for places in bars])
    points = np.concatenate([alone, equal, points])
    return points[np.sort(np.unique(points.round(9), axis=0, return_index=True)[1])]


def _metric(metric: str, items: int):
    """Returns a function from ranks, int [any], to the metric of each."""
    name, _, text = str(metric).partition("@")
    if name not in BY_LABEL or not text.isdecimal() or not 1 <= int(text) <= items:
        known = ", ".join(f"{known}@k" for known in BY_LABEL)
        raise InputError(f"metric={metric!r}: must be one of {known}, with k from 1 to the catalogue's {items:,}")
    ranking = BY_LABEL[name](int(text))
    return lambda ranks: np.asarray(ranking.of_each(ranks), np.float64)


def _sample(sessions: Sessions, events: int, seed: int) -> Sessions:
    scored = np.maximum(np.diff(sessions.offsets) - 1, 0)
    if not scored.sum():
        raise InputError(f"x: the {sessions.role} split has no event to score: weights cannot be learned on it")
    order = np.random.default_rng(seed).permutation(len(scored))
    kept = np.zeros(len(scored), bool)
    kept[order[np.cumsum(scored[order]) - scored[order] < events]] = True
    return sessions.only(kept)


def _encoded(blend, sessions: Sessions) -> Events:
    """Encodes the histories before all targets that training has seen."""
    found, before = Events(), 0
    encode = tf.function(lambda batch, cells: blend.encoder(batch)(cells), reduce_retracing=True, autograph=False)
    for batch, targets in blend._batches(sessions):
        cells = tf.cast(tf.where(targets > 1), tf.int32)
        if not len(cells):
            continue
        encoded, length = encode(batch, cells)
        items, segment = batch["items"].numpy(), batch["segment"].numpy()
        row, step = cells.numpy().T
        found.encoded.append(encoded)
        found.targets.append(targets.numpy()[row, step])
        found.lengths.append(length.numpy())
        found.sessions.append(before + row * (segment.max() + 1) + segment[row, step])
        before += items.shape[0] * (segment.max() + 1)
    if not found.targets:
        raise InputError(f"x: the {sessions.role} split has no event whose item training has seen")
    return found


def _blocks(blend, events: Events, cells_per_item: int, most: int | None = None):
    """Yields encodings and targets of blocks of events that fit into memory."""
    rows = int(max(1, min(512, BLOCK_BYTES // 4 // max(blend.size * cells_per_item, 1))))
    left = sum(map(len, events.targets)) if most is None else most
    for encoded, targets in zip(events.encoded, events.targets, strict=True):
        for first in range(0, len(targets), rows):
            if left <= 0:
                return
            last = min(first + rows, len(targets), first + left)
            yield tuple(part[first:last] for part in encoded), targets[first:last]
            left -= last - first


def _by_width(function):
    """Returns the function as a graph for any number of events, but one per width of what the members encode.

    The width of a `RepeatHead` follows the steps of a batch, and a graph that leaves it open cannot be traced.
    """
    graphs = {}

    def call(*arguments):
        signature = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), arguments)
        widths = tuple(tuple(spec.shape[1:]) for spec in tf.nest.flatten(signature))
        if widths not in graphs:
            graphs[widths] = tf.function(function, input_signature=signature, autograph=False)
        return graphs[widths](*arguments)

    return call


def _scales(blend, events: Events) -> list[tuple[str, float]]:
    """Returns kind and T of each member: those of the highest likelihood of the targets."""
    grids = totals = None
    score = _by_width(lambda encoded: list(blend.member_scores()(encoded)))
    for encoded, targets in _blocks(blend, events, 4, SCALED_ON):
        scores = score(encoded)
        if grids is None:
            grids = [_grid(part) for part in scores]
            totals = [np.zeros(len(grid)) for grid in grids]
        for member, part in enumerate(scores):
            for index, (kind, sharpness) in enumerate(grids[member]):
                probability = comparable(part, kind, sharpness)
                of_target = tf.gather(probability, tf.constant(targets - 2), batch_dims=1).numpy()
                likely = (1 - UNIFORM) * of_target + UNIFORM / part.shape[1]
                totals[member][index] += np.log(likely).sum()
    return [grid[int(np.argmax(total))] for grid, total in zip(grids, totals, strict=True)]


def _grid(scores) -> list[tuple[str, float]]:
    """Returns the pairs (kind, T) that are tried for a member, by some of its scores."""
    finite = tf.boolean_mask(scores, tf.math.is_finite(scores))
    deviation = float(tf.math.reduce_std(finite)) or 1.0
    softmax = [("softmax", 1.0), *(("softmax", deviation * factor) for factor in SOFTMAX)]
    counts = float(tf.reduce_min(finite)) >= 0
    return [("share", power) for power in SHARE] + softmax if counts else softmax


def _ranks(blend, events: Events, candidates: np.ndarray) -> np.ndarray:
    """Returns the rank of every target for each row of weights: int32 [candidates, events]."""
    probabilities = blend.member_probabilities()

    def ranks(encoded, targets):
        parts = tf.stack(list(probabilities(encoded)))  # (members, n, items)

        def of(weights):
            total = tf.tensordot(weights, parts, 1)  # (n, items)
            return conservative_ranks(tf.pad(total, [[0, 0], [2, 0]]), targets)

        return tf.map_fn(of, tf.constant(candidates, tf.float32), fn_output_signature=tf.int32)

    traced = _by_width(ranks)
    blocks = _blocks(blend, events, len(blend.members) + 4)
    return np.concatenate([traced(encoded, tf.constant(targets)).numpy() for encoded, targets in blocks], axis=1)


def _gains(values: np.ndarray, session: np.ndarray, length: np.ndarray, alone: int) -> np.ndarray:
    """Returns each session's gain over the candidate `alone`, with weights that the other half of the sessions chose.

    Args:
        values: float64 [candidates, events], the metric.
        session: int [events]. length: int32 [events].
        alone: the candidate that is compared with.
    """
    number = np.unique(session, return_inverse=True)[1]
    half = number // 2 % 2 == 0  # `_choice` itself halves by odd and even
    gain = np.zeros(len(session))
    for learned_on in (half, ~half):
        if not learned_on.any() or learned_on.all():
            continue
        lengths, chosen = _choice(values[:, learned_on], number[learned_on], length[learned_on])
        others = np.flatnonzero(~learned_on)
        bucket = np.searchsorted(lengths, np.maximum(length[others], 1), side="right") - 1
        gain[others] = values[chosen[bucket], others] - values[alone, others]
    return np.bincount(number, gain)


def _choice(values: np.ndarray, session: np.ndarray, length: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Returns ranges of lengths, and the number of the candidate for each.

    Weights by length must be better than one weight for all on the half of the sessions they were not chosen on.

    Args:
        values: float64 [candidates, events], the metric.
        session: int [events]. length: int32 [events].
    """
    overall = np.array([np.argmax(values.mean(axis=1))])
    bucket = np.searchsorted(RANGES, np.maximum(length, 1), side="right") - 1
    if bucket.max() == 0 or len(np.unique(session)) < 4:
        return (1,), overall

    def chosen(events):
        one = np.argmax(values[:, events].mean(axis=1))
        inside = [events & (bucket == number) for number in range(len(RANGES))]
        return one, np.array([np.argmax(values[:, part].mean(axis=1)) if part.any() else one for part in inside])

    half, gain = session % 2 == 0, np.zeros(len(length))
    for learned_on in (half, ~half):
        if not learned_on.any() or learned_on.all():
            return (1,), overall
        one, several = chosen(learned_on)
        others = np.flatnonzero(~learned_on)
        gain[others] = values[several[bucket[others]], others] - values[one, others]
    by_session = np.bincount(np.unique(session, return_inverse=True)[1], gain)
    error = by_session.std() * np.sqrt(len(by_session))
    if by_session.sum() > max(LEAST_GAIN * error, 1e-9):
        return RANGES, chosen(np.ones(len(length), bool))[1]
    return (1,), overall
