"""Chooses the index of an export by its name, builds it and measures its recall."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.export.index import STORED, CompactIndex, ExactIndex, recall, sample

KINDS = ("exact", *STORED, "scann")
MEASURED = 500  # histories that the recall of an index is measured on


def make_index(model, kind: str, k: int, exclude_seen: bool, longest: int, target_recall: float, histories=None):
    """The index of an export, measured where it is not exact.

    Args:
        model: a Recommender.
        kind: of KINDS.
        k, exclude_seen, longest: of the export.
        target_recall: what `scann` has to reach, above 0 and below 1.
        histories: lists of item ids, of which the recall is measured; None: of histories of a single item each, which
            are spread evenly over the catalogue.

    Raises:
        InputError: an unknown kind, an index that the model cannot have, or that is not installed, or a target out of
            range or out of reach.
    """
    if kind not in KINDS:
        raise InputError(f"index={kind!r}: say one of {', '.join(KINDS)}")
    if not 0 < target_recall < 1:
        raise InputError(f"target_recall={target_recall!r}: say a number above 0 and below 1, such as 0.98")
    if kind == "exact":
        return ExactIndex(model)
    if not model.scores_by_products:
        raise InputError(
            f"index={kind!r}: {type(model).__name__} does not score by a dot product, so it has no vectors to search: "
            "leave index at 'exact'"
        )
    if kind in STORED:
        asked, measured_on = sample(model, histories, longest, MEASURED)
        index = CompactIndex(model, kind, k)
    else:
        from tfrecsession.export.scann_index import ScannIndex  # its requirements are an extra

        both, measured_on = sample(model, histories, longest, 2 * MEASURED)
        index = ScannIndex(model, k, target_recall, both[::2])
        asked = both[1::2] if len(both) > 1 else both  # not those that chose the settings
    index.recall = recall(model, index, asked, k, exclude_seen)
    index.measured_on = f"{len(asked):,} {measured_on}"
    return index
