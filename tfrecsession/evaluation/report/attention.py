"""Drawings of a model's attention over a session."""

from __future__ import annotations

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.evaluation.report.drawing import INK, LIGHT, PAGE, sheet

NEWEST = 40  # events drawn of a longer session
WRITTEN = 12  # with more events, the cells of `per_step` have no numbers


def draw_attention(model, history, per_step: bool = False):
    """Draws how much attention a recommendation pays to each event of a session.

        trs.evaluation.draw_attention(model, ["item-17", "item-4", "item-17"]).savefig("attention.svg")

    Args:
        model: a model with `attention`, such as `trs.models.NARM`.
        history: item ids, oldest first; only the newest 40 are drawn.
        per_step: whether to draw a row for the recommendation after each event, not only after the last.

    Returns:
        A `matplotlib.figure.Figure`: a bar per event, oldest on top, or a matrix of steps and events. Negative weights
        have a second colour.
    """
    if "attention" not in model.abilities:
        raise InputError(f"{type(model).__name__} has no attention to draw: must be a model such as NARM")
    history = list(history) if not isinstance(history, str | bytes) else history
    weights = model.attention(history, per_step=per_step)  # refuses a bare string
    if not len(history):
        raise InputError("history is empty: must hold at least one item id")
    weights = weights[-NEWEST:, -NEWEST:] if per_step else weights[-NEWEST:]
    first = len(history) - len(weights)
    names = [f"{number}. {item}" for number, item in enumerate(history, 1)][first:]
    with sheet("wide", 0.9 + 0.26 * len(names)) as figure:
        axes = figure.add_subplot()
        (_matrix if per_step else _bars)(axes, names, weights)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        return figure


def _bars(axes, names: list[str], weights: np.ndarray) -> None:
    bars = axes.barh(range(len(names)), weights, 0.7, color=np.where(weights < 0, LIGHT[1], LIGHT[0]))
    axes.bar_label(bars, [f"{weight:.2f}" for weight in weights], padding=3, fontsize=8.5, color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel("attention weight of each event for the recommendation after the last event")


def _matrix(axes, names: list[str], weights: np.ndarray) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("attention", [LIGHT[1], PAGE, LIGHT[0]])
    largest = float(np.abs(weights).max()) or 1.0
    later = np.triu(np.ones(weights.shape, bool), 1)
    edges = np.arange(len(names) + 1) - 0.5
    shown = np.ma.masked_array(weights, later)
    axes.pcolormesh(edges, edges, shown, cmap=shades, vmin=-largest, vmax=largest, edgecolors=PAGE, linewidth=1)
    if len(names) <= WRITTEN:
        for step, event in zip(*np.nonzero(~later), strict=True):
            weight = weights[step, event]
            colour = PAGE if abs(weight) > 0.6 * largest else INK
            axes.text(event, step, f"{weight:.2f}", ha="center", va="center", fontsize=8.5, color=colour)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False)
    numbers = [name.split(".", 1)[0] for name in names]
    axes.set_xticks(range(len(names)), numbers)
    axes.set_xlabel("attended event")
    axes.set_ylabel("recommendation\nafter event")
