"""Session networks with and without content: on known items, and on items that training never saw.

    python benchmarks/content.py                                                      # the described shop
    TFRECSESSION_DATA=... python benchmarks/content.py --data online_retail --out DIR  # or a log of content_logs.py

GRU4Rec, untuned, and students (content_to_factors) of the one without content; Recall@20 over the whole catalogue on
the test split. `of_known` are targets with events in training, `of_new` those without; `difference` is that of
Recall@20 on known targets to the network without content, paired by session. The ceiling is the shop's own law; without
the popularity of new items, which content does not tell, it counts each of them as the mean item.
"""

import argparse
import os
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from content_logs import add_arguments, data_of, measured
from reporting import write_rows

from tfrecsession import evaluation

NETWORKS = {
    "content, both, id_dropout=0.5": {"id_dropout": 0.5},
    "content, both": {},
    "content, input": {"content_side": "input"},
}
STUDENTS = {"student, by vectors": {}, "student, by scores": {"error": "scores"}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "content_data")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    name, data = data_of(options)
    columns = options.content.split(",") if options.content else data.items.content.column_names
    is_new = data.items.counts == 0
    rows = []
    if "shop" in data.info:
        for label, known in (("ceiling", True), ("ceiling without the popularity of new items", False)):
            top = evaluation.ceiling(data.info["shop"], data.test, new_popularity=known)
            rows.append({"network": label, **by_target(top, data, is_new)})
            print(rows[-1], flush=True)
    given = {"rows": options.rows, "steps": 16, "units": [options.units], "epochs": options.epochs, "content": columns}
    for seed in map(int, options.seeds.split(",")):
        found, base, teacher = measured(data, "gru4rec", {**given, "content": ()}, seed)
        add(rows, "ids alone", seed, found, base, None, data, is_new)
        runs = [(label, "gru4rec", {**given, **settings}) for label, settings in NETWORKS.items()]
        taught = {"content": columns, "teacher": teacher}
        runs[1:1] = [(label, "content_to_factors", {**taught, **settings}) for label, settings in STUDENTS.items()]
        for label, model, settings in runs:
            found, scored, _ = measured(data, model, settings, seed)
            add(rows, label, seed, found, scored, base, data, is_new)
            write_rows(f"content_{name}", rows)


def add(rows, label, seed, found, scored, base, data, is_new) -> None:
    """Appends the row of a network, compared with that of ids alone."""
    rows.append({"network": label, "seed": seed, **found, **by_target(scored, data, is_new)})
    if base is not None:
        test = evaluation.paired(*(only(each, data, ~is_new) for each in (scored, base)), data.test, "recall@20")
        low, high = test.interval
        rows[-1] |= {"difference": round(test.difference, 4), "low": round(low, 4), "high": round(high, 4)}
    print(rows[-1], flush=True)


def only(scored, data, kept):
    """Returns the part of an evaluation whose targets are `kept`, bool [items]."""
    chosen = kept[data.test.values[scored.event] - 2]
    return replace(scored, event=scored.event[chosen], ranks=scored.ranks[chosen])


def by_target(scored, data, is_new) -> dict:
    found = {"events": len(scored.event)}
    for name, kept in (("of_known", ~is_new), ("of_new", is_new)):
        part = only(scored, data, kept)
        if len(part.event):
            found |= {f"{name}@20": round(float((part.ranks <= 20).mean()), 4), f"{name}_events": len(part.event)}
    return found


if __name__ == "__main__":
    main()
