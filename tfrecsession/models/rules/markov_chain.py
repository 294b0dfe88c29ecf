"""MarkovChain: items that came directly after this item."""

from __future__ import annotations

import keras
import numpy as np

from tfrecsession.batches.co_occurrence import successions
from tfrecsession.models.rules.item_table_model import TableModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class MarkovChain(TableModel):
    """First-order Markov chain over items (MC of Ludewig & Jannach, arXiv 1803.09587, section 3.1).

        weight(i, j) = how often j came directly after i
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    With the default history, the last item alone, items are in the order of the transition probabilities
    weight(i, j) / sum_j weight(i, j).

    Args:
        items: the vocabulary.
        neighbours, history, window: see `TableModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.MarkovChain(data.items)
        model.fit(data.train)
    """

    # Declarations
    search_space = TableModel.table_space

    # Training

    def blocks(self, sessions):
        return [successions(sessions, self.size, np.ones(1))]  # one block (size, size)
