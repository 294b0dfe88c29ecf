"""Prepared data sets: the synthetic shop in memory."""

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError


def test_the_shop_in_memory_accepts_arguments_of_the_shop_and_of_prepare(tmp_path):
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
    ("options", "message"),
    [
        ({"loyl": 0.5}, "loyl=0.5: must be an argument of the shop or of prepare; did you mean loyal"),
        ({"drop_repeat": True}, "drop_repeat=True: .*; did you mean drop_repeats"),
        ({"out": "shop/"}, "out='shop/': must be an argument of"),
        ({"loyal": 0.9}, r"follow \+ taste \+ loyal must not exceed 1"),
    ],
)
def test_unknown_or_invalid_options_of_the_shop_in_memory_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        trs.synthetic_sessions(items=50, sessions=100, **options)
