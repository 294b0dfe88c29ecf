"""The described shop: its content tells what follows an item, also items that training never saw."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.errors import InputError
from tfrecsession.events.shop.shop import Shop


def test_content_tells_the_successors():
    shop = Shop(items=300, sessions=100, seed=2, described=True)
    assert Shop.from_spec(shop.spec) == shop
    table = shop.item_table().to_pydict()
    word = [title.split()[0] for title in table["title"]]
    for item in range(shop.items):
        followed = set(range(shop.items)) & set(shop.successors[item].tolist())
        named = {other for other in range(shop.items) if word[other] == table["goes_with"][item]}
        assert followed == named - {item}
        assert {shop.cluster[other] for other in named} == {shop.cluster[item]}
    assert max(np.bincount(shop.group)) == 8
    prices = np.log([table["price"][item] for item in np.flatnonzero(shop.group == 1)])
    assert np.ptp(prices) < 0.5  # a group has one level of prices


def test_the_plain_shop_is_as_it_was():
    plain = Shop(items=50, sessions=100, seed=3)
    assert "described" not in plain.spec
    assert plain.item_table().column_names == ["item", "category", "price", "title"]
    with pytest.raises(InputError, match="described=1 must be True or False"):
        Shop(described=1)


def test_unseen_items_of_a_log_without_a_table():
    import pyarrow as pa

    log = pa.table({"session": ["a", "a"], "item": ["x", "y"]})
    with pytest.raises(InputError, match="unseen_items='add': needs an item table"):
        trs.prepare(log, "nowhere", unseen_items="add")


@pytest.mark.slow
def test_items_that_training_never_saw_are_found():
    data = trs.synthetic_sessions(
        items=600, sessions=6000, seed=1, late=0.3, described=True, unseen_items="add", follow=0.7, taste=0.2
    )
    unseen = data.items.counts == 0
    assert unseen.sum() > 20

    def recall(scored, of_unseen):
        targets = data.test.values[scored.event]
        return float((scored.ranks[unseen[targets - 2] == of_unseen] <= 20).mean())

    def trained(content):
        keras.utils.set_random_seed(1)
        model = trs.models.GRU4Rec(data.items, content=content, id_dropout=0.5, units=[64])
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train.batches(rows=32, steps=16), epochs=4, verbose=0)
        return model

    columns = ["title", "goes_with", "category", "price"]
    ceiling, reachable = (
        trs.evaluation.ceiling(data.info["shop"], data.test, new_popularity=known) for known in (True, False)
    )
    teacher = trained(())
    student = trs.models.ContentToFactors(data.items, teacher, content=columns)
    student.compile(trs.optimizers.LazyAdagrad(0.1))
    student.fit(data.train, epochs=50, verbose=0)
    models = trained(columns), student, teacher
    read, taught, without = (trs.evaluation.evaluate(model, data.test) for model in models)
    assert recall(ceiling, True) > recall(reachable, True) > 0.7  # chance is 20 of 600
    assert recall(read, True) > 0.85 * recall(ceiling, True)
    assert recall(read, True) > 0.95 * recall(reachable, True)  # what content tells, without how popular items will be
    assert recall(taught, True) > 0.6 * recall(ceiling, True)
    assert recall(without, True) < 0.05
    assert recall(read, False) > recall(without, False)  # content costs nothing on known items
