import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers import SessionBidirectional, SessionGRU, SessionRNN

RNG = np.random.default_rng(0)


def both(cell=SessionGRU, width=3, **settings):
    layer = SessionBidirectional(cell(4, **settings), cell(4, **settings))
    layer.build((None, None, width))
    return layer


def test_the_backward_half_is_a_recurrence_over_each_reversed_session():
    layer = both()
    inputs = RNG.normal(size=(1, 6, 3)).astype(np.float32)
    position = np.array([[0, 1, 2, 3, 0, 1]])
    outputs = layer(inputs, tf.constant(position == 0))
    for session in (slice(0, 4), slice(4, 6)):
        part = inputs[:, session]
        starts = tf.constant(np.arange(part.shape[1])[None] == 0)
        forward, _ = layer.forward(part, starts)
        backward, _ = layer.backward(part[:, ::-1], starts)
        np.testing.assert_allclose(outputs[:, session, :4], forward, atol=1e-6)
        np.testing.assert_allclose(outputs[:, session, 4:], backward[:, ::-1], atol=1e-6)
        end = session.stop - 1
        finished = layer.finished(outputs, position)[:, end]
        np.testing.assert_allclose(finished, np.concatenate([forward[:, -1], backward[:, -1]], axis=1), atol=1e-6)


def test_products_of_both_directions_side_by_side():
    layer, projecting = both(SessionRNN, width=8, project=False), both(SessionRNN)
    for copy, source in ((layer.forward, projecting.forward), (layer.backward, projecting.backward)):
        copy.recurrent_kernel.assign(source.recurrent_kernel)
    inputs, starts = RNG.normal(size=(2, 5, 3)).astype(np.float32), tf.zeros((2, 5), tf.bool)
    products = [inputs @ direction.kernel.numpy() for direction in (projecting.forward, projecting.backward)]
    products = np.concatenate(products, axis=2)
    np.testing.assert_allclose(layer(products, starts), projecting(inputs, starts), atol=1e-6)


def test_config_round_trip():
    layer = both()
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.units == layer.units == 8 and isinstance(again.backward, SessionGRU)
