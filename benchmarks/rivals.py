"""Models without gradients on yoochoose1_64: original split, next event, whole catalogue.

TFRECSESSION_DATA=... python benchmarks/rivals.py
"""

import argparse
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows
from yoochoose import score

import tfrecsession as trs

# The defaults, other weightings of the history, and the settings of the authors of session-rec and SLIST for this data.
SETTINGS = [
    ("random", {}),
    ("popularity", {}),
    ("session_popularity", {}),
    ("item_knn", {}),
    ("item_knn", {"history": "div"}),
    ("association_rules", {}),
    ("association_rules", {"history": "quadratic"}),
    ("markov", {}),
    ("markov", {"history": "quadratic"}),
    ("sequential_rules", {}),
    ("sequential_rules", {"steps": 4, "decay": "quadratic"}),
    ("sequential_rules", {"history": "quadratic"}),
    ("session_aggregation", {}),
    ("slist", {"dense_items": 2000}),
    ("slist", {"dense_items": 2000, "alpha": 0.4}),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names of models, a,b; default: all")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    rows = []
    with tempfile.TemporaryDirectory() as out:
        given = f"{folder}/yoochoose1_64"
        trs.prepare(f"{given}/train_sessions.txt", f"{out}/data", test_input=f"{given}/test_sessions.txt")
        data = trs.load(f"{out}/data")
        assert data.train.events and len(data.train.values)  # loads the data before timing
        for name, settings in SETTINGS:
            if options.only and name not in options.only.split(","):
                continue
            row = score(data, name, trs.training.settings_of(name, settings), 0)
            text = " ".join(f"{key}={value}" for key, value in settings.items())
            rows.append({"model": name, "settings": text, **{key: row[key] for key in row if key != "model"}})
            print(rows[-1], flush=True)
    write_rows("rivals", rows)


if __name__ == "__main__":
    main()
