"""Rows that would vanish inside a quoted field are noticed, and a file can be read as one without quotes."""

import pytest

from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import Columns
from tfrecsession.sessions.prepare import prepare

START = 1_577_836_800
NAMES = ("user", "item", "time", "title")


def log(titles, delimiter="\t", names=NAMES, end="\n"):
    """Returns the text of a file; the position of the title among the columns is that in `names`."""
    lines = [delimiter.join(names)]
    for index, title in enumerate(titles):
        cells = {"user": f"u{index // 4}", "item": "ab"[index % 2], "time": str(START + 600 * index), "title": title}
        lines.append(delimiter.join(cells[name] for name in names))
    return end.join(lines) + end


def count(path, **options):
    events = read_events(path, **options)
    return events.connection.to_pyarrow(events.table.count()).as_py()


def written(path, text):
    path.write_bytes(text.encode())
    return path


STRAY = ["song 1", '"Heroes', "song 3", "song 4", '12"', "song 6"]


@pytest.mark.parametrize("names", [NAMES, ("title", "user", "item", "time"), ("user", "title", "item", "time")])
@pytest.mark.parametrize("suffix", ["tsv", "csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_swallowed_rows_are_named(names, suffix, end, tmp_path):
    path = written(tmp_path / f"plays.{suffix}", log(STRAY, "\t" if suffix == "tsv" else ",", names, end))
    with pytest.raises(InputError) as error:
        read_events(path)
    assert str(error.value).startswith(f"{path}: row 2: a quotation mark opens a field in column 'title'")
    assert "3 rows would be lost: give quote='none'" in str(error.value)
    assert count(path, quote="none") == count(path, quote="") == 6


def test_swallowed_rows_are_noticed_before_rows_are_filtered(tmp_path):
    path = written(tmp_path / "plays.tsv", log(STRAY))
    with pytest.raises(InputError, match="row 2: a quotation mark opens"):
        read_events(path, Columns(where="user <> 'u0'"))
    with pytest.raises(InputError, match="row 2: a quotation mark opens"):
        read_events(written(tmp_path / "latin.tsv", log(STRAY)), encoding="latin-1")


def test_swallowed_rows_of_a_part_are_noticed(tmp_path):
    written(tmp_path / "1.tsv", log(["x"] * 4))
    written(tmp_path / "2.tsv", log(STRAY))
    with pytest.raises(InputError, match="row 6: a quotation mark opens"):
        read_events(tmp_path / "*.tsv")
    assert count(tmp_path / "*.tsv", quote="none") == 10


def test_a_mark_that_never_closes(tmp_path):
    path = written(tmp_path / "plays.tsv", log(["song", '"Heroes', "song", "song"]))
    with pytest.raises(InputError, match="give quote='none'"):
        read_events(path)
    assert count(path, quote="none") == 4


@pytest.mark.parametrize("title", ['"two\nlines"', '"a,\nb"', '"a\nb,c"', '"say ""hi"", she said"', '"a,b,c,d"'])
def test_texts_of_several_lines_are_read(title, tmp_path):
    assert count(written(tmp_path / "plays.csv", log(["song", title, "song"], ","))) == 3


def test_two_columns_and_a_line_break(tmp_path):
    text = 'item,title\na,song\nb,"Hello,\nworld"\na,song\n'
    assert count(written(tmp_path / "titles.csv", text)) == 3


def test_declared_quotes_may_hold_lines_like_rows(tmp_path):
    path = written(tmp_path / "plays.tsv", log(['"a\nu\tb\t1577836800\tc"', "song"]))
    with pytest.raises(InputError, match="1 row would be lost"):
        read_events(path)
    assert count(path, quote='"') == 2


def test_another_mark(tmp_path):
    path = written(tmp_path / "plays.csv", log(["'a,b'", 'song "x'], ","))
    assert count(path, quote="'") == 2


def test_a_header_without_quotes(tmp_path):
    path = written(tmp_path / "plays.csv", 'item,"title\na,x\nb,"y\n')
    events = read_events(path, Columns(context=('"title',)), quote="none")
    assert events.connection.to_pyarrow(events.table).column('"title').to_pylist() == ["x", '"y']


@pytest.mark.parametrize("quote", ["ab", "a", " ", "\t", 5])
def test_marks_that_are_none(quote, tmp_path):
    with pytest.raises(InputError, match="^quote=.*must be one character"):
        read_events(written(tmp_path / "plays.tsv", log(["x"])), quote=quote)


def test_only_tables_have_quotes(tmp_path):
    with pytest.raises(InputError, match="quote= is for csv and tsv, and it is read as jsonl"):
        read_events(written(tmp_path / "log.jsonl", '{"item": "a", "time": 1577836800}\n'), quote="none")
    with pytest.raises(InputError, match="^quote= is for text files"):
        read_events("synthetic:items=10,sessions=10", quote="none")


def test_prepare_takes_the_mark(tmp_path, capsys):
    path = written(tmp_path / "plays.tsv", log(STRAY * 8))
    options = ["--min-item-support", "1", "--test-span", "10%", "--validation-span", "10%"]
    command = ["prepare", str(path), "--out", str(tmp_path / "out"), *options]
    assert main(command) != 0
    assert "give --quote none" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--quote", "none"]) == 0
    info = prepare(path, tmp_path / "py", quote="none", min_item_support=1, test_span="10%", validation_span="10%")
    assert info["steps"][0]["events"] == 48
