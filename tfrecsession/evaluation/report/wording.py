"""The report's sentences."""

from __future__ import annotations

from tfrecsession.evaluation.report.reading import count, listed, metric_name, or_dash, p_value, score, seconds

LEVEL = 0.05  # of significance
RATIO = 1.5  # costs that differ by less are not mentioned


def title(results: dict) -> str:
    labels = [row["model"] for row in results["models"]]
    if len(labels) > 4:
        return f"{len(labels)} models compared"
    return f"{listed(labels)} compared" if len(labels) > 1 else f"{labels[0]} evaluated"


def lead(results: dict) -> str:
    data = results.get("dataset") or {}
    source, events = data.get("source", "a click log"), count(results["protocol"]["events"])
    types = " or ".join(results["protocol"].get("event_types") or ())
    of_types = f" of the type {types}" if types else ""
    return f"Next-item recommendation on {source}: {events} test events{of_types}, each ranked among all items."


def findings(results: dict, rows: list[dict], k: int) -> list[str]:
    """Returns the main findings, most important first."""
    metric, best = f"mrr@{k}", rows[0]
    value = best["metrics"][metric]
    sentences = [f"{best['model']} ranks the next item best: {_scored(best, metric)}, {_scored(best, f'recall@{k}')}."]
    tests = {test["model"]: test for test in results.get("pairs", []) if test["metric"] == metric}
    alike = [row["model"] for row in rows[1:] if row["model"] in tests and tests[row["model"]]["p_holm"] >= LEVEL]
    if alike:
        verb = "is" if len(alike) == 1 else "are"
        sentences.append(f"{listed(alike)} {verb} not significantly different from it on these sessions.")
    next_best = next((row for row in rows[1:] if row["model"] not in alike), None)
    if next_best:
        behind = value - next_best["metrics"][metric]
        sentence = f"{next_best['model']} comes next, {behind:.4f} lower ({behind / value:.0%})"
        if test := tests.get(next_best["model"]):
            low, high = (abs(bound) for bound in reversed(test["interval"] or (behind, behind)))
            p = p_value(test["p_holm"])
            p = f"p {p if p[0] == '<' else '= ' + p}".replace(" ", "\N{NO-BREAK SPACE}")
            sentence += f"; the 95% interval of the difference is {low:.3f} to {high:.3f}, {p}"
        sentences.append(sentence + ".")
    by_recall = max(rows, key=lambda row: row["metrics"][f"recall@{k}"])
    if by_recall is not best:
        sentences.append(f"By Recall@{k}, {by_recall['model']} is best: {_scored(by_recall, f'recall@{k}')}.")
    sentences += _cheaper(rows, metric)
    ceiling = next((row["metrics"].get(metric) for row in results.get("bounds", []) if row["model"] == "ceiling"), None)
    if ceiling:
        highest = f"The highest expected {metric_name(metric)} on this synthetic shop is {ceiling:.4f}"
        sentences.append(f"{highest}; {best['model']} reaches {value / ceiling:.0%} of it.")
    return sentences


def _scored(row: dict, metric: str) -> str:
    bounds = (row.get("intervals") or {}).get(metric)
    value = f"{metric_name(metric)} {score(row['metrics'][metric])}"
    return f"{value} (95%: {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else value


def _cheaper(rows: list[dict], metric: str) -> list[str]:
    """Compares the fitting time of the two best models."""
    if len(rows) < 2 or not all(row.get("train_seconds") for row in rows[:2]):
        return []
    best, other = rows[:2]
    ratio = best["train_seconds"] / other["train_seconds"]
    share = other["metrics"][metric] / best["metrics"][metric]
    faster, slower = sorted((best["train_seconds"], other["train_seconds"]))
    times = f"{seconds(faster)} instead of {seconds(slower)}"
    if ratio >= RATIO:
        reached = f"{other['model']} reaches {share:.0%} of the MRR of {best['model']}"
        return [f"{reached} and fits {ratio:,.0f} times faster ({times})."]
    if ratio <= 1 / RATIO:
        return [f"{best['model']} also fits {1 / ratio:,.0f} times faster than {other['model']} ({times})."]
    return []


def mark(test: dict | None) -> str:
    """Returns "*" if the difference from the best is significant, "=" if it is not, "" for the best itself."""
    return "" if test is None else "*" if test["p_holm"] < LEVEL else "="


def facts(results: dict) -> list[tuple[str, str]]:
    protocol = results["protocol"]
    return [
        ("models", str(len(results["models"]))),
        ("items in the catalogue", count(protocol["catalogue"])),
        ("test sessions", count(protocol["sessions"])),
        ("predicted events", count(protocol["events"])),
        ("list lengths (k)", ", ".join(map(str, protocol["k"]))),
    ]


def protocol_sentences(protocol: dict) -> list[str]:
    return list(protocol.get("rules", {}).values())


def data_sentences(results: dict) -> list[str]:
    data, protocol = results.get("dataset") or {}, results["protocol"]
    sentences = [f"Source: {data['source']}."] if "source" in data else []
    sentences += protocol.get("filters", [])
    lengths = (data.get("lengths") or {}).get("train")
    if lengths:
        sentences.append(
            f"Training sessions have {lengths['mean']:.1f} events on average (median {lengths['median']}, "
            f"maximum {lengths['longest']:,})."
        )
    if popularity := data.get("popularity"):
        sentences.append(
            f"The most popular 1% of the items have {popularity['top_1_percent']:.0%} of the training events, the most "
            f"popular 10% have {popularity['top_10_percent']:.0%}."
        )
    sentences += [f"Note: {note}." if not note.endswith(".") else f"Note: {note}" for note in data.get("notes") or []]
    return [*sentences, f"Fingerprint {results['data']}: the same for the same data and preparation."]


def splits_table(data: dict) -> dict | None:
    if not data.get("splits"):
        return None
    times = [time for time in ("first", "last") if any(split.get(time) for split in data["splits"].values())]
    rows = [
        [
            name,
            *(count(split[key]) for key in ("sessions", "events", "items", "scored_events")),
            *((split.get(time) or "–").replace("T", " ").removesuffix("Z") for time in times),
        ]
        for name, split in data["splits"].items()
    ]
    heads = ["split", "sessions", "events", "items", "predicted events", *times]
    return {"caption": "Splits" + " (times in UTC)" * bool(times), "heads": heads, "rows": rows}


def steps_table(data: dict) -> dict | None:
    if not data.get("steps"):
        return None
    rows = [
        [step["step"], step.get("split", ""), *(or_dash(step[key], count) for key in ("events", "sessions", "items"))]
        for step in data["steps"]
    ]
    return {"caption": "Data after each step", "heads": ["step", "split", "events", "sessions", "items"], "rows": rows}


def notes(results: dict, rows: list[dict], k: int) -> list[str]:
    """Returns the notes below the table."""
    sentences = []
    if results.get("pairs"):
        sentences.append(
            "* differs significantly from the best of the column (p < 0.05 after Holm's correction); = does not, on "
            "these sessions."
        )
    if latency := next((row["cost"]["latency_ms"] for row in rows if row.get("cost")), None):
        sentences.append(
            "Fit time: wall time. Events/s: test events ranked per second. Latency: median and 99th percentile of the "
            f"time to recommend {latency['k']} items to one session, over {latency['histories']} sessions. Fit memory: "
            "peak memory while fitting and, below it, while evaluating. A dash means not measured."
        )
    if any(bound["model"] == "chance" for bound in results.get("bounds", [])):
        sentences.append("Chance: the expected scores of a random ranking.")
    if any(bound["model"] == "ceiling" for bound in results.get("bounds", [])):
        sentences.append("Ceiling: the synthetic shop's own probabilities as a model; others can beat it only by luck.")
    return sentences


def footer(results: dict, rows: list[dict]) -> list[str]:
    machines = {
        f"{m['processor']}, {m['cores']} cores{''.join(', ' + gpu for gpu in m['accelerators'])}, {m['system']}"
        for row in rows
        if (m := row.get("machine"))
    }
    of_rows = [row["versions"] for row in rows if row.get("versions")]
    versions = {", ".join(f"{name} {version}" for name, version in each.items()) for each in of_rows}
    sentences = [f"Costs were measured on: {'; '.join(sorted(machines))}."] if machines else []
    sentences += [f"Models were fitted with: {'; or '.join(sorted(versions))}."] if versions else []
    version = results.get("versions", {}).get("tfrecsession", "")
    created = results.get("created", "")
    return [*sentences, f"Created {created} by tfrecsession {version} compare, seed {results['seed']}."]
