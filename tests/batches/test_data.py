"""The data set as its users hold it."""

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError


def test_the_shop_in_memory_takes_the_shops_arguments_and_those_of_prepare(tmp_path):
    data = trs.synthetic_sessions(
        items=50, sessions=400, seed=3, users=20, loyal=0.6, follow=0.2, taste=0.1, min_session_length=3
    )
    assert data.info["shop"] == (
        "synthetic:items=50,sessions=400,seed=3,days=8,users=20,follow=0.2,taste=0.1,loyal=0.6"
    )
    assert np.diff(data.train.offsets).min() == 3
    assert len(set(data.train.column("user").tolist())) <= 20
    trs.prepare(data.info["shop"], tmp_path / "shop", min_session_length=3)
    assert data.fingerprint == trs.load(tmp_path / "shop").fingerprint


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"loyl": 0.5}, "neither the shop nor prepare has an argument 'loyl', did you mean loyal"),
        ({"drop_repeat": True}, "has an argument 'drop_repeat', did you mean drop_repeats"),
        ({"out": "shop/"}, "has an argument 'out'"),
        ({"loyal": 0.9}, r"follow \+ taste \+ loyal must not exceed 1"),
    ],
)
def test_what_the_shop_in_memory_does_not_take(said, message):
    with pytest.raises(InputError, match=message):
        trs.synthetic_sessions(items=50, sessions=100, **said)
