"""Construction of an index by its name, with its measured recall."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.export.index import STORED, CompactIndex, ExactIndex, recall, sample
from tfrecsession.export.ivf_index import IvfIndex
from tfrecsession.export.two_pass_index import TwoPassIndex

KINDS = ("exact", "exact-two-pass", *STORED, "ivf", "scann")
SEARCHED = ("ivf", "scann")  # reach `target_recall`
RECALL_HISTORIES = 500  # histories that the recall of an index is measured on


def make_index(
    model, kind: str, k: int, exclude_seen: bool, longest: int, target_recall: float, histories=None, clusters=None
):
    """Builds the index of an export, and measures its recall unless its answers are exact.

    Args:
        model: a Recommender.
        kind: one of KINDS.
        k, exclude_seen, longest: as in `write_saved_model`.
        target_recall: the recall that `ivf` and `scann` must reach, above 0 and below 1.
        histories: lists of item ids to measure the recall on; None: histories of a single item each, spread evenly over
            the catalogue.
        clusters: number of clusters of `ivf`; None: by the number of items.

    Raises:
        InputError: an unknown kind, an index that does not fit the model or is not installed, or a target that is out
            of range or not reached.
    """
    if kind not in KINDS:
        raise InputError(f"index={kind!r}: must be one of {', '.join(KINDS)}")
    if not 0 < target_recall < 1:
        raise InputError(f"target_recall={target_recall!r}: must be a number above 0 and below 1, e.g. 0.98")
    if clusters is not None and kind != "ivf":
        raise InputError(
            f"clusters={clusters!r}: must be left out with index={kind!r}, which has no clusters; use index='ivf'"
        )
    if kind == "exact":
        return ExactIndex(model)
    if not model.searched_by_products:
        raise InputError(
            f"index={kind!r}: must be 'exact', since {type(model).__name__} does not score by a dot product and has no "
            "vectors to search"
        )
    if kind in (*STORED, "exact-two-pass") and model.output_items is not None and model.output_items.factored:
        raise InputError(
            f"index={kind!r}: must be 'exact' with items_as={model.items_as!r}, a table that is smaller than any of a "
            "vector for each item"
        )
    if kind == "exact-two-pass":
        sampled, _ = sample(model, histories, longest, RECALL_HISTORIES)
        return TwoPassIndex(model, k, sampled)
    if kind in STORED:
        measured, measured_on = sample(model, histories, longest, RECALL_HISTORIES)
        index = CompactIndex(model, kind, k)
    else:
        sampled, measured_on = sample(model, histories, longest, 2 * RECALL_HISTORIES)
        if kind == "ivf":
            index = IvfIndex(model, k, target_recall, sampled[::2], clusters)
        else:
            from tfrecsession.export.scann_index import ScannIndex  # needs an extra

            index = ScannIndex(model, k, target_recall, sampled[::2])
        measured = sampled[1::2] if len(sampled) > 1 else sampled  # not the histories that the settings were chosen on
    index.recall = recall(model, index, measured, k, exclude_seen)
    index.measured_on = f"{len(measured):,} {measured_on}"
    return index
