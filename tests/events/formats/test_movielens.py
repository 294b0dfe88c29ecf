"""MovieLens in the files of GroupLens, and as prepared by TensorFlow Datasets."""

import sys

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import Columns

RATED = [("7", "30", 4, 978300760), ("7", "12", 1, 978302109), ("x9", "30", 5, 978301968)]


def lines(delimiter):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in RATED)


def rows(source, **options):
    events = read_events(source, Columns(context=("rating",)), **options)
    table = events.connection.to_pyarrow(events.table.order_by("order")).to_pylist()
    return [(row["user"], row["item"], row["rating"], row["time"] // 1_000_000) for row in table]


@pytest.mark.parametrize(("name", "delimiter"), [("u.data", "\t"), ("ratings.dat", "::"), ("u1.base", "\t")])
def test_grouplens_files(tmp_path, name, delimiter):
    (tmp_path / name).write_text(lines(delimiter))
    assert rows(tmp_path / name, format="grouplens" if name == "u1.base" else None) == RATED


@pytest.mark.parametrize(
    "text", ["userID\tartistID\tweight\n2\t51\t13883\n", "user::item::rating::time\n1::2::3::4\n", "1::2::3\n", "\n"]
)
def test_another_dat_file_is_rejected(tmp_path, text):
    (tmp_path / "ratings.dat").write_text(text)
    with pytest.raises(InputError, match="user, item, rating and time"):
        read_events(tmp_path / "ratings.dat")


def test_a_truncated_line_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "ratings.dat").write_text(lines("::") + "8::30::4\n")
    with pytest.raises(InputError, match="ratings.dat"):
        rows(tmp_path / "ratings.dat")


def test_ratings_are_kept_in_prepared_sessions(tmp_path):
    (tmp_path / "u.data").write_text(
        "".join(f"{u}\t{i}\t{(u + i) % 5 + 1}\t{978300760 + i}\n" for u in range(4) for i in range(3))
    )
    kept = {"min_item_support": 1, "min_session_length": 1, "test_span": "0d", "validation_span": "0d"}
    trs.prepare(tmp_path / "u.data", tmp_path / "out", context=("rating",), **kept)
    train = trs.load(tmp_path / "out").train
    users = np.repeat(train.column("user"), np.diff(train.offsets)).astype(int)
    items = train.items.decode(train.values).astype(int)
    assert (train.column("rating") == (users + items) % 5 + 1).all() and train.events == 12


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A data set with MovieLens' columns, written to disk by TensorFlow Datasets."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "movie_id": np.str_,
            "user_id": np.str_,
            "user_rating": np.float32,
            "timestamp": np.int64,
            "movie_genres": tfds.features.Sequence(np.int64),
        }
    )
    examples = [
        (
            f"{user} {item}",
            {"movie_id": item, "user_id": user, "user_rating": rating, "timestamp": time, "movie_genres": [1, 2]},
        )
        for user, item, rating, time in RATED
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="films",
        version="1.0.0",
        features=features,
        split_datasets={"train": examples},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))


def test_a_prepared_data_set_of_tensorflow_datasets(prepared):
    assert rows("tfds:films") == RATED


@pytest.mark.parametrize("name", ["movielens/100k-ratings", "no-such-data-set"])
def test_missing_data_sets_are_not_downloaded(prepared, name):
    with pytest.raises(InputError, match=f"tfds:{name}: (its files are not in|.*no such data set)"):
        read_events(f"tfds:{name}")


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"pip install tfrecsession\[datasets\]"):
        read_events("tfds:movielens/100k-ratings")
