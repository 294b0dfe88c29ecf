"""Real logs with a table of what their items are made of, and the described shop, for the benchmarks of content."""

import os
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from reporting import intervals

import tfrecsession as trs
from tfrecsession import evaluation, training

SHOP = {"late": 0.3, "described": True, "unseen_items": "add", "follow": 0.7, "taste": 0.2, "seed": 1}


def add_arguments(parser, out: str) -> None:
    """Adds --data, --content, --out and the sizes to a parser."""
    parser.add_argument("--data", help=f"a prepared data set, or {', '.join(LOGS)} (default: the described shop)")
    parser.add_argument("--content", help="columns to read, A,B (default: all)")
    parser.add_argument("--out", default=out, help="folder for the prepared log")
    parser.add_argument("--items", type=int, default=1000, help="of the shop")
    parser.add_argument("--sessions", type=int, default=20_000, help="of the shop, and of a real log at most")
    parser.add_argument("--media", action="store_true", help="give the items of the shop photos and songs")


def data_of(options):
    """Returns the name of the data and the data."""
    if options.data is None:
        media = {"media": True} if options.media else {}
        return "shop", trs.synthetic_sessions(items=options.items, sessions=options.sessions, **SHOP, **media)
    if options.data not in LOGS:
        return Path(options.data).resolve().name, trs.load(options.data)
    folder = Path(options.out) / options.data
    if not (folder / "dataset.json").is_file():
        if "TFRECSESSION_DATA" not in os.environ:
            raise SystemExit(f"TFRECSESSION_DATA is not set: this benchmark needs {options.data}")
        read, kinds, more = LOGS[options.data]
        log, items = read(Path(os.environ["TFRECSESSION_DATA"]) / options.data, options.sessions)
        columns = {"item": "item", "session": "session", "items": items, "content": kinds}
        trs.prepare(log, folder, **columns, **{"test_span": "20%", "unseen_items": "add", **more})
    return options.data, trs.load(folder)


def movielens(folder: Path, most: int):
    """Returns the log, a user as a session, and the films with title, genres, plot and year."""
    users = pd.read_csv(folder / "time_ordered_sequences.tsv", sep="\t")
    users = users.sample(n=min(most, len(users)), random_state=0).sort_index()
    films = [text.split() for text in users["movie_ids_in_time_order"]]
    log = pd.DataFrame({"session": users["user_id"].repeat([len(row) for row in films]), "item": sum(films, [])})
    titled = [line.split("::") for line in (folder / "movies.dat").read_text("latin-1").splitlines()]
    told = [line.split("::") for line in (folder / "movies_extrainfos.dat").read_text("latin-1").splitlines()]
    plots = {row[0]: row[9] for row in told if len(row) > 9 and row[9] != "N/A"}
    items = {
        "item": [film for film, _, _ in titled],
        "title": [title.rpartition(" (")[0] for _, title, _ in titled],
        "genres": [genres.split("|") for _, _, genres in titled],
        "plot": [plots.get(film) for film, _, _ in titled],
        "year": [int(title.rpartition("(")[2][:4]) for _, title, _ in titled],
    }
    return log, items


def lastfm(folder: Path, most: int):
    """Returns the artists of each user in a random order, as the log has none, and the tags of the artists."""
    log = pd.read_csv(folder / "user_artists.dat", sep="\t").sample(frac=1, random_state=0)
    users = log.userID.drop_duplicates().iloc[:most]
    log = log.assign(rank=log.userID.map({user: rank for rank, user in enumerate(users)})).dropna(subset="rank")
    log = log.sort_values("rank", kind="stable").rename(columns={"userID": "session", "artistID": "item"})
    given = pd.read_csv(folder / "user_taggedartists.dat", sep="\t")[["artistID", "tagID"]]
    count = given.value_counts().reset_index().groupby("artistID").head(32)  # the most frequent tags of each artist
    tags = count.groupby("artistID").tagID.agg(lambda column: [f"t{tag}" for tag in column])
    return log[["session", "item"]], {"item": tags.index.astype(str).tolist(), "tags": tags.tolist()}


def kkbox(folder: Path, most: int):
    """Returns the newest sessions of plays, and the attributes of the songs, values of ten types in one list."""
    lines = [text for name in ("train", "test") for text in (folder / f"{name}_sessions.txt").read_text().splitlines()]
    songs = [line.split() for line in lines[-most:]]
    log = pd.DataFrame(
        {"session": np.repeat(np.arange(len(songs)), [len(row) for row in songs]), "item": sum(songs, [])}
    )
    told = pd.read_csv(folder / "attributes.txt", sep=" ", names=["item", "type", "value"], dtype=str)
    tags = (told.type + ":" + told.value).groupby(told.item).agg(list)
    return log, {"item": tags.index.tolist(), "tags": tags.tolist()}


def online_retail(folder: Path, most: int):
    """Returns the newest invoices that are no cancellation, and the articles with title and price."""
    lines = pd.read_parquet(folder / "online_retail.parquet")
    lines = lines[(lines.Quantity > 0) & (lines.UnitPrice > 0)]
    newest = lines.InvoiceNo.drop_duplicates().iloc[-most:]
    log = lines[lines.InvoiceNo.isin(set(newest))]
    columns = {"StockCode": "item", "InvoiceDate": "time", "InvoiceNo": "session"}
    articles = lines.groupby(lines.StockCode.astype(str))
    title = articles.Description.agg(lambda column: column.mode().iloc[0] if column.notna().any() else None)
    price = articles.UnitPrice.median()
    items = {"item": title.index.tolist(), "title": title.tolist(), "price": price.tolist()}
    return log.rename(columns=columns)[["session", "item", "time"]], items


LOGS = {  # name -> reader, kinds of the columns, options of `prepare`
    "ml-1m": (movielens, ["title:words", "genres:list", "plot:words", "year:number"], {"unseen_items": "leave"}),
    "hetrec_lastfm": (lastfm, ["tags:list"], {"unseen_items": "leave"}),
    "kkbox": (kkbox, ["tags:list"], {}),
    "online_retail": (online_retail, ["title:words", "price:number"], {"time": "time"}),
}


def measured(data, name: str, given: dict, seed: int):
    """Trains a model and evaluates it on the test split; returns the columns of a row, the evaluation and the model."""
    keras.utils.set_random_seed(seed)
    settings = training.settings_of(name, given)
    model = training.build(name, data.items, settings)
    start = time.perf_counter()
    training.fit(model, data, settings, seed)
    seconds = time.perf_counter() - start
    scored = evaluation.evaluate(model, data.test, (5, 20), slices=False)
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    found = {name: round(scored.metrics[name], 4) for name in ("recall@5", "recall@20", "mrr@20")}
    bounds = {name: round(bound, 4) for name, bound in intervals(scored).items()}
    return {**found, **bounds, "parameters": parameters, "seconds": round(seconds, 1)}, scored, model
