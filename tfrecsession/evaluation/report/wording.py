"""The report's sentences."""

from __future__ import annotations

from tfrecsession.evaluation.report.reading import count, listed, metric_name, or_dash, p_value, score, seconds

LEVEL = 0.05  # of significance
RATIO = 1.5  # costs that differ by less are not worth a sentence


def title(results: dict) -> str:
    labels = [row["model"] for row in results["models"]]
    if len(labels) > 4:
        return f"{len(labels)} models compared"
    return f"{listed(labels)} compared" if len(labels) > 1 else f"{labels[0]} evaluated"


def lead(results: dict) -> str:
    data = results.get("dataset") or {}
    events = count(results["protocol"]["events"])
    return f"Next-item recommendation on {data.get('source', 'a click log')}: {events} test events, every item ranked."


def findings(results: dict, rows: list[dict], k: int) -> list[str]:
    """What the numbers say, the most important first."""
    metric, best = f"mrr@{k}", rows[0]
    value = best["metrics"][metric]
    said = [f"{best['model']} ranks the next item best: {_scored(best, metric)}, {_scored(best, f'recall@{k}')}."]
    tests = {test["model"]: test for test in results.get("pairs", []) if test["metric"] == metric}
    alike = [row["model"] for row in rows[1:] if row["model"] in tests and tests[row["model"]]["p_holm"] >= LEVEL]
    if alike:
        verb = "is" if len(alike) == 1 else "are"
        said.append(f"{listed(alike)} {verb} not distinguishable from it on these sessions.")
    next_best = next((row for row in rows[1:] if row["model"] not in alike), None)
    if next_best:
        behind = value - next_best["metrics"][metric]
        sentence = f"{next_best['model']} comes next, {behind:.4f} lower ({behind / value:.0%})"
        if test := tests.get(next_best["model"]):
            low, high = (abs(bound) for bound in reversed(test["interval"] or (behind, behind)))
            p = p_value(test["p_holm"])
            p = f"p {p if p[0] == '<' else '= ' + p}".replace(" ", "\N{NO-BREAK SPACE}")
            sentence += f"; the difference is {low:.3f} to {high:.3f} at 95%, {p}"
        said.append(sentence + ".")
    by_recall = max(rows, key=lambda row: row["metrics"][f"recall@{k}"])
    if by_recall is not best:
        said.append(f"By Recall@{k} {by_recall['model']} is ahead: {_scored(by_recall, f'recall@{k}')}.")
    said += _cheaper(rows, metric)
    ceiling = next((row["metrics"].get(metric) for row in results.get("bounds", []) if row["model"] == "ceiling"), None)
    if ceiling:
        share = f"{best['model']} reaches {value / ceiling:.0%} of it"
        said.append(f"The best that anyone could score on this synthetic shop is {ceiling:.4f}: {share}.")
    return said


def _scored(row: dict, metric: str) -> str:
    bounds = (row.get("intervals") or {}).get(metric)
    value = f"{metric_name(metric)} {score(row['metrics'][metric])}"
    return f"{value} (95%: {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else value


def _cheaper(rows: list[dict], metric: str) -> list[str]:
    """What the runner-up costs beside the best."""
    if len(rows) < 2 or not all(row.get("train_seconds") for row in rows[:2]):
        return []
    best, other = rows[:2]
    ratio = best["train_seconds"] / other["train_seconds"]
    share = other["metrics"][metric] / best["metrics"][metric]
    times = f"{seconds(other['train_seconds'])} against {seconds(best['train_seconds'])}"
    if ratio >= RATIO:
        return [f"{other['model']} keeps {share:.0%} of its MRR and fits {ratio:,.0f} times faster ({times})."]
    if ratio <= 1 / RATIO:
        return [f"It also fits {1 / ratio:,.0f} times faster than {other['model']} ({times})."]
    return []


def mark(test: dict | None) -> str:
    """* where the difference to the best is significant, = where it is not, nothing for the best itself."""
    return "" if test is None else "*" if test["p_holm"] < LEVEL else "="


def facts(results: dict) -> list[tuple[str, str]]:
    protocol = results["protocol"]
    return [
        ("models", str(len(results["models"]))),
        ("items in the catalogue", count(protocol["catalogue"])),
        ("test sessions", count(protocol["sessions"])),
        ("events predicted", count(protocol["events"])),
        ("lengths of list", ", ".join(map(str, protocol["k"]))),
    ]


def protocol_sentences(protocol: dict) -> list[str]:
    return list(protocol.get("rules", {}).values())


def data_sentences(results: dict) -> list[str]:
    data, protocol = results.get("dataset") or {}, results["protocol"]
    said = [f"Source: {data['source']}."] if "source" in data else []
    said += protocol.get("filters", [])
    lengths = (data.get("lengths") or {}).get("train")
    if lengths:
        said.append(
            f"A training session has {lengths['mean']:.1f} events on average, {lengths['median']} in the median, "
            f"{lengths['longest']:,} at most."
        )
    if popularity := data.get("popularity"):
        said.append(
            f"The most popular 1% of the items have {popularity['top_1_percent']:.0%} of the training events, the most "
            f"popular 10% have {popularity['top_10_percent']:.0%}."
        )
    said += [f"Note: {note}." if not note.endswith(".") else f"Note: {note}" for note in data.get("notes") or []]
    return [*said, f"Fingerprint {results['data']}: equal for equal data prepared alike."]


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
    return {"caption": "The splits" + ", times in UTC" * bool(times), "heads": heads, "rows": rows}


def steps_table(data: dict) -> dict | None:
    if not data.get("steps"):
        return None
    rows = [
        [step["step"], step.get("split", ""), *(or_dash(step[key], count) for key in ("events", "sessions", "items"))]
        for step in data["steps"]
    ]
    return {"caption": "Left after each step", "heads": ["step", "split", "events", "sessions", "items"], "rows": rows}


def notes(results: dict, rows: list[dict], k: int) -> list[str]:
    """What is said below the table."""
    said = []
    if results.get("pairs"):
        said.append(
            "* differs from the best of the column, p < 0.05 after Holm's correction; = cannot be told from it "
            "on these sessions."
        )
    if answers := next((row["cost"]["latency_ms"] for row in rows if row.get("cost")), None):
        said.append(
            "To fit: wall time. Events/s: test events ranked. One answer: the median time of recommending "
            f"{answers['k']} items to one session, and its 99th percentile, over {answers['histories']} sessions. "
            "Memory: the peak while fitting, and while evaluating. A dash: not measured."
        )
    if any(bound["model"] == "chance" for bound in results.get("bounds", [])):
        said.append("Chance: a random order of the catalogue, in expectation.")
    if any(bound["model"] == "ceiling" for bound in results.get("bounds", [])):
        said.append("Ceiling: the synthetic shop's own probabilities as a model, which nothing beats but by luck.")
    return said


def footer(results: dict, rows: list[dict]) -> list[str]:
    machines = {
        f"{m['processor']}, {m['cores']} cores{''.join(', ' + gpu for gpu in m['accelerators'])}, {m['system']}"
        for row in rows
        if (m := row.get("machine"))
    }
    made_with = [row["versions"] for row in rows if row.get("versions")]
    versions = {", ".join(f"{name} {version}" for name, version in each.items()) for each in made_with}
    said = [f"Costs were measured on: {'; '.join(sorted(machines))}."] if machines else []
    said += [f"Models were made with: {'; or '.join(sorted(versions))}."] if versions else []
    made = results.get("versions", {}).get("tfrecsession", "")
    return [*said, f"Made {results.get('created', '')} by tfrecsession {made} compare, seed {results['seed']}."]
