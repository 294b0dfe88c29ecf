"""A model that reads context continues on a newer log with the codes that it has learned."""

import numpy as np
import pytest

import tfrecsession as trs
from tests import logs
from tfrecsession import InputError, training
from tfrecsession.batches import Data
from tfrecsession.sessions.context import ContextLog


def data_of(log, device):
    times = np.arange(sum(map(len, log))) / 1000
    split = logs.sessions_of(
        log, items=8, times=times, **({} if device is None else {"device": np.array(device, object)})
    )
    split.items.context_log = ContextLog(split, {})
    return Data(split.items, split, split, split, {"fingerprint": str(device)})


@pytest.mark.slow
def test_codes_stay_as_they_were_learned():
    log = [[2, 3, 4], [5, 6, 7]] * 8
    older = data_of(log, ["phone", "phone", "pc"] * 16)
    newer = data_of(log, ["watch", "pc", "pc"] * 16)
    settings = training.settings_of(
        "gru4rec", {"units": [8], "negatives": 8, "epochs": 1, "context": ["device", "gap"]}
    )
    model = training.build("gru4rec", older.items, settings)
    training.fit(model, older, settings)
    for grown in (training.grow(model, newer), growth_by_settings(model, newer, settings)):
        assert grown.context.columns["device"].values == ("phone", "pc")
        np.testing.assert_array_equal(grown.event_input.table, model.event_input.table)
        training.fit(grown, newer, settings)
    assert newer.items.context_log.learn(["device"]).columns["device"].values == ("pc", "watch")
    with pytest.raises(InputError, match="no column 'device', which the model reads: prepare it with context='device'"):
        training.fit(model, data_of(log, None), settings)


def growth_by_settings(model, newer, settings):
    growth = training.growing.Growth.of(model, newer, "mean", "drop")
    grown = training.build("gru4rec", growth.items, settings)
    growth.carry(model, grown)
    return grown


def test_names_must_be_those_of_the_training():
    older = data_of([[2, 3, 4], [5, 6, 7]] * 8, ["phone", "phone", "pc"] * 16)
    context = older.context(["device"])
    with pytest.raises(InputError, match=r"context=\['gap'\]: must be \['device'\], as the model was trained"):
        context.learn(["gap"])
    with pytest.raises(InputError, match="request=.*: must be part of the Context"):
        trs.models.GRU4Rec(older.items, context=context, request=["gap"])
