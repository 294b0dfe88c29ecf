"""A file or table whose content does not fit its format is a one-line error that names it."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.readers import read_events

START = 1_577_836_800  # 2020-01-01 00:00:00 UTC


def message(source, **options):
    with pytest.raises(InputError) as error:
        read_events(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet_bytes():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"item": [1, 2, 3], "time": [START] * 3}), sink)
    return sink.getvalue().to_pybytes()


def test_a_missing_file(tmp_path):
    assert message(tmp_path / "nope.csv") == f"{tmp_path / 'nope.csv'}: no such file or folder"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.txt", "a.csv.gz"])
def test_an_empty_file(name, tmp_path):
    assert message(write(tmp_path / name, b"")).endswith(f"{name}: the file is empty")


@pytest.mark.parametrize(("name", "content"), [("a.csv", "item,time\n"), ("a.tsv", "item\ttime"), ("a.txt", "\n \n")])
def test_a_file_without_events(name, content, tmp_path):
    assert "there are no events in it" in message(write(tmp_path / name, content))


def test_a_table_without_rows(tmp_path):
    table = pa.table({"item": pa.array([], pa.string())})
    pq.write_table(table, tmp_path / "log.parquet")
    for source in (tmp_path / "log.parquet", table, table.to_pandas(), table.to_reader()):
        assert "there are no events in it" in message(source)


PARQUET = parquet_bytes()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.parquet", b"item,time\n1,2\n", r"not a Parquet file; it begins: b'item,time\n1,2\n'"),
        ("a.parquet", PARQUET[:-20], "cannot be read: "),
        ("a.parquet", PARQUET[:100], "cannot be read: "),
        ("a.csv", PARQUET, "not a CSV file in UTF-8; it begins like Parquet: b'PAR1"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "not a CSV file in UTF-8; it begins: b'\\x89PNG"),
        ("a.csv", b"PK\x03\x04\x00", "like a zip archive or a workbook"),
        ("a.csv", '{"item": 1}\n', "not a CSV file in UTF-8; it begins like JSON Lines"),
        ("a.csv", gzip.compress(b"item\n1\n", mtime=0), "it begins like gzip (name it .gz)"),
        ("a.csv", "item\né\n".encode("latin1"), "not a CSV file in UTF-8"),
        ("a.csv", "item\n1\n".encode("utf-16"), "not a CSV file in UTF-8"),
        ("a.csv", b"item\n" + b"1\n" * 5000 + b"\xff\n", "not utf-8"),
        ("a.csv", "\nitem\n", "the first line is empty"),
        ("a.csv", "item,time,Item\n1,2,3\n", "two columns are called 'Item'"),
        ("a.csv", f"item,time\n1,{START}\n2\n", "CSV Error on Line: 3"),
        ("a.csv", f'item,time\n1,{START}\n"2,{START}\n', "unterminated quote"),
        ("a.jsonl", "item,time\n", "not JSON Lines (one object per line) in UTF-8; it begins: b'item,time\\n'"),
        ("a.jsonl", '[{"item": 1}]', "like a JSON array (write one object per line)"),
        ("a.json", '{\n  "item": 1\n}\n', "like indented JSON (write one object per line)"),
        ("a.jsonl", '{"item": 1}\n{"item": \n', "Malformed JSON"),
        ("a.jsonl", '{"item": 1}\n5\n', "some lines are not objects"),
        ("a.txt", PARQUET, "not a text file in UTF-8 with a session per line; it begins like Parquet"),
        ("a.xlsx", "x", "unknown suffix '.xlsx'; known are .csv, .tsv, .jsonl"),
        ("a", "x", "give format=, one of csv, tsv, jsonl, parquet, txt"),
    ],
)
def test_a_file_that_does_not_fit_its_suffix(name, content, expected, tmp_path):
    error = message(write(tmp_path / name, content))
    assert error.startswith(f"{tmp_path / name}: ")
    assert expected in error


def test_a_gzip_file_that_is_not_gzip_or_is_truncated(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"item\n1\n")
    assert "a.csv.gz: not a gzip file; it begins: b'item\\n1\\n'" in message(path)
    path.write_bytes(gzip.compress(b"item\n" + os.urandom(100_000).hex().encode())[:20_000])
    assert "a.csv.gz: cannot be read" in message(path)


def test_folders_that_are_not_logs(tmp_path):
    assert "no *.parquet, *.csv, *.tsv, *.jsonl, *.ndjson, *.json file in this folder" in message(tmp_path)
    assert "no *.tsv file in this folder" in message(tmp_path, format="tsv")
    pq.write_table(pa.table({"item": [1]}), tmp_path / "a.parquet")
    (tmp_path / "c.csv").write_text("item\n1\n")
    assert "several formats (1 of parquet, 1 of csv): choose one with format=" in message(tmp_path)
    (tmp_path / "c.csv").unlink()
    (tmp_path / "b.parquet").write_text("item\n1\n")
    assert "b.parquet: not a Parquet file" in message(tmp_path)


def test_sources_and_formats_that_do_not_exist(tmp_path):
    assert "cannot read events from int" in message(5)
    path = write(tmp_path / "a.csv", "item\n1\n")
    assert message(path, format="xls") == "format='xls': choose one of csv, tsv, jsonl, parquet, txt, grouplens"


def test_two_columns_of_one_name_in_memory():
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["item", "item"])
    assert "two columns are called 'item'" in message(table)


def test_a_stream_that_was_read_before_has_no_events():
    stream = pa.table({"item": ["a"]}).to_reader()
    stream.read_all()
    assert "there are no events in it" in message(stream)
