"""MarkovChain: who took this took that next."""

from __future__ import annotations

import keras
import numpy as np

from tfrecsession.batches.co_occurrence import successions
from tfrecsession.models.rules.item_table_model import TableModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class MarkovChain(TableModel):
    """A first-order Markov chain, MC of Ludewig & Jannach (arXiv 1803.09587, section 3.1).

        weight(i, j) = times that j came directly after i
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    Where the history is its last item alone, the default, this is the order of the probabilities
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

    search_space = TableModel.table_space

    def blocks(self, sessions):
        return [successions(sessions, self.size, np.ones(1))]
