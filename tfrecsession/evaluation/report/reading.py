"""Number formats of the report."""

from __future__ import annotations


def or_dash(value, read) -> str:
    return "–" if value is None else read(value)


def score(value: float) -> str:
    return f"{value:.4f}"


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{abs(value):.4f}"


def interval(bounds, signed: bool = False) -> str:
    """Formats an interval: [0.2361, 0.2512] -> "0.236–0.251"; "" if there is none."""
    if not bounds:
        return ""
    low, high = bounds
    if signed:
        return " to ".join(f"{'−' if bound < 0 else '+'}{abs(bound):.4f}" for bound in (low, high))
    return f"{low:.3f}–{high:.3f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    if value < 1:
        return f"{1e3 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def bytes_of(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}" if value < 100 * size else f"{value / size:,.0f} {unit}"
    return f"{value:.0f} B"


def metric_name(metric: str) -> str:
    """Formats the name of a metric: "mrr@20" -> "MRR@20"."""
    name, at, k = metric.partition("@")
    return (name.upper() if name in ("mrr", "ndcg", "map") else name.capitalize()) + at + k


def listed(words: list[str]) -> str:
    """Joins words: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
