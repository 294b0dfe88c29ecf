"""The shop with media: photos and songs tell the cluster, also of items that training never saw."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.events.shop.shop import Shop
from tfrecsession.sessions.item_columns import ItemContents
from tfrecsession.sessions.item_table import read_item_table


def test_media_tell_the_cluster():
    shop = Shop(items=40, sessions=10, seed=2, media=True)
    assert Shop.from_spec(shop.spec) == shop
    contents = ItemContents.of(read_item_table(shop.item_table()), {})
    assert (contents.kinds["photo"], contents.kinds["song"]) == ("image", "audio")
    for name in ("photo", "song"):
        values, present = contents.tensor(name, list(range(shop.items)))
        assert present.all()
        look = values.astype(np.float64).mean(axis=(1, 2) if name == "photo" else 1)  # (items, colors or bands)
        centers = np.array([look[shop.cluster == cluster].mean(axis=0) for cluster in range(max(shop.cluster) + 1)])
        nearest = ((look[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest == shop.cluster).all()
    plain = Shop(items=40, sessions=10, seed=2).item_table()
    assert shop.item_table().drop_columns(["photo", "song"]) == plain


@pytest.mark.slow
@pytest.mark.parametrize("column", ["photo", "song"])
def test_items_that_training_never_saw_are_found(column):
    data = trs.synthetic_sessions(
        items=100, sessions=2000, seed=1, late=0.4, media=True, unseen_items="add", follow=0.1, taste=0.8
    )
    unseen = data.items.counts == 0
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(data.items, content=[column], id_dropout=0.5, units=[32])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    model.fit(data.train.batches(rows=32, steps=16), epochs=4, verbose=0)
    scored = trs.evaluation.evaluate(model, data.test)
    is_unseen = unseen[data.test.values[scored.event] - 2]
    assert is_unseen.sum() > 20
    assert (scored.ranks[is_unseen] <= 20).mean() > 0.4  # chance is 0.2
