"""A refit with the items of train and validation together, against one with those of train, on news (Globo).

    TFRECSESSION_DATA=... python benchmarks/refit_vocabulary.py --out DIR [--users 12]

Sessions of every 12th user. Test is the last day, validation the day before it, and items that train lacks are kept.
Each model is fitted to train ("none"), to train and validation with the items of train ("train"), and with the items of
both ("both", `train --refit`). All are scored on the same events; targets that a model does not know are misses.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd
from reporting import intervals, write_rows
from tuned import GLOBO

import tfrecsession as trs
from tfrecsession.training.refit import with_validation

MODELS = ("session_popularity", "markov", "item_knn", "vsknn", "slist")


def prepared(folder: Path, out: Path, users: int):
    clicks = pd.read_parquet(folder / "globo" / "clicks.parquet")
    few = clicks[clicks[GLOBO["user"]] % users == 0]
    trs.prepare(few, out / "data", **GLOBO, validation_span="1d", unknown_items="keep", overwrite=True)
    return trs.load(out / "data")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data")
    parser.add_argument("--users", type=int, default=12, help="one of so many users is read")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs Globo's log")
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    data = prepared(Path(folder), out, options.users)
    fitted_on = {"none": data, "train": with_validation(replace(data, joint=None))[0], "both": with_validation(data)[0]}
    rows = []
    for name in MODELS:
        for items, part in fitted_on.items():
            settings = trs.training.settings_of(name, {"dense_items": 4000} if name == "slist" else {})
            built = trs.training.build(name, part.items, settings)
            trs.training.fit(built, part, settings)
            test = data.coded_for(built.items).test
            found = trs.evaluation.evaluate(built, test, (20,), slices=False)
            scores = {metric: round(found.metrics[metric], 4) for metric in ("recall@20", "mrr@20")}
            bounds = {metric: round(value, 4) for metric, value in intervals(found).items()}
            unknown = int(np.count_nonzero(test.scored & (test.values == 1)))
            row = {"model": name, "items": items, "catalogue": len(built.items), "events": found.events}
            rows.append({**row, "unknown_targets": unknown, **scores, **bounds})
            print(rows[-1], flush=True)
    write_rows("refit_vocabulary_globo", rows)


if __name__ == "__main__":
    main()
