"""New items of compressed tables, whose vectors follow from their ids, in an export."""

import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession import InputError
from tfrecsession.export import add_items


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*never been fitted")
def test_new_items_have_the_vectors_of_their_ids(shop, tmp_path):
    model = trs.models.GRU4Rec(shop.items, units=[8], items_as="bloom", negatives=trs.negatives.Popularity(16))
    model.export(tmp_path / "served/1", k=5)
    known = shop.items.ids[[3, 8]].tolist()
    (tmp_path / "new.csv").write_text(f"item,title\nnew-one,a\nnew-two,b\n{known[0]},c\n")
    path, added = add_items(tmp_path / "served", tmp_path / "new.csv")
    assert added == ["new-one", "new-two"]
    before, after = (tf.saved_model.load(str(tmp_path / "served" / n)).signatures for n in "12")
    one, other = (export["serving_default"](items=strings([known])) for export in (before, after))
    assert text(one["items"]) == text(other["items"])
    near = after["similar_items"](items=tf.constant(["new-one"]))
    assert float(near["scores"][0, 0]) > 0 and text(near["items"])[0][0] in {*shop.items.ids, "new-two"}
    history = [["new-two", known[1]]]
    assert text(after["serving_default"](items=strings(history))["items"])[0]
    assert path.name == "2"


def test_learned_codes_need_a_newer_log(shop, tmp_path):
    model = trs.models.GRU4Rec(shop.items, units=[8], items_as="jpq", code_values=16)
    (tmp_path / "new.csv").write_text("item\nnew-one\n")
    with pytest.raises(InputError, match="codes of items_as='jpq' are learned from sessions, .* continue the training"):
        trs.training.add_items(model, tmp_path / "new.csv")
