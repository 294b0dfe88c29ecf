"""Half the bits where it is safe: matmuls in bfloat16, tables and sums in float32."""

import keras
import numpy as np
import pytest

from tfrecsession import evaluation, training


@pytest.fixture
def bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def test_learns_in_mixed_precision(neural, shop, bfloat16, tmp_path, built):
    keras.utils.set_random_seed(0)
    model, settings = built(neural, shop.items, {"epochs": 4, "rows": 16, "steps": 8, "negatives": 64})
    history = training.fit(model, shop, settings)
    assert history["loss"][-1] < history["loss"][0]
    assert model.output_items.table.dtype == "float32"
    batch, _ = next(iter(model.training_batches(shop.train, {"rows": 4, "steps": 8}, seed=0)))
    assert keras.backend.standardize_dtype(model.encode(batch).dtype) == "bfloat16"
    scored = evaluation.evaluate(model, shop.test).metrics["recall@20"]
    assert scored > 0.5 * evaluation.ceiling(shop.info["shop"], shop.test).metrics["recall@20"]
    model.export(tmp_path / "1", k=3)
    assert np.isfinite(model.recommend([[shop.items.ids[0]]], k=3).scores).all()
