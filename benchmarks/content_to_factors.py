"""Content to factors on held-out items, compared with popularity, neighbours by content, and the true factors.

    python benchmarks/content_to_factors.py                                                # the described shop
    TFRECSESSION_DATA=... python benchmarks/content_to_factors.py --data ml-1m --out DIR   # titles, genres, plots
    python benchmarks/content_to_factors.py --data CLICKS --content title,category         # any prepared data set

A teacher (ALS with the defaults that follow the log) is fitted on all items. A share of them is held out: students
learn from the others alone, and held-out items are unknown in histories. Targets are the held-out items of test events,
ranked among all held-out items, ties against the model, by the teacher's encoding of the history. `true factors`, the
teacher's own vectors, are the upper bound. `error` is the squared error of the held-out vectors, divided by that of the
mean of the others.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from content_logs import add_arguments, data_of
from reporting import write_rows
from scipy import sparse

import tfrecsession as trs
from tfrecsession.batches.item_batches import item_batches
from tfrecsession.models.content.teachers import queries_of

STUDENTS = {
    "linear": {"layers": []},
    "network": {},
    "network, by scores": {"error": "scores"},
    "network, dropout": {"dropout": 0.3},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "content_to_factors_data")
    parser.add_argument("--share", type=float, default=0.2, help="of the items that is held out")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--events", type=int, default=20_000, help="test events that are scored at most")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    name, data = data_of(options)
    content = options.content.split(",") if options.content else None
    teacher = trs.models.ALS.for_data(data)
    teacher.fit(data.train)
    rows = []
    for seed in map(int, options.seeds.split(",")):
        rows += of_seed(data, teacher, content, options, seed)
    write_rows(f"content_to_factors_{name}", rows)


def of_seed(data, teacher, content, options, seed: int):
    seen = np.flatnonzero(data.items.counts > 0) + 2
    held = np.sort(np.random.default_rng(seed).permutation(seen)[: int(options.share * len(seen))]).astype(np.int32)
    queries, targets = events_of(data, teacher, held, options.events, seed)
    print(f"{len(held)} items held out, {len(targets)} events", flush=True)
    true = teacher.score_vectors(held).numpy()  # (held, width)
    taught = np.setdiff1d(seen, held).astype(np.int32)
    rows, losses = [], {}
    tables = {"true factors": true}
    for label, settings in STUDENTS.items():
        keras.utils.set_random_seed(seed)
        model = trs.models.ContentToFactors(data.items, teacher, content=content, **settings)
        model.compile(trs.optimizers.LazyAdagrad(0.1))
        model.training_batches(data.train, {"rows": 64}, seed)  # takes the teacher's vectors
        counts = teacher.item_counts.numpy().copy()
        counts[held] = 0
        model.output_items.learn(taught, counts, queries_of(teacher, data.train) if "error" in settings else None)
        history = model.fit(item_batches(taught, 64, seed), epochs=options.epochs, verbose=0).history
        tables[f"content to factors, {label}"] = model.score_vectors(held).numpy()
        losses[f"content to factors, {label}"] = round(history["loss"][-1], 4)
    tables["neighbours by content"] = by_neighbours(model, teacher, held, taught)
    mean = teacher.score_vectors(taught).numpy().mean(axis=0)
    scores = {label: queries @ table.T for label, table in tables.items()}
    scores["popularity"] = np.tile(data.items.counts[held - 2].astype(float), (len(queries), 1))
    column = np.searchsorted(held, targets)
    for label, found in scores.items():
        ranks = (found >= found[np.arange(len(column)), column][:, None]).sum(axis=1)
        row = {"vectors": label, "seed": seed, "held_out": len(held), "events": len(targets)}
        row |= {"recall@20": round(float((ranks <= 20).mean()), 4), "mrr": round(float((1 / ranks).mean()), 4)}
        if label in tables:
            error = ((tables[label] - true) ** 2).sum() / ((true - mean) ** 2).sum()
            row["error"] = round(float(error), 4)
        rows.append(row | {"loss": losses.get(label, "")})
        print(rows[-1], flush=True)
    return rows


def events_of(data, teacher, held, most: int, seed: int):
    """Returns the teacher's encoding of histories, float [events, width], and their held-out targets, int [events]."""
    is_held = np.zeros(data.items.size, bool)
    is_held[held] = True
    values, offsets = np.asarray(data.test.values), np.asarray(data.test.offsets)
    session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    event = np.flatnonzero(is_held[values] & (np.arange(len(values)) > offsets[session]))
    event = np.random.default_rng(seed).permutation(event)[:most]
    known = np.where(is_held[values], 0, values)
    histories = [known[offsets[session[at]] : at] for at in event]
    kept = [index for index, history in enumerate(histories) if (history > 1).any()]
    encode, found = tf.function(teacher.query_vectors, reduce_retracing=True, autograph=False), []
    for first in range(0, len(kept), 256):
        block = [histories[index] for index in kept[first : first + 256]]
        padded = np.zeros((len(block), max(map(len, block))), np.int32)
        for row, history in zip(padded, block, strict=True):
            row[: len(history)] = history
        found.append(encode(tf.constant(padded)).numpy())
    return np.concatenate(found), values[event[kept]]


def by_neighbours(model, teacher, held, taught, neighbours: int = 10):
    """Returns the mean vector of the taught items nearest by the cosine of words and values, float [held, width]."""
    content = {key: array.numpy() for key, array in model.item_content(tf.range(model.size)).items()}
    parts = []
    for column in model.content.columns:
        if column.kind in ("words", "list", "category"):
            codes = content[column.name]
            weight = content.get(f"{column.name}/weight", np.ones(codes.shape)) * (codes > 1)
            rows = np.repeat(np.arange(len(codes)), codes.shape[1])
            shape = (len(codes), column.codes)
            parts.append(sparse.csr_matrix((weight.ravel(), (rows, codes.ravel())), shape=shape))
    table = sparse.hstack(parts).tocsr()
    lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    table = sparse.diags(1 / np.maximum(lengths, 1e-9)) @ table
    cosines = (table[held] @ table[taught].T).toarray()  # (held, taught)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :neighbours]
    return teacher.score_vectors(taught).numpy()[nearest].mean(axis=1)


if __name__ == "__main__":
    main()
