"""`dataset.json`: the contents, the origin and the fingerprint of a prepared data set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import Any

import pyarrow as pa

from tfrecsession.events.shop.shop import Shop
from tfrecsession.sessions.options import Options
from tfrecsession.sessions.spans import iso
from tfrecsession.sessions.store import FORMAT, JOINT
from tfrecsession.sessions.write import DatasetWriter
from tfrecsession.version import __version__


def manifest(
    source: str,
    timed: bool,
    options: Options,
    writer: DatasetWriter,
    items: int,
    splits: dict[str, dict],
    steps: list[dict],
    notes: list[str],
    joint: dict | None = None,
) -> dict:
    """Returns the content of `dataset.json`; README and CONTRIBUTING promise its keys."""
    schema = {field.name: _kind(field.type) for field in writer.schema}
    content = {field.name: _kind(field.type) for field in writer.content}
    kinds = {f"content: {name}": column["kind"] for name, column in writer.item_columns.items()}
    kinds |= {f"user_content: {name}": column["kind"] for name, column in writer.user_columns.items()}
    info = {
        "format": FORMAT,
        "tfrecsession": __version__,
        "fingerprint": _fingerprint(options, {**schema, **content, **kinds}, writer.digest.hexdigest()),
        "source": source,
        "timed": timed,
        "options": {field.name: _plain(getattr(options, field.name)) for field in fields(options)},
        "schema": schema,
        "content": content,
        **({"item_columns": writer.item_columns} if writer.item_columns else {}),
        **({"tensors": writer.tensors} if writer.tensors else {}),
        **({"user_columns": writer.user_columns} if writer.user_columns else {}),
        **({"user_tensors": writer.user_tensors} if writer.user_tensors else {}),
        "items": items,
        "splits": {name: _described(split, timed) for name, split in splits.items()},
        **({JOINT: joint} if joint is not None else {}),
        "steps": steps,
        "notes": notes,
    }
    if source.startswith("synthetic:"):
        info["shop"] = Shop.from_spec(source).spec
    return info


def described_joint(items: int, splits: dict[str, dict], writer: DatasetWriter, timed: bool) -> dict:
    """Returns the entry of the items that validation has and train lacks, and of the later splits with them.

    It has a fingerprint of its own: that of the data set stays the one of its splits and its vocabulary.
    """
    return {
        "items": items,
        "fingerprint": writer.digest.hexdigest()[:16],
        "splits": {name: _described(split, timed) for name, split in splits.items()},
        **({"tensors": writer.tensors} if writer.tensors else {}),
    }


def _fingerprint(options: Options, schema: dict[str, str], content: str) -> str:
    """Returns 16 hexadecimal digits: equal for equal data and options, whatever the names of files and columns."""
    facts = {"options": options.shaping, "schema": schema, "content": content}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _described(split: dict, timed: bool) -> dict:
    times = {name: iso(split[name]) if timed and split[name] is not None else None for name in ("first", "last")}
    names = ("sessions", "events", "items", "scored_events", "unknown_events", "parts")
    names += ("itemless_events",) if "itemless_events" in split else ()
    return {name: split[name] for name in names} | times


def _kind(kind: pa.DataType) -> str:
    return f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind)


def _plain(value: Any) -> Any:
    """Converts an argument for JSON: a path to text, a table in memory to the name of its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return list(value)
    return str(value) if hasattr(value, "__fspath__") else type(value).__name__
