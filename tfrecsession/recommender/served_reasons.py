"""Reasons as an export gives them, and the order of features. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Explanations(NamedTuple):
    """The top items of each history with their reasons, of an export with `reasons`.

    Attributes:
        items: object (str) [histories, k], best first, "" where fewer are left.
        scores: float32 [histories, k].
        because: object (str) [histories, k, reasons], the items of the events that carried each item, the strongest
            first; "" where there are no more.
        weights: float32 [histories, k, reasons], the parts of the score that they carried.
        features: column -> float32 [histories, k], the part of the score that it carried: "context/NAME" and
            "request/NAME" of the context, "time", with all that follows from the times, and "item/NAME", content of the
            item. Vectors, images and sounds of items are left out.
    """

    items: np.ndarray
    scores: np.ndarray
    because: np.ndarray
    weights: np.ndarray
    features: dict[str, np.ndarray]

    def strongest(self) -> np.ndarray:
        """Returns the names of the features that carried each item, see `strongest_features`."""
        return strongest_features(self.features, self.items.shape)


def strongest_features(features: Mapping[str, np.ndarray], shape: tuple) -> np.ndarray:
    """Returns the names of features, those with the largest parts of a score first.

    Args:
        features: name -> float [histories, k].
        shape: histories and k.

    Returns:
        object (str) [histories, k, features]; "" in place of those that added nothing, or took from the score.
    """
    if not features:
        return np.full((*shape, 0), "", object)
    names, parts = np.array([*features], object), np.stack([*features.values()], axis=-1)
    order = np.argsort(-parts, axis=-1, kind="stable")  # (histories, k, features)
    return np.where(np.take_along_axis(parts, order, axis=-1) > 0, names[order], "")


def explanations_of(outputs: Mapping[str, np.ndarray]) -> Explanations:
    """Returns the outputs of the signatures `explain`, arrays with texts as str, as `Explanations`."""
    names = outputs["feature_names"][0] if len(outputs.get("feature_names", ())) else ()
    features = {name: outputs["features"][..., number] for number, name in enumerate(names)}
    return Explanations(*(outputs[name] for name in ("items", "scores", "because", "weights")), features)
