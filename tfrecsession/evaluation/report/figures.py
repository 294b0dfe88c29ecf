"""The figures of the report: a chart in both shapes, a caption and a data table."""

from __future__ import annotations

from tfrecsession.evaluation.report import charts, reading
from tfrecsession.evaluation.report.drawing import Series, svg_described

SHAPES = ("wide", "narrow")
BIAS = {
    "coverage": "catalogue coverage",
    "popularity": "popularity",
    "gini": "Gini",
    "diversity": "diversity",
    "novelty": "novelty, bits",
    "popularity_lift": "popularity lift, log2",
    "miscalibration": "miscalibration, nats",
}
DRAWN = ("coverage", "popularity", "gini", "diversity")  # shares from 0 to 1


def cost(models: list[Series], k: int, ceiling: float | None) -> dict:
    """Returns the figure of MRR against fitting time and recommendation latency."""
    title = f"MRR@{k} against fitting time and recommendation latency"
    caption = ["Higher is better; further left is faster. Time axes are logarithmic. Vertical lines are 95% intervals."]
    if ceiling:
        caption.append("The ceiling is the score of the synthetic shop's own probabilities.")
    drawn = {shape: charts.quality_against_cost(models, f"mrr@{k}", f"MRR@{k}", ceiling, shape) for shape in SHAPES}
    return _figure(title, caption, drawn, None)


def slice_figure(models: list[Series], name: str, title: str, axis: tuple[str, str], kind: str, k: int) -> dict | None:
    """Returns the figure of Recall over the labels of a slice; None if the results do not have the slice."""
    metric = f"recall@{k}"
    labels = _labels(models, name)
    if not any(
        charts.cells(model, name).get(label, {}).get(metric) is not None for model in models for label in labels
    ):
        return None
    caption = _leaders(models, name, labels, metric)
    if kind == "lines":
        drawn = {shape: charts.lines(models, name, metric, f"Recall@{k}", axis[0], shape) for shape in SHAPES}
        caption += [axis[1], "Bands are 95% intervals.", *_others(models)]
    else:
        labels = sorted(labels, key="returning".__eq__)  # fresh comes first
        drawn = {shape: charts.two_per_row(models, name, labels, metric, f"Recall@{k}", shape) for shape in SHAPES}
        counts = {label: _events(models, name, label) for label in labels}
        events = " and ".join(f"{reading.count(n)} {label}" for label, n in counts.items())
        caption.append(f"A returning target occurred earlier in its session. There are {events} events.")
    return _figure(title, caption, drawn, slice_table(models, name, title, k))


def bias(models: list[Series], k: int) -> dict | None:
    """Returns the figure of the coverage and popularity of the recommended items."""
    panels = {
        BIAS[name]: {model.label: model.row["metrics"].get(f"{name}@{k}") for model in models}
        for name in DRAWN
        if any(f"{name}@{k}" in model.row["metrics"] for model in models)
    }
    if not panels:
        return None
    caption = [
        f"Catalogue coverage: the share of the catalogue that appears in at least one top-{k} list.",
        "Popularity: the training events of an item divided by those of the most popular item, averaged over all "
        "recommendations.",
        "Gini: 0 if all items are recommended equally often, near 1 if a few items fill all lists.",
        "High coverage alone is not a merit: random lists have it too.",
    ]
    if BIAS["diversity"] in panels:
        caption.append("Diversity: the share of the pairs of a list whose categories differ.")
    if any(f"popularity_lift@{k}" in model.row["metrics"] for model in models):
        caption.append("Popularity lift: log2 of the mean support of a list over that of its session so far.")
    if any(f"miscalibration@{k}" in model.row["metrics"] for model in models):
        caption.append("Miscalibration: how far a list's categories are from those of its session; 0 is the same mix.")
    drawn = {shape: charts.dots(models, panels, "bias", shape) for shape in SHAPES}
    names = [name for name in BIAS if any(f"{name}@{k}" in model.row["metrics"] for model in models)]
    rows = [[model.label, *(_with_interval(model.row, f"{name}@{k}") for name in names)] for model in models]
    table = {"caption": f"Top-{k} lists", "heads": ["model", *(BIAS[name] for name in names)], "rows": rows}
    return _figure(f"Items in the top-{k} lists", caption, drawn, table)


def _with_interval(row: dict, metric: str) -> str:
    interval = reading.interval((row.get("intervals") or {}).get(metric))
    value = reading.or_dash(row["metrics"].get(metric), reading.number)
    return f"{value} ({interval})" if interval else value


def slice_table(models: list[Series], name: str, title: str, k: int) -> dict | None:
    """Returns a table with a row per label and a column per model: Recall and its interval, a dash without events."""
    labels, metric = _labels(models, name), f"recall@{k}"
    if not labels:
        return None
    rows = []
    for label in labels:
        cells = []
        for model in models:
            cell = charts.cells(model, name).get(label, {})
            interval = reading.interval((cell.get("intervals") or {}).get(metric))
            value = reading.or_dash(cell.get(metric), reading.score)
            cells.append(f"{value} ({interval})" if interval else value)
        rows.append([label, reading.count(_events(models, name, label)), *cells])
    caption = title if metric.capitalize() in title else f"{title}: Recall@{k}"
    return {"caption": caption, "heads": ["", "events", *(model.label for model in models)], "rows": rows}


def _figure(title: str, caption: list[str], drawn: dict[str, str], numbers: dict | None) -> dict:
    described = {shape: svg_described(drawing, f"{title}. {' '.join(caption)}") for shape, drawing in drawn.items()}
    return {"title": title, "caption": caption, "numbers": numbers, **described}


def _leaders(models: list[Series], name: str, labels: list[str], metric: str) -> list[str]:
    """Returns a sentence that names the best model of each label."""
    best = {}
    for label in labels:
        scores = {model.label: charts.cells(model, name).get(label, {}).get(metric) for model in models}
        known = {model: score for model, score in scores.items() if score is not None}
        if len(known) > 1:
            best.setdefault(max(known, key=known.get), []).append(label)
    if not best:
        return []
    if len(best) == 1:
        return [f"{next(iter(best))} is best throughout."]
    models_and_labels = [f"{model} ({_runs(where, labels)})" for model, where in best.items()]
    return [f"The best models are {reading.listed(models_and_labels)}."]


def _runs(chosen: list[str], labels: list[str]) -> str:
    """Formats the chosen labels with neighbours joined: "1, 3 to 6"."""
    runs = []
    for label in chosen:
        index = labels.index(label)
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    names = [charts.tick(label) for label in labels]
    joined = [names[a] if a == b else f"{names[a]}{' to ' if b > a + 1 else ', '}{names[b]}" for a, b in runs]
    return ", ".join(joined)


def _others(models: list[Series]) -> list[str]:
    others = sum(not model.named for model in models)
    return [f"Thin grey lines are the other {others} models by MRR; the data table names them."] if others else []


def _labels(models: list[Series], name: str) -> list[str]:
    return list(dict.fromkeys(label for model in models for label in charts.cells(model, name)))


def _events(models: list[Series], name: str, label: str) -> int:
    return next((cell["events"] for model in models if (cell := charts.cells(model, name).get(label))), 0)
