"""The report of a search: why this model, what was tried, cost against quality."""

from __future__ import annotations

from html import escape
from math import log10
from pathlib import Path

from tfrecsession.staging import replace_file

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
th { text-align: left; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.chosen { font-weight: 600; } code { background: #f4f4f4; padding: 0 .2rem; } td.settings { font-size: 12px; }
svg text { font: 12px system-ui, sans-serif; fill: #444; }
"""
WIDTH, HEIGHT, MARGIN = 720, 320, 55
SHOWN = 40  # rows of the leaderboard


def why(result: dict) -> list[str]:
    """Returns sentences that say why this model was chosen."""
    rows = [row for row in result["leaderboard"] if row["within_limits"]]
    metric, chosen = result["metric"], result["chosen"]
    trials = ", ".join(f"{count} {state}" for state, count in result["trials"].items() if count)
    found = []
    if result["model"] == "blend":
        blend = result["blend"]
        names = " and ".join(row["model"] for row in rows if row["key"] in chosen)
        found.append(
            f"A blend of {names} is better than {rows[0]['model']} alone by {blend['difference']:.4f} in {metric}, on "
            f"sessions of validation that its weights were not learned on (p = {blend['p']:.4f})."
        )
    elif len(result["leaderboard"]) == 1 and result["model"] == "popularity":
        found.append("The budget was too small to try another model than popularity; give a larger one.")
    elif not rows:
        found.append("No model respects the limits, so that popularity was chosen.")
    else:
        best = next(row for row in rows if row["key"] == chosen[0])
        found.append(f"{best['model']} has the highest {metric} on validation, {best['value']:.4f}.")
        if other := next((row for row in rows if row["model"] != best["model"]), None):
            found.append(f"The best other model is {other['model']} with {other['value']:.4f}.")
        if blend := result["blend"]:
            found.append(f"A blend was not taken: {blend['because']}.")
    if outside := sorted({row["model"] for row in result["leaderboard"] if not row["within_limits"]}):
        found.append(f"Beyond the limits of latency or size: {', '.join(outside)}.")
    found.append(f"Trials: {trials}, in {result['seconds']:.0f} seconds of {result['budget']:.0f}.")
    if result["left_out"]:
        found.append(f"The budget could not pay for all candidates of {', '.join(result['left_out'])}.")
    found += [f"{trial['model']} failed: {trial['error']}." for trial in result["failed"]]
    if result["held_out"]:
        found.append(
            f"The data has no validation split: the newest {result['held_out']:,} sessions of train were held out."
        )
    if not result["refit"]:
        again = "was not fitted again: no budget was left"
    elif result.get("continued"):
        again = "was fitted again on train and validation"
        if result["model"] == "blend" and len(result["continued"]) < len(chosen):
            again = "has members that were fitted again on train and validation"
        else:
            again = "saw validation too"
        names = " and ".join(result["continued"])
        again += f"; {names} continued from the weights so far on the newest sessions, as no budget was left for more"
    else:
        again = "was fitted again on train and validation"
    found.append(f"The model {again}, and scored once on {result['split']}.")
    return found


def write_search_report(result: dict, file: Path) -> None:
    """Writes report.html."""
    result = {**result, "why": result.get("why") or why(result)}
    metrics = "".join(
        f"<tr><td>{escape(name)}</td><td class=number>{value:.4f}</td><td>{_interval(result, name)}</td></tr>"
        for name, value in result["metrics"].items()
    )
    rows = "".join(_row(result, row) for row in result["leaderboard"][:SHOWN])
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in result["why"])
    weights = _weights(result)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The best model: {escape(result["model"])}</title>
<style>{STYLE}</style></head><body>
<h1>The best model: {escape(result["model"])}</h1>
<h2>Why this model</h2>{sentences}{weights}
<h2>On {escape(result["split"])}</h2>
<p>{result["events"]:,} events, next item among all items, ties against the model. One recommendation takes
{result["latency_ms"]:.1f} ms in Python; the model has {result["bytes"] / 1e6:.1f} MB.</p>
<table><tr><th>metric</th><th class=number>value</th><th>95% interval</th></tr>{metrics}</table>
<h2>Cost against quality</h2>{_chart(result)}
<h2>What was tried</h2>
<p>Candidates fitted on all of train, by {escape(result["metric"])} on validation. The latency of those that were far
behind was not measured (-).</p>
<table><tr><th>model</th><th class=number>{escape(result["metric"])}</th><th class=number>seconds</th>
<th class=number>answer ms</th><th class=number>MB</th><th>settings</th></tr>{rows}</table>
</body></html>
"""
    replace_file(file, page)


def _interval(result: dict, name: str) -> str:
    interval = result["intervals"].get(name)
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _weights(result: dict) -> str:
    blend = result["blend"] or {}
    if not blend.get("accepted"):
        return ""
    names = {row["key"]: row["model"] for row in result["leaderboard"]}
    lines = []
    for first, weights in zip(blend["lengths"], blend["weights"], strict=True):
        parts = ", ".join(f"{names[key]} {weight:.2f}" for key, weight in zip(blend["members"], weights, strict=True))
        lines.append(f"<li>histories of {first} items and more: {escape(parts)}</li>")
    return f"<p>Weights:</p><ul>{''.join(lines)}</ul>"


def _row(result: dict, row: dict) -> str:
    settings = ", ".join(f"{name}={value!r}" for name, value in row["settings"].items() if value is not None)
    mark = " class=chosen" if row["key"] in result["chosen"] else ""
    numbers = (f"{row['value']:.4f}", f"{row['seconds']:.1f}", _time(row), f"{row['bytes'] / 1e6:.1f}")
    cells = "".join(f"<td class=number>{number}</td>" for number in numbers)
    return f"<tr{mark}><td>{escape(row['model'])}</td>{cells}<td class=settings>{escape(settings)}</td></tr>"


def _time(row: dict) -> str:
    return "-" if row["latency_ms"] is None else f"{row['latency_ms']:.1f}"


def _chart(result: dict) -> str:
    """Draws the metric of every candidate against its latency, on a log axis."""
    rows = [row for row in result["leaderboard"] if row["latency_ms"] is not None]
    times = [log10(max(row["latency_ms"], 1e-3)) for row in rows]
    low, high = min(times) - 0.1, max(times) + 0.1
    top = max(max(row["value"] for row in rows), 1e-9) * 1.1
    marks, named = [], set()
    for row, at in zip(rows, times, strict=True):
        x = MARGIN + (at - low) / (high - low) * (WIDTH - 2 * MARGIN - 60)
        y = HEIGHT - MARGIN - row["value"] / top * (HEIGHT - 2 * MARGIN)
        chosen = row["key"] in result["chosen"]
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if chosen else 4}" fill="{"#c33" if chosen else "#369"}" '
            f'fill-opacity=".7"><title>{escape(row["model"])} {row["value"]:.4f}</title></circle>'
        )
        if row["model"] not in named:  # the best of each model has its name beside it
            named.add(row["model"])
            marks.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(row["model"])}</text>')
    base = HEIGHT - MARGIN
    axes = f'<path d="M{MARGIN} {MARGIN}V{base}H{WIDTH - MARGIN}" fill="none" stroke="#999"/>'
    axes += "".join(
        f'<text x="{MARGIN - 6}" y="{base - share * (HEIGHT - 2 * MARGIN) + 4:.1f}" text-anchor="end">'
        f"{share * top:.3f}</text>"
        for share in (0, 0.5, 1)
    )
    axes += f'<text x="{MARGIN}" y="{base + 18}">{10**low:.2g} ms</text>'
    axes += f'<text x="{WIDTH - MARGIN}" y="{base + 18}" text-anchor="end">{10**high:.2g} ms, one recommendation</text>'
    axes += f'<text x="{MARGIN}" y="{MARGIN - 12}">{escape(result["metric"])} on validation</text>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axes}{"".join(marks)}</svg>'
