"""Runs the code and commands of README, CONTRIBUTING and docs/, and checks their figures."""

import configparser
import csv
import doctest
import importlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

import tfrecsession as trs
from tests import models_table
from tfrecsession.cli import main
from tfrecsession.cli.program import parser
from tfrecsession.cli.values import settings
from tfrecsession.events.shop.shop import Shop

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md"))
API = sorted(page.stem for page in (DOCS / "api").glob("*.md") if page.stem != "index")


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), flags=re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the click log that the README uses."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("readme")
    log = Shop(items=60, sessions=600, seed=1).reader().read_all()
    names = {"item": "click_article_id", "time": "click_timestamp", "session": "session_id", "user": "user_id"}
    pq.write_table(log.rename_columns([names.get(name, name) for name in log.column_names]), folder / "clicks.parquet")
    return folder


def test_every_block_of_the_readme_runs(folder, monkeypatch, capfd):
    """Runs all blocks in order, in one folder: code, commands, make targets, and requests to a server."""
    monkeypatch.chdir(folder)
    names, server = {}, None
    try:
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M):
            if language == "python":
                code = block.replace("saved_models/gru4rec/1", "saved_models/again/1").replace("epochs=10", "epochs=2")
                exec(compile(code, "README.md", "exec"), names)
                continue
            assert language == "sh", block
            for line in block.strip().splitlines():
                program, *words = shlex.split(line, comments=True)
                if program == "make":
                    run_make(words)
                elif program == "pip":
                    check_install(words)
                elif words[0] == "serve":
                    server, port = start_server(words)
                elif program == "curl":
                    url, flag, body = words
                    assert flag == "-d" and (url := urllib.parse.urlsplit(url)).port == 8501
                    request = urllib.request.Request(f"http://127.0.0.1:{port}{url.path}", body.encode())
                    with urllib.request.urlopen(request, timeout=60) as response:
                        answer = json.load(response)
                    assert answer.get("predictions") or len(answer["outputs"]["items"][0]) == 20, answer
                else:
                    assert program == "tfrecsession"
                    words = ["10s" if word == "30m" else word for word in words]  # the budget of a search
                    assert main(words) == 0, line
    finally:
        if server:
            server.terminate()
            server.wait(60)
    assert (folder / "saved_models/again/1/saved_model.pb").exists() and server
    assert "[0." in capfd.readouterr().out  # the code prints the interval of a score


def run_make(words):
    """Checks the commands of a make target; runs them for `demo` with a log (other tests and CI run the rest)."""
    dry_run = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    if words == ["test"]:
        assert "pytest" in dry_run
        return
    ((program, *command),) = (shlex.split(line) for line in dry_run.splitlines() if "tfrecsession demo" in line)
    assert program.endswith("/tfrecsession")
    if len(words) > 1:
        assert main([*command, "--epochs", "1", "--budget", "0"]) == 0, words
    else:
        assert command == ["demo", "--overwrite"]


def check_install(words):
    """Checks that `pip install` names this package and extras that it has."""
    install, package = words
    name, extras = re.fullmatch(r"(\w+)(?:\[([\w,]+)\])?", package).groups()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert (install, name) == ("install", "tfrecsession")
    assert set((extras or "all").split(",")) <= set(setup["options.extras_require"]), package


def start_server(words):
    """Starts `tfrecsession serve ...` as a process on free ports; returns it and its REST port."""
    ports = []
    for option in ("--rest-port", "--grpc-port"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
        words[words.index(option) + 1] = str(ports[-1])
    server = subprocess.Popen([sys.executable, "-m", "tfrecsession", *words])
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/healthz", timeout=5).close()
            return server, ports[0]
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def trained_folder(folder, tmp_path_factory):
    """The state that the pages of docs/ assume: a prepared log, and a small GRU4Rec, trained and exported."""
    trained = tmp_path_factory.mktemp("docs")
    shutil.copy(folder / "clicks.parquet", trained)
    log, clicks, run = trained / "clicks.parquet", trained / "clicks", trained / "runs/gru4rec"
    columns = [
        "--item",
        "click_article_id",
        "--time",
        "click_timestamp",
        "--session",
        "session_id",
        "--user",
        "user_id",
    ]
    small = ["--model", "gru4rec", "--epochs", "1", "--set", "units=[16]", "--set", "negatives=32"]
    for words in (
        ["prepare", log, "--out", clicks, *columns],
        ["train", clicks, "--out", run, *small],
        ["export", run, "--out", trained / "saved_models/gru4rec", "--k", 20],
    ):
        assert main([str(word) for word in words]) == 0
    return trained


def has_code(page):
    return any(blocks(page, language) for language in ("python", "pycon"))


@pytest.mark.parametrize("page", filter(has_code, PAGES))
def test_the_code_of_a_page_runs(page, trained_folder, tmp_path, monkeypatch):
    """Runs every python block, and every pycon block with its output, in one namespace from top to bottom."""
    monkeypatch.chdir(shutil.copytree(trained_folder, tmp_path / "folder"))
    text, names = (ROOT / page).read_text(), {"__name__": "__main__"}
    for block in re.finditer(r"^```(python|pycon)\n(.*?)^```", text, flags=re.S | re.M):
        line, (language, code) = text[: block.start(2)].count("\n"), block.groups()
        if language == "python":
            exec(compile("\n" * line + code, page, "exec"), names)
        else:
            example = doctest.DocTestParser().get_doctest(code, names, page, page, line)
            assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, clear_globs=False).failed == 0
            names = example.globs


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")])
def test_the_commands_of_a_page_are_valid(page):
    """Every `tfrecsession ...` line parses, and every `make ...` line names a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["tfrecsession"]:
                options, rest = parser().parse_known_args(words[1:])  # SystemExit for an unknown option
                assert not rest or getattr(options, "takes_the_rest", False), line
                if words[1] in ("train", "tune"):  # InputError for an unknown model, preset or setting
                    if getattr(options, "earlier", None):  # --from an existing run
                        options.model = "gru4rec"
                    preset = options.preset or "none.json"
                    preset = {} if preset.endswith(".json") else trs.presets.read(preset, options.model)["settings"]
                    trs.training.settings_of(options.model, preset, settings(options.set))
            elif words[:1] == ["make"]:
                assert words[1] in targets, line


@pytest.mark.parametrize("station", API)
def test_a_page_of_the_reference_has_all_public_names(station):
    module = importlib.import_module(f"tfrecsession.{station}")
    shown = re.findall(r"^::: tfrecsession\.(\S+)$", (DOCS / f"api/{station}.md").read_text(), flags=re.M)
    assert shown and all(name.startswith(f"{station}.") for name in shown)
    own = {name for name in getattr(module, "__all__", ()) if station_of(getattr(module, name), station) == station}
    assert own <= {name.rpartition(".")[2] for name in shown}


def station_of(value, default):
    """Returns the folder of the package that defines a class or function; `default` for a plain value."""
    module = getattr(value, "__module__", None) or ""
    return module.split(".")[1] if module.startswith("tfrecsession.") else default


@pytest.mark.parametrize("name", trs.models.MODELS)
def test_every_model_is_listed(name):
    """In the README or the guide, and in the reference under its family, the folder of its module."""
    model = trs.models.MODELS[name]
    listed = f"**{model.__name__}** (`{name}`)"
    assert any(listed in (ROOT / page).read_text() for page in ("README.md", "docs/guide/models.md")), (
        f"docs/guide/models.md: add a paragraph that begins with '{listed}' to the section of its family"
    )
    heading = f"## {model.__module__.split('.')[-2].capitalize()}"
    sections = re.split(r"^(?=## )", (DOCS / "api/models.md").read_text(), flags=re.M)
    (section,) = [text for text in sections if text.startswith(f"{heading}\n")] or [""]
    entry = f"::: tfrecsession.models.{model.__name__}"
    assert entry in section.splitlines(), f"docs/api/models.md: add '{entry}' under '{heading}', as the other models"


def test_the_readme_lists_the_models_as_they_describe_themselves():
    (listed,) = models_table.BLOCK.findall((ROOT / "README.md").read_text())
    assert listed == models_table.table(), "README.md: run python -m tests.models_table --write"


def numbers_of(file):
    """Yields the numbers of a result file, and half of every interval."""
    rows = list(csv.reader(line for line in file.open() if not line.startswith("#")))
    for row in rows[1:]:
        cells = dict(zip(rows[0], row, strict=True))
        for name, cell in cells.items():
            try:
                yield float(cell)
                if name.endswith("_low"):
                    yield (float(cells[f"{name[:-4]}_high"]) - float(cell)) / 2
            except ValueError:
                if name == "by_seed":
                    yield from map(float, re.findall(r"[\d.]+", cell))


@pytest.mark.parametrize("page", ["README.md", "docs/which_model.md", "docs/measured.md"])
def test_the_figures_of_a_page_are_in_the_result_files_it_cites(page):
    text = (ROOT / page).read_text()
    results = ROOT / "benchmarks/results"
    # `name.csv`, or `name.py`, which writes files of that prefix
    cited = {results / name for name in re.findall(r"`(?:results/)?([\w.-]+\.csv)`", text)}
    cited |= {file for name in re.findall(r"(\w+)\.py", text) for file in results.glob(f"{name}*.csv")}
    numbers = [number for file in cited for number in numbers_of(file)]
    figures = set(re.findall(r"(?<![\w.-])-?\d+\.\d{3,4}(?![\w.])", text))
    figures -= {"0.6832", "0.2863"}  # reported by the NARM paper
    assert figures
    for figure in figures:
        digits = len(figure.partition(".")[2])
        near = 0.5001 * 10**-digits  # the last digit of a file may be rounded either way
        assert any(abs(abs(number) - abs(float(figure))) <= near for number in numbers), figure


def test_the_site_builds_without_warnings_and_loads_nothing_from_other_hosts(tmp_path):
    """Builds without TensorFlow, Keras and Ibis, because the reference is read from the source files."""
    pytest.importorskip("mkdocs")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'ibis'])); "
        f"from mkdocs.__main__ import cli; cli(['build', '--strict', '--site-dir', {str(tmp_path / 'site')!r}])"
    )
    built = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    loaded = re.compile(r"<(?:script|img|iframe)[^>]+src=[\"']?(?:https?:)?//|<link[^>]+rel=.?(?:stylesheet|preconnect)"
                        r"[^>]+href=[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//")  # fmt: skip
    for file in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        assert not loaded.search(file.read_text()), file


@pytest.mark.parametrize("page", sorted((DOCS / "guide").glob("*.md")), ids=lambda page: page.stem)
def test_the_prose_of_the_guide_has_120_columns(page):
    prose = re.sub(r"^( *)```.*?^ *```", "", page.read_text(), flags=re.S | re.M).splitlines()
    assert [line for line in prose if len(line) > 120 and not line.startswith(("|", "    "))] == []
