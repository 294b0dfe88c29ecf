"""The part of the validation split that training ranks after each epoch."""

from __future__ import annotations

from tfrecsession.batches import Sessions
from tfrecsession.batches.data import Data
from tfrecsession.batches.event_weights import event_types, is_of_types
from tfrecsession.recommender.settings import weights_of

LEAST = 20_000  # events, whatever they cost
ITEMS_AN_EVENT = 1_000  # items ranked in a tenth of the time that an event takes in training (gru4rec_vs_authors.csv)


def validation_of(cls: type, data: Data, settings: dict, whole: bool = False) -> Sessions | None:
    """Returns the validation sessions that are ranked, with the target events of the settings.

    Args:
        cls: class of the model.
        data: the data set.
        settings: of the model.
        whole: whether to rank every session, or a fixed sample that takes about a tenth of an epoch.

    Returns:
        None where there is nothing to score.
    """
    if not data.validation.scored_events:
        return None
    validation = data.validation if whole else sampled(data)
    types = weights_of(cls, settings).get("target_events")
    if types is None:
        return validation
    types = event_types("target_events", types)
    is_target = is_of_types(validation, types)
    is_target[validation.offsets[:-1]] = False  # the first event of a session is never scored
    if not is_target.any():
        return None
    occurring = [name for name in types if is_of_types(validation, [name]).any()]
    return validation.weighted(target_events=occurring)


def sampled(data: Data) -> Sessions:
    """Returns the sample that all models of the data share: ranking an event costs a pass over the catalogue."""
    return data.validation.sample(max(LEAST, data.train.events * ITEMS_AN_EVENT // max(len(data.items), 1)))
