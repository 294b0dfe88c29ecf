"""The figures of the report: a chart in both shapes, a caption that says what is to be seen, and the numbers."""

from __future__ import annotations

from tfrecsession.evaluation.report import charts, reading
from tfrecsession.evaluation.report.drawing import Series, svg_described

SHAPES = ("wide", "narrow")
BIAS = {"coverage": "catalogue coverage", "popularity": "popularity", "gini": "Gini", "novelty": "novelty, bits"}


def cost(models: list[Series], k: int, ceiling: float | None) -> dict:
    """MRR against the time of the fit and of one recommendation."""
    title = f"MRR@{k} against the time to fit and the time of one recommendation"
    caption = ["Up is better, left is faster; time on a logarithmic axis. The strokes are 95% intervals of the score."]
    if ceiling:
        caption.append("The ceiling is what the synthetic shop's own probabilities score.")
    drawn = {shape: charts.quality_against_cost(models, f"mrr@{k}", f"MRR@{k}", ceiling, shape) for shape in SHAPES}
    return _figure(title, caption, drawn, None)


def slice_figure(models: list[Series], name: str, title: str, axis: tuple[str, str], kind: str, k: int) -> dict | None:
    """Recall in the labels of a slice; None where the results do not have it."""
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
        labels = sorted(labels, key="returning".__eq__)  # what is fresh first
        drawn = {shape: charts.two_per_row(models, name, labels, metric, f"Recall@{k}", shape) for shape in SHAPES}
        counts = {label: _events(models, name, label) for label in labels}
        said = " and ".join(f"{reading.count(n)} {label}" for label, n in counts.items())
        caption.append(f"A target is returning where it occurred before in its session: {said} events.")
    return _figure(title, caption, drawn, slice_table(models, name, title, k))


def bias(models: list[Series], k: int) -> dict | None:
    """How much of the catalogue the lists use, and how popular it is."""
    panels = {
        BIAS[name]: {model.label: model.row["metrics"].get(f"{name}@{k}") for model in models}
        for name in ("coverage", "popularity", "gini")
        if any(f"{name}@{k}" in model.row["metrics"] for model in models)
    }
    if not panels:
        return None
    caption = [
        f"Catalogue coverage: the share of the catalogue that is in the first {k} places of any list.",
        "Popularity: the mean, over all recommendations, of the item's training events divided by those of the most "
        "popular item.",
        "Gini: 0 where every item is recommended equally often, near 1 where a few take all places.",
        "High coverage is no merit by itself: chance has it too.",
    ]
    drawn = {shape: charts.dots(models, panels, "bias", shape) for shape in SHAPES}
    names = [name for name in BIAS if any(f"{name}@{k}" in model.row["metrics"] for model in models)]
    rows = [
        [model.label, *(reading.or_dash(model.row["metrics"].get(f"{name}@{k}"), reading.number) for name in names)]
        for model in models
    ]
    table = {"caption": f"The lists of {k}", "heads": ["model", *(BIAS[name] for name in names)], "rows": rows}
    return _figure(f"What is in the lists of {k}", caption, drawn, table)


def slice_table(models: list[Series], name: str, title: str, k: int) -> dict | None:
    """A row per label, a column per model: recall and its interval; a dash where there is no event."""
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
    """Who is best where, in a sentence."""
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
    said = [f"{model} in {_runs(where, labels)}" for model, where in best.items()]
    return [f"Best are {reading.listed(said)}."]


def _runs(some: list[str], labels: list[str]) -> str:
    """Labels in their order, neighbours joined: "1, 3 to 6"."""
    runs = []
    for label in some:
        place = labels.index(label)
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    names = [charts.tick(label) for label in labels]
    joined = [names[a] if a == b else f"{names[a]}{' to ' if b > a + 1 else ', '}{names[b]}" for a, b in runs]
    return ", ".join(joined)


def _others(models: list[Series]) -> list[str]:
    others = sum(not model.named for model in models)
    return [f"Thin grey lines are the other {others} models, by MRR; the numbers name them."] if others else []


def _labels(models: list[Series], name: str) -> list[str]:
    return list(dict.fromkeys(label for model in models for label in charts.cells(model, name)))


def _events(models: list[Series], name: str, label: str) -> int:
    return next((cell["events"] for model in models if (cell := charts.cells(model, name).get(label))), 0)
