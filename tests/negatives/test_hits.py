import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.negatives import InBatch, LogUniform, Mixture, Popularity, Uniform


@pytest.mark.parametrize("sampler", [Popularity(40), Uniform(40), LogUniform(40)], ids=lambda part: type(part).__name__)
def test_hits_are_the_cells_that_keep_masks(sampler):
    rng = np.random.default_rng(0)
    targets, drawn = rng.integers(0, 12, 30).astype(np.int32), rng.integers(2, 12, 40).astype(np.int32)
    cells = sampler.hits(tf.constant(targets), tf.constant(drawn)).numpy()
    assert sorted(map(tuple, cells)) == [tuple(cell) for cell in np.argwhere(targets[:, None] == drawn)]
    assert len(cells) > 20 and sampler.hits(tf.zeros([3], tf.int32), tf.constant(drawn)).shape == (0, 2)


def test_no_hits_where_keep_is_needed():
    targets = tf.constant([5, 6])
    assert Popularity(3, mask_hits=False).hits(targets, targets) is None
    assert InBatch().hits(targets, targets) is None and Mixture([InBatch(), Uniform(2)]).hits(targets, targets) is None
