"""Lists under rules in plain Python, one item after the other: slow, and as the guide says it."""

import numpy as np


def holds(condition, value):
    """Whether one condition of the JSON form holds for the value of an item."""
    if isinstance(condition, bool):
        return value == (str(condition).lower() if isinstance(value, str) else float(condition))
    if isinstance(condition, dict) and "between" in condition:
        low, high = condition["between"]
        is_known = value is not None and np.isfinite(value)
        return bool(is_known and (low is None or value >= low) and (high is None or value <= high))
    if isinstance(condition, dict):
        return not holds(condition["not"], value)
    wanted = condition if isinstance(condition, list) else [condition]
    values = value if isinstance(value, list) else [value]
    return any(each is not None and each in wanted for each in values)


def ruled_list(scores, table, counts, similarity, rules, k, most):
    """Returns ids (rows of the table), scores and what each rule removed, in the order in which rules act.

    Args:
        scores: item -> score, of all items that may be returned.
        table: column -> a value for each item.
        counts: events of each item.
        similarity: item, item -> cosine.
        rules: the JSON form; `pin` is item -> position.
        k, most: items of the list, and candidates.
    """
    removed = []
    passing = set(range(len(counts)))
    for column, condition in rules.get("filter", {}).items():
        fitting = {item for item in range(len(counts)) if holds(condition, table[column][item])}
        removed.append(len(counts) - len(fitting))
        passing &= fitting
    best = sorted((item for item in scores if item in passing), key=lambda item: -scores[item])[:most]
    least = scores[best[-1]] if best else 0.0
    pins = {item: place for item, place in rules.get("pin", {}).items() if item in passing}
    now = {item: scores[item] for item in best}
    now |= {item: scores[item] if item in best else least for item in pins}
    moving = [item for item in best if item not in pins]
    unit = np.std([scores[item] for item in moving]) if moving else 0.0
    logs = np.log1p(np.array(counts, float))
    mean, deviation = (logs[moving].mean(), max(logs[moving].std(), 1e-6)) if moving else (0.0, 1e-6)

    def first(values, items):
        return set(sorted(items, key=lambda item: -values[item])[:k])

    moves = []
    if "popularity" in rules:
        moves.append({item: -rules["popularity"] * (logs[item] - mean) / deviation for item in now})
    for boost in rules.get("boost", []):
        ((column, condition),) = boost["where"].items()
        moves.append({item: boost["by"] * holds(condition, table[column][item]) for item in now})
    for move in moves:
        after = {item: now[item] + unit * move[item] for item in now}
        removed.append(len(first(now, moving) - first(after, moving)))
        now = after

    quotas, diversity = rules.get("at_most", {}), rules.get("diversity")
    strength = diversity["strength"] if diversity else 0.0
    low, high = (min(now.values()), max(now.values())) if now else (0, 0)
    relevance = {item: (now[item] - low) / max(high - low, 1e-12) for item in now}
    if not diversity or diversity.get("method", "mean") == "mean":
        unit = max(np.std(list(now.values())), 1e-12) if now else 1.0
        relevance = {item: np.exp((now[item] - high) / (2 * unit)) for item in now}

    def values_of(column, item):
        values = table[column][item]
        return set(values if isinstance(values, list) else [values]) - {None}

    def is_full(column, item, chosen):
        return any(
            sum(value in values_of(column, other) for other in chosen) >= quotas[column]
            for value in values_of(column, item)
        )

    def novelty(item, chosen):
        if diversity and diversity.get("method") == "dpp":
            kernel = np.array([[similarity(a, b) for b in [*chosen, item]] for a in [*chosen, item]])
            part = np.linalg.det(kernel) / np.linalg.det(kernel[:-1, :-1]) if chosen else 1.0
            return np.log(max(part, 1e-6))
        if diversity and diversity.get("method", "mean") == "mean":
            return -sum(similarity(item, other) for other in chosen) / max(len(chosen), 1)
        return -max([similarity(item, other) for other in chosen] + [0.0])

    chosen = sorted(pins, key=pins.get)[:k]
    while len(chosen) < k:
        open_items = [
            item for item in now if item not in chosen and not any(is_full(column, item, chosen) for column in quotas)
        ]
        if not open_items:
            break
        gain = {item: (1 - strength) * relevance[item] + strength * novelty(item, chosen) for item in open_items}
        chosen.append(max(open_items, key=gain.get))

    others = [item for item in chosen if item not in pins]
    places = dict(zip(pins.values(), pins, strict=True))
    shown = []
    for place in range(1, k + 1):
        if place in places:
            shown.append(places[place])
        elif others:
            shown.append(others.pop(0))
    is_greedy = bool(pins or quotas or diversity or "pin" in rules)
    top = first(now, now)
    removed += [
        int(item in pins and item not in top)
        for item, _ in sorted(rules.get("pin", {}).items(), key=lambda pair: pair[1])
    ]
    lowest = min([now[item] for item in chosen if item not in pins], default=np.inf)
    held = {column: {item for item in now if item not in chosen and is_full(column, item, chosen)} for column in quotas}
    removed += [sum(now[item] >= lowest for item in held[column]) for column in quotas]
    if diversity:
        removed.append(len(top - set(chosen) - set().union(*held.values())))
    assert is_greedy or set(chosen) == top
    return shown, [now[item] for item in shown], removed
