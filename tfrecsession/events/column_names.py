"""Existing columns in error messages about missing ones."""

from __future__ import annotations

import difflib


def nearest_first(given: str, existing: list[str]) -> str:
    if not existing:
        return "it has no columns"

    def unlikeness(name: str) -> float:
        return -difflib.SequenceMatcher(None, given.lower(), name.lower()).ratio()

    return f"columns, nearest first: {', '.join(sorted(existing, key=unlikeness))}"
