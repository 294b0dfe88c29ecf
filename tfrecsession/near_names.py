"""Hints for a name that is not known: the name of the same meaning, or one that is spelled alike."""

from __future__ import annotations

import difflib
from collections.abc import Collection

MEANINGS = {  # meaning -> names here, and the words of Keras and of other libraries for them
    "width": "units dim factors embedding_dim hidden_dim hidden_size hidden_units embedding_size latent_dim n_factors",
    "number of layers": "layers num_layers n_layers blocks num_blocks n_blocks depth",
    "number of heads": "heads num_heads n_heads",
    "number of neighbours": "neighbours neighbors n_neighbours n_neighbors num_neighbors",
    "number of recent sessions": "recent sample_size n_sample",
    "longest history": "window max_len maxlen max_length max_seq_length sequence_length",
    "learning rate": "learning_rate lr",
    "number of epochs": "epochs sweeps n_epochs num_epochs iterations",
    "batch size": "rows batch_size",
    "number of events in a row": "steps max_len maxlen max_length max_seq_length sequence_length",
    "number of negatives": "negatives num_negatives n_negatives neg_samples",
    "weight decay": "l2 weight_decay",
    "dropout": "dropout dropout_rate hidden_dropout dropout_p_hidden",
}


def by_meaning(name: str, known: Collection[str]) -> tuple[str, str] | None:
    """Returns the meaning of a name and the known name of this meaning, None where there is none."""
    for meaning, names in MEANINGS.items():
        alike = [other for other in names.split() if other in known] if name in names.split() else []
        if alike:
            return meaning, alike[0]
    return None


def nearest_first(name: str, known: Collection[str]) -> list[str]:
    """Returns all known names, those that are spelled like `name` first."""
    return difflib.get_close_matches(name, sorted(known), n=max(1, len(known)), cutoff=0.0)


def meant(name: str, known: Collection[str]) -> str:
    """Returns the end of a message that refuses a name: the one that is meant, or all that there are."""
    same = by_meaning(name, known)
    near = difflib.get_close_matches(name, sorted(known), 1)
    if near and (same is None or near[0] == same[1]):
        return f"did you mean {near[0]}?"
    if same is not None:
        return f"its {same[0]} is {same[1]}"
    return f"it has: {', '.join(nearest_first(name, known)) or 'none'}"
