"""Presets of Hugging Face, fetched by its own library from a stand-in of the hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = """
import sys
from tfrecsession import InputError
from tfrecsession.presets import hub
try:
    print(hub.folder_of(sys.argv[1]))
except InputError as error:
    print("error:", error)
"""


@pytest.fixture
def repository(tmp_path):
    """A folder of files that the stand-in serves as `user/name`."""
    folder = tmp_path / "repository"
    for name, text in {"preset.json": "{}", "assets/items.parquet": "PAR1", "large.bin": "not of a preset"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def endpoint(repository):
    """The address of a server with the routes of the hub: a revision, its list of files, the content of a file."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(content=False)

        def do_GET(self):
            self.answer(content=True)

        def answer(self, content):
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/user/name"):
                names = [file.relative_to(repository).as_posix() for file in repository.rglob("*") if file.is_file()]
                found = {"id": "user/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                if "/tree/" in path:
                    found = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in names]
                body, headers = json.dumps(found).encode(), {"Content-Type": "application/json"}
            elif path.startswith("/user/name/resolve/"):
                body = (repository / path.split("/", 5)[5]).read_bytes()
                headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
            else:
                body, headers = b"", {"X-Error-Code": "RepoNotFound"}
            self.send_response(200 if body else 404)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if content:
                self.wfile.write(body)

        def log_message(self, *_):
            """Prints nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetched(name, endpoint, cache):
    """The output of a process that fetches a preset; the library reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, name], capture_output=True, text=True, env={**os.environ, **settings}, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_a_folder_is_fetched_once_and_read_without_the_network(endpoint, repository, tmp_path):
    folder = fetched("hf://user/name", endpoint, tmp_path / "cache")
    assert folder == str(tmp_path / f"cache/models--user--name/snapshots/{COMMIT}")
    files = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/**/*") if path.is_file()}
    assert files == {"preset.json", "items.parquet"}  # nothing else of the repository
    nowhere = "http://127.0.0.1:9"  # no server answers there
    assert fetched("hf://user/name", nowhere, tmp_path / "cache") == folder
    line = fetched("hf://user/name", nowhere, tmp_path / "empty")
    assert line.startswith("error: hf://user/name: cannot be fetched (") and "check the name and the network" in line


def test_a_name_that_the_hub_does_not_have_is_one_line(endpoint, tmp_path):
    line = fetched("hf://user/other", endpoint, tmp_path / "cache")
    assert line.startswith("error: hf://user/other: cannot be fetched (")
