"""Matplotlib figures as SVG elements that take their colours and typeface from the surrounding page.

Each chart comes in two shapes, for wide pages and for phones, since the text of an SVG shrinks with it. Text stays
text: it can be searched, copied and read aloud.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass

from tfrecsession.errors import InputError

# Distinguishable with normal vision, deuteranopia and protanopia (CIE76 distances of at least 22 in both themes), and
# with a contrast of at least 3:1 to the page; tests/evaluation/test_charts.py checks this.
LIGHT = ["#0b5394", "#d9700b", "#22907f", "#7f2be0", "#6f362a", "#d552e0"]
DARK = ["#6ea8f0", "#f2a60d", "#2fa58c", "#9466f5", "#c9624a", "#f9c9e6"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
OTHER = "#7b8087"  # all further models: grey, identified by name only
INK, MUTED, GRID, PAGE = "#010203", "#050607", "#d8d9da", "#fefdfc"  # placeholders for the colours of the page
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "rule", PAGE: "page", OTHER: "other"}
VARIABLES |= {colour: f"series-{number}" for number, colour in enumerate(LIGHT)}
LEADER = {"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 1, "shrinkB": 4, "relpos": (0, 0.5)}
WIDTHS = {"wide": 7.4, "narrow": 3.5}  # inches, 72 SVG units each
STYLE = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so layouts are the same everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "svg.fonttype": "none",
}


@dataclass
class Series:
    """A model with its look in charts."""

    label: str
    color: str
    marker: str
    row: dict

    @property
    def named(self) -> bool:
        """Returns whether the model has a colour and marker of its own."""
        return self.color != OTHER

    @property
    def look(self) -> dict:
        return {"color": self.color, "marker": self.marker, "markeredgecolor": PAGE}


def series(rows: list[dict]) -> list[Series]:
    """Assigns looks to the rows, which come best first; keeps their order."""
    looks = [*zip(LIGHT, MARKERS, strict=True)]
    return [Series(row["model"], *(looks[n] if n < len(looks) else (OTHER, "o")), row) for n, row in enumerate(rows)]


@contextlib.contextmanager
def sheet(shape: str, height: float):
    """Yields a figure in the style of the report, `height` inches high."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("report.html needs Matplotlib: pip install matplotlib, then `tfrecsession report`") from None
    with rc_context(STYLE):
        yield Figure(figsize=(WIDTHS[shape], height), layout="constrained")


def svg(figure, name: str) -> str:
    """Returns the figure as an `<svg>` element to embed in a page; `name` makes its ids unique."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' (width|height)="[\d.]+pt"| xmlns(:xlink)?="[^"]*"| version="1.1"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--sans)", text)
    text = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", text)
    text = re.sub(r"\n\s*", "\n", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text.strip()


def svg_described(element: str, words: str) -> str:
    """Returns the element as an image with the accessible description `words`."""
    from markupsafe import Markup, escape

    return Markup(element.replace("<svg", f'<svg role="img" aria-label="{escape(words)}"', 1))


# Names instead of a legend -------------------------------------------------------------------------------------------


def names_at_the_end(axes, ends: list[tuple[float, float, Series]], gap: float = 0.058) -> None:
    """Writes each line's name beside its last point (x, y), at least `gap` (of the height) apart."""
    low, high = axes.get_ylim()
    wanted = [(y - low) / (high - low) for _, y, _ in ends]
    right = max((x for x, _, _ in ends), default=0)
    for place, (_, y, model) in zip(spread(wanted, gap), ends, strict=True):
        axes.annotate(
            model.label,
            (right, y),
            (10, (place - (y - low) / (high - low)) * axes.bbox.height * 72 / axes.figure.dpi),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": model.color,
                "linewidth": 0.8,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def spread(wanted: list[float], gap: float) -> list[float]:
    """Returns positions in the order of `wanted`, at least `gap` apart, in [0, 1], as near to `wanted` as possible."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    clusters = []  # [sum of (wanted - offset in the cluster), size]
    for number in order:
        clusters.append([wanted[number], 1])
        while len(clusters) > 1 and _top(clusters[-2], gap) + gap > _bottom(clusters[-1], gap):
            total, size = clusters.pop()
            clusters[-1][0] += total
            clusters[-1][1] += size
    places = [_bottom(cluster, gap) + gap * n for cluster in clusters for n in range(cluster[1])]
    shift = min(0.0, 1.0 - places[-1]) if places else 0.0
    found = [0.0] * len(wanted)
    for number, place in zip(order, places, strict=True):
        found[number] = place + shift
    return found


def _bottom(cluster, gap):
    return cluster[0] / cluster[1] - gap * (cluster[1] - 1) / 2


def _top(cluster, gap):
    return cluster[0] / cluster[1] + gap * (cluster[1] - 1) / 2


def names_beside(axes, points: list[tuple[float, float, Series]]) -> None:
    """Writes each point's name to its right, left, above or below: at the first free position.

    If there is none, models without a look of their own get no name.
    """
    from matplotlib.transforms import Bbox

    unit = axes.figure.dpi / 72
    box = axes.bbox
    centres = [axes.transData.transform((x, y)) for x, y, _ in points]
    taken = [Bbox.from_bounds(x - 6 * unit, y - 6 * unit, 12 * unit, 12 * unit) for x, y in centres]
    for (x, y, model), (left, bottom) in zip(points, centres, strict=True):
        width, height = 5.6 * len(model.label) * unit, 11 * unit
        options = [
            (9, 0, "left", "center", left + 9 * unit, bottom - height / 2),
            (-9, 0, "right", "center", left - 9 * unit - width, bottom - height / 2),
            (0, 9, "center", "bottom", left - width / 2, bottom + 9 * unit),
            (0, -9, "center", "top", left - width / 2, bottom - 9 * unit - height),
            (9, 11, "left", "bottom", left + 9 * unit, bottom + 11 * unit),
            (9, -11, "left", "top", left + 9 * unit, bottom - 11 * unit - height),
        ]
        boxes = [Bbox.from_bounds(at, floor, width, height) for *_, at, floor in options]
        hits = [
            place.count_overlaps(taken) + 100 * (place.x0 < box.x0 or place.x1 > box.x1 + 4 * unit) for place in boxes
        ]
        if min(hits) and not model.named:
            continue
        best = hits.index(min(hits))
        dx, dy, ha, va = options[best][:4]
        taken.append(boxes[best])
        name = axes.annotate(model.label, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=9)
        name.set_in_layout(False)  # the axes must not move after the names were placed
