"""STABR, SABR and plain baselines: songs and their tags read by attention, beside repeating the last songs.

    TFRECSESSION_DATA=... python benchmarks/attentive_music.py --data hetrec_lastfm --out DIR
    TFRECSESSION_DATA=... python benchmarks/attentive_music.py --data kkbox --out DIR

`the last songs` recommends the songs of the session so far, the newest first. Metrics and intervals are of the test
split, ranked over the whole catalogue. `difference` is STABR minus SABR, paired by session. The networks have the
model's defaults, untuned. In hetrec_lastfm a session is the artists of a user in a random order, each once.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from content_logs import add_arguments, data_of, measured
from reporting import write_rows

import tfrecsession as trs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "attentive_music_data")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    name, data = data_of(options)
    tags = options.content.split(",") if options.content else ["tags"]
    rows = [{"model": "the last songs", **last_songs(data.test)}]
    for label in ("popularity", "item_knn"):
        rows.append({"model": label, **measured(data, label, {}, 0)[0]})
    given = {"rows": 64, "steps": 20, "epochs": options.epochs}
    for seed in map(int, options.seeds.split(",")):
        row, *_ = measured(data, "gru4rec", {**given, "units": [100]}, seed)
        rows.append({"model": "gru4rec", "seed": seed, **row})
        row, songs, _ = measured(data, "attentive_music", given, seed)
        rows.append({"model": "SABR", "seed": seed, **row})
        row, both, _ = measured(data, "attentive_music", {**given, "tags": tags}, seed)
        rows.append({"model": "STABR", "seed": seed, **row})
        for metric in ("recall@20", "mrr@20"):
            test = trs.evaluation.paired(both, songs, data.test, metric)
            found = {"difference": round(test.difference, 4), "p": round(test.p_value, 4)}
            low, high = (round(bound, 4) for bound in test.interval)
            rows.append({"model": "STABR - SABR", "seed": seed, "metric": metric, **found, "low": low, "high": high})
        write_rows(f"attentive_music_{name}", rows)
    for row in rows:
        print(row, flush=True)


def last_songs(sessions) -> dict:
    """Returns the metrics of recommending the distinct songs of the session so far, the newest first."""
    ranks = []
    for first, end in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True):
        played = sessions.values[first:end].tolist()
        for index in range(1, len(played)):
            newest = list(dict.fromkeys(reversed(played[:index])))
            ranks.append(newest.index(played[index]) + 1 if played[index] in newest else np.inf)
    ranks = np.array(ranks)
    found = {f"recall@{k}": round(float((ranks <= k).mean()), 4) for k in (5, 20)}
    return found | {"mrr@20": round(float(np.where(ranks <= 20, 1 / ranks, 0).mean()), 4)}


if __name__ == "__main__":
    main()
