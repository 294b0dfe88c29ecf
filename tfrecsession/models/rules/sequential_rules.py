"""SequentialRules: items that came later in the sessions of this item."""

from __future__ import annotations

import keras

from tfrecsession.batches.co_occurrence import successions
from tfrecsession.layers import STEP_DECAYS, step_weights
from tfrecsession.models.rules.item_table_model import TableModel
from tfrecsession.recommender.arguments import check_choice, check_whole
from tfrecsession.recommender.search_space import Choice, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class SequentialRules(TableModel):
    """Sequential rules: items later in the session (SR of Ludewig & Jannach, arXiv 1803.09587, section 3.1).

        weight(i, j) = sum over the pairs of an event of i and a later one of j in the same session,
                       at most `steps` apart, of decay(events from one to the other)
        score(j)     = sum over the items i of the history of share(i) * weight(i, j)

    The decay of a distance of n events:

        same 1    div 1/n    linear max(0, 1 - n/10)    log 1/log10(n + 1.7)    quadratic 1/n^2

    Args:
        items: the vocabulary.
        steps: the longest distance of a rule, in events.
        decay: one of those above.
        neighbours, history, window: see `TableModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SequentialRules(data.items, steps=4, decay="quadratic")
        model.fit(data.train)
    """

    # Declarations
    search_space = {
        "steps": Int(1, 30, log=True),
        "decay": Choice("same", "div", "linear", "log", "quadratic"),
        **TableModel.table_space,
    }

    def __init__(self, items, steps=10, decay="div", neighbours=100, history="last", window=20, **kwargs):
        # Arguments
        check_whole("steps", steps)
        check_choice("decay", decay, STEP_DECAYS)
        super().__init__(items, neighbours, history, window, **kwargs)
        self.steps = steps
        self.decay = decay
        self.weights_by_distance = step_weights(decay, steps)  # (steps,)

    # Training

    def blocks(self, sessions):
        return [successions(sessions, self.size, self.weights_by_distance)]  # one block (size, size)

    # Configuration

    def get_config(self):
        return {**super().get_config(), "steps": self.steps, "decay": self.decay}
