"""A folder of models, NAME/VERSION/saved_model.pb, with versions that are added and removed."""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfrecsession.export.scann_ops import load_ops_of
from tfrecsession.serving.refusal import Refusal, reason
from tfrecsession.serving.served_folder import checked_folder, number_of
from tfrecsession.serving.shared_tables import SharedTables
from tfrecsession.serving.signature import Signature
from tfrecsession.serving.tensor_protos import warm_up

log = logging.getLogger("tfrecsession.serving")
MANY_ITEMS = 200_000
CARD = Path("assets.extra") / "tfrecsession.json"


@dataclass(frozen=True)
class Version:
    """A version of a model.

    Attributes:
        state: START (seen, perhaps still being written), LOADING, AVAILABLE or END (failed or gone).
        files: (path, size, time of change) of all files in its folder when it was loaded or failed to load.
        signatures, signature_def: its functions, and the SavedModel's own protos; empty unless AVAILABLE.
        card: the description in an export of this package; empty for other SavedModels.
    """

    name: str
    number: int
    state: str = "START"
    error: str = ""
    files: frozenset = frozenset()
    signatures: dict[str, Signature] = field(default_factory=dict)
    signature_def: dict = field(default_factory=dict)
    card: dict = field(default_factory=dict)

    def signature(self, name: str) -> Signature:
        name = name or "serving_default"
        if name not in self.signatures:
            text = f'Serving signature name: "{name}" not found in signature def'
            raise Refusal("INVALID_ARGUMENT", f"{text} (it has {', '.join(sorted(self.signatures))})")
        return self.signatures[name]


class ModelFolder:
    """A folder of models that is checked for changes. Any thread may read it.

    A version is loaded once two checks in a row see the same files, so that an unfinished copy is left alone. If
    loading fails, it is tried again when the files change. An available version keeps answering while its files are
    rewritten. All versions are served; requests without a version get the highest available one.

    Args:
        folder: the folder.
        tables: where the models' large variables lie for all processes of a server; None: in each process.

    Raises:
        InputError: the folder does not exist, or is that of a single model.
    """

    def __init__(self, folder: str | os.PathLike, tables: SharedTables | None = None):
        self.folder, self.tables = checked_folder(folder), tables
        self._seen: dict[tuple[str, int], frozenset] = {}  # the files at the last check
        self._versions: dict[str, dict[int, Version]] = {}  # replaced, never modified, so that readers need no lock

    def look(self) -> None:
        """Loads complete versions and drops removed ones. One thread only."""
        found = {}
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            for path in folder.iterdir():
                if (number := number_of(path)) and path.is_dir():
                    found[folder.name, number] = path
        for name, versions in self._versions.items():
            for number, version in versions.items():
                if (name, number) not in found and version.state != "END":
                    log.info("%s version %d: gone", name, number)
                    self._put(Version(name, number, "END"))
                    self._seen.pop((name, number), None)
                    if self.tables is not None:
                        self.tables.drop(name, number)
        for (name, number), path in sorted(found.items()):
            self._follow(name, number, path)

    def watch(self, stop: threading.Event, seconds: float) -> None:
        """Calls `look` at this interval until `stop`."""
        while not stop.wait(seconds):
            try:
                self.look()
            except OSError as error:  # a folder was removed meanwhile; the next check sees the result
                log.warning("%s: %s", self.folder, error)

    def find(self, name: str, number: int | None = None) -> Version:
        """Returns the available version of this number, or the highest. Raises Refusal (NOT_FOUND)."""
        versions = self._versions.get(name, {})
        ready = [version.number for version in versions.values() if version.state == "AVAILABLE"]
        if number is None and ready:
            return versions[max(ready)]
        if number in ready:
            return versions[number]
        request = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise Refusal("NOT_FOUND", f"Servable not found for request: {request}")

    def states(self, name: str, number: int | None = None) -> list[Version]:
        """Returns all versions ever seen of a model, the highest first, or one of them. Raises Refusal (NOT_FOUND)."""
        versions = self._versions.get(name, {})
        chosen = [versions[each] for each in sorted(versions, reverse=True) if number in (None, each)]
        if not chosen:
            which = f"any versions of model {name}" if number is None else f"version {number} of model {name}"
            raise Refusal("NOT_FOUND", f"Could not find {which}")
        return chosen

    def path(self, version: Version) -> Path:
        return self.folder / version.name / str(version.number)

    def knows(self, name: str) -> bool:
        return name in self._versions

    def all_states(self) -> list[Version]:
        return [version for versions in self._versions.values() for version in versions.values()]

    def _follow(self, name: str, number: int, path: Path) -> None:
        files = files_of(path)
        unchanged = self._seen.get((name, number)) == files
        self._seen[name, number] = files
        known = self._versions.get(name, {}).get(number)
        if known is None or (known.state == "END" and not known.error):
            self._put(known := Version(name, number))
        if known.files == files or not unchanged or not (path / "saved_model.pb").is_file():
            return
        if known.state != "AVAILABLE":
            self._put(Version(name, number, "LOADING"))
        loaded = load(name, number, path, files, self.tables)
        if loaded.error and known.state == "AVAILABLE":
            loaded = replace(known, files=files)  # the rewritten files cannot be loaded: keep the old version
        self._put(loaded)

    def _put(self, version: Version) -> None:
        versions = {**self._versions.get(version.name, {}), version.number: version}
        self._versions = {**self._versions, version.name: versions}


def load(name: str, number: int, path: Path, files: frozenset, tables: SharedTables | None = None) -> Version:
    """Loads a version; returns it as AVAILABLE, or as END with an error. Arguments as in `SharedTables.load`."""
    try:
        description = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        load_ops_of(description, path)
        if tables is None:
            loaded = tf.saved_model.load(str(path), tags=["serve"])
        else:
            loaded = tables.load(name, number, path, files)
        pads = (path / CARD).is_file()
        scans = scans_many_items(card_of(path)) and "similar_items" in loaded.signatures  # which has products
        signatures = {key: Signature(key, function, pads, loaded, scans) for key, function in loaded.signatures.items()}
        warm_up(path, signatures)
    except Exception as error:  # a file that is not a SavedModel can make TensorFlow raise anything
        text = reason(error)
        log.warning("%s version %d: cannot be loaded: %s", name, number, text)
        return Version(name, number, "END", text, files)
    graph = next(graph for graph in description.meta_graphs if "serve" in graph.meta_info_def.tags)
    log.info("%s version %d: loaded, %s", name, number, ", ".join(sorted(signatures)))
    return Version(name, number, "AVAILABLE", "", files, signatures, dict(graph.signature_def), card_of(path))


def card_of(folder: Path) -> dict:
    try:
        card = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def scans_many_items(card: dict) -> bool:
    """Returns whether an export scores so many items that reading their table is most of a request.

    Calls side by side would read it side by side; a call of joined requests reads it once.
    """
    items = card.get("items", 0)
    return str(card.get("index", "")).startswith("exact") and isinstance(items, int) and items >= MANY_ITEMS


def files_of(folder: Path) -> frozenset:
    """Returns (path, bytes, time of change) of every file below.

    Every write sets the time of change (ctime), whereas a copy may keep the time of modification.
    """
    found = set()
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(path := os.path.join(parent, name))
            except FileNotFoundError:
                continue
            found.add((path, status.st_size, status.st_ctime_ns))
    return frozenset(found)
