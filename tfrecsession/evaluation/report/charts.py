"""The charts of a comparison. Models come best first; each has a colour, a marker and its name beside it."""

from __future__ import annotations

from math import ceil, floor, log10, nan

from tfrecsession.evaluation.report.drawing import (
    GRID,
    INK,
    MUTED,
    PAGE,
    Series,
    names_at_the_end,
    names_beside,
    sheet,
    svg,
)


def lines(models: list[Series], name: str, metric: str, ylabel: str, xlabel: str, shape: str) -> str:
    """Draws a metric over the labels of the slice `name`, with intervals; a label without events leaves a gap."""
    labels = list(dict.fromkeys(label for model in models for label in cells(model, name)))
    counts = {label: cell["events"] for model in models for label, cell in cells(model, name).items()}
    positions, ends = range(len(labels)), []
    with sheet(shape, 3.7) as figure:
        axes = figure.add_subplot()
        for model in reversed(models):  # the best model is drawn on top
            points = [cells(model, name).get(label, {}) for label in labels]
            values = [nan if point.get(metric) is None else point[metric] for point in points]
            bounds = [interval(point, metric, value) for point, value in zip(points, values, strict=True)]
            if not model.named:
                axes.plot(positions, values, color=model.color, linewidth=0.9)
                continue
            axes.fill_between(positions, *zip(*bounds, strict=True), color=model.color, alpha=0.13, linewidth=0)
            axes.plot(positions, values, markersize=6.5, linewidth=1.8, clip_on=False, **model.look)
            if known := [position for position in positions if values[position] == values[position]]:  # not NaN
                ends.append((known[-1], values[known[-1]], model))
        wide = shape == "wide"  # on a phone, counts would overlap
        ticks = [f"{tick(label)}\n{short(counts[label])}" if wide else tick(label) for label in labels]
        axes.set_xticks(positions, ticks)
        axes.set_xlim(-0.3, len(labels) - 0.7)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"{xlabel} (below: number of events)" if wide else xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(axis="x", visible=False)
        figure.draw_without_rendering()
        names_at_the_end(axes, ends)
        return svg(figure, f"{name}-{shape}")


def quality_against_cost(models: list[Series], metric: str, ylabel: str, ceiling: float | None, shape: str) -> str:
    """Draws a metric against the fitting time and the latency of one recommendation, on log axes."""
    wide = shape == "wide"
    costs = {
        "fitting time": (1, lambda row: row.get("train_seconds")),
        "median recommendation latency": (1e-3, lambda row: row.get("cost", {}).get("latency_ms", {}).get("p50")),
    }
    top = 1.13 * max([model.row["metrics"][metric] for model in models] + [ceiling or 0])
    with sheet(shape, 3.5 if wide else 6.4) as figure:
        panels = figure.subplots(*((1, 2) if wide else (2, 1)), sharey=wide)
        drawn = []
        for axes, (title, (unit, cost)) in zip(panels, costs.items(), strict=True):
            known = [model for model in models if cost(model.row) is not None]
            points = [(max(unit * cost(model.row), 1e-4), model.row["metrics"][metric], model) for model in known]
            for x, y, model in reversed(points):
                axes.plot([x, x], interval(model.row, metric, y), color=model.color, linewidth=1.6)
                axes.plot(x, y, markersize=9, **model.look)
            _time_axis(axes, [x for x, _, _ in points], 6 if wide else 4)
            axes.set_title(title)
            axes.set_ylim(0, top)
            if ceiling:
                axes.axhline(ceiling, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
                where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
                axes.annotate("ceiling", (0, ceiling), (3, 3), color=MUTED, fontsize=8.5, **where)
            if not drawn or not wide:
                axes.set_ylabel(ylabel)
            drawn.append((axes, points))
        figure.get_layout_engine().set(hspace=0.06)
        figure.draw_without_rendering()  # names need the final positions of the points
        for axes, points in drawn:
            names_beside(axes, points)
        return svg(figure, f"cost-{shape}")


def dots(models: list[Series], panels: dict[str, dict[str, float]], name: str, shape: str) -> str:
    """Draws a panel per measure (title -> label -> value) with a row per model."""
    height = 0.26 * len(models) + 0.7
    with sheet(shape, height if shape == "wide" else height * len(panels)) as figure:
        grid = (1, len(panels)) if shape == "wide" else (len(panels), 1)
        for number, (title, values) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(*grid, number)
            _rows(axes, models, named=shape != "wide" or number == 1)
            for place, model in enumerate(models):
                if (value := values.get(model.label)) is not None:
                    axes.plot([0, value], [place, place], color=GRID, linewidth=2.5)
                    axes.plot(value, place, markersize=8, clip_on=False, **model.look)
            axes.set_title(title)
            axes.set_xlim(0, 1.1 * max([value for value in values.values() if value is not None] or [1]))
            axes.locator_params(axis="x", nbins=4)
        figure.get_layout_engine().set(wspace=0.08, hspace=0.06)
        return svg(figure, f"{name}-{shape}")


def two_per_row(models: list[Series], name: str, labels: tuple[str, str], metric: str, xlabel: str, shape: str) -> str:
    """Draws a metric for two labels of a slice, a row per model: the first as a hollow marker, the second filled."""
    from matplotlib.lines import Line2D

    with sheet(shape, 0.34 * len(models) + 1.1) as figure:
        axes = figure.add_subplot()
        _rows(axes, models)
        for place, model in enumerate(models):
            points = [cells(model, name).get(label, {}) for label in labels]
            known = [point[metric] for point in points if point.get(metric) is not None]
            axes.plot(known, [place] * len(known), color=GRID, linewidth=2.5)
            for point, fill in zip(points, (PAGE, model.color), strict=True):
                if (value := point.get(metric)) is not None:
                    axes.plot(interval(point, metric, value), [place, place], color=model.color, linewidth=1.4)
                    look = {**model.look, "markeredgecolor": model.color, "markerfacecolor": fill}
                    axes.plot(value, place, markersize=8, markeredgewidth=1.5, **look)
        axes.set_xlim(left=0)
        axes.set_xlabel(xlabel)
        keys = [Line2D([], [], color=MUTED, marker="o", linestyle="", markerfacecolor=fill) for fill in (PAGE, MUTED)]
        look = {"frameon": False, "labelcolor": INK, "fontsize": 9, "handletextpad": 0.1, "columnspacing": 1.2}
        figure.legend(keys, labels, loc="outside upper left", ncols=2, **look)
        return svg(figure, f"{name}-{shape}")


def cells(model: Series, name: str) -> dict[str, dict]:
    """Returns label -> scores of a model in a slice; empty if the slice is missing."""
    return (model.row.get("slices") or {}).get(name) or {}


def interval(scores: dict, metric: str, value: float) -> tuple[float, float]:
    """Returns the interval of a metric, or its value twice if there is no interval."""
    return tuple((scores.get("intervals") or {}).get(metric) or (value, value))


def tick(label: str) -> str:
    """Returns the first part of a label: "1: 820-5031" -> "1"."""
    return label.partition(":")[0]


def short(number: float) -> str:
    """Formats a count to fit below a tick: 1234 -> "1.2k"."""
    for unit, size in (("m", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{0 if number >= 10 * size else 1}f}{unit}"
    return str(int(number))


def _rows(axes, models: list[Series], named: bool = True) -> None:
    """Lists the models on the y axis, best on top."""
    axes.set_yticks(range(len(models)), [model.label if named else "" for model in models])
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9, length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _time_axis(axes, seconds: list[float], most: int) -> None:
    """Sets a log time axis that covers `seconds`, with at most `most` decades labelled."""
    axes.set_xscale("log")
    if not seconds:
        return
    low, high = log10(min(seconds)) - 0.35, log10(max(seconds)) + 0.6
    if high - low < 2:
        low, high = (low + high) / 2 - 1, (low + high) / 2 + 1
    decades = [10.0**power for power in range(ceil(low), floor(high) + 1)]
    decades = decades[:: -(-len(decades) // most)]
    axes.set_xlim(10**low, 10**high)
    axes.set_xticks(decades, [_time(decade) for decade in decades])
    axes.tick_params(axis="x", which="minor", length=0)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.99 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:g} s"
