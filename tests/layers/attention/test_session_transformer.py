"""SessionTransformer as a layer of a functional Keras model. Its numbers are tested with SASRec."""

import keras
import numpy as np

from tfrecsession.layers import SessionTransformer


def test_a_functional_model_has_the_shapes_and_values_of_the_layer():
    layer = SessionTransformer(8, blocks=1, window=4)
    vectors, position = keras.Input((5, 8)), keras.Input((5,), dtype="int32")
    model = keras.Model([vectors, position], layer(vectors, position))
    x = np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32)
    steps = np.tile(np.arange(5, dtype=np.int32), (3, 1))
    assert model.output_shape == (None, 5, 8)
    np.testing.assert_allclose(model.predict([x, steps], verbose=0), layer(x, steps), atol=1e-5)
