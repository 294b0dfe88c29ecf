"""The objective of iALS: all user-item pairs, the unobserved ones with a small weight."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError


@keras.saving.register_keras_serializable(package="tfrecsession")
class AllPairs(keras.losses.Loss):
    """L = sum_{(u,i) observed} (1 - x_u . y_i)^2 + unobserved_weight sum_u sum_i (x_u . y_i)^2

    From arXiv 2110.14037 (the form of Hu, Koren and Volinsky's objective that scores best), without its regularization,
    which the model adds. The second sum is not computed pair by pair: with the Gramians

        G = sum_i y_i y_i',  H = sum_u x_u x_u'        sum_u sum_i (x_u . y_i)^2 = sum_u x_u' G x_u = sum_i y_i' H y_i

    so that its gradient is 2 G x_u for a user and 2 H y_i for an item. `of_pairs` distributes it over the observed
    pairs: if a pair's user has n pairs and its item m, it gets 1/n of the user's share and 1/m of the item's, halved.
    Over all pairs the value and the gradient are those of L. A step costs rows * dim^2, at any number of users and
    items.

    Args:
        unobserved_weight: above 0; usually 0.01 to 1, smaller for larger catalogues.
    """

    def __init__(self, unobserved_weight=0.1, name="all_pairs", **kwargs):
        super().__init__(name=name, **kwargs)
        if not unobserved_weight > 0:
            raise InputError(f"unobserved_weight={unobserved_weight!r}: must be a number above 0 for AllPairs")
        self.unobserved_weight = unobserved_weight

    def of_pairs(self, users, items, user_pairs, item_pairs, gram_of_items, gram_of_users):
        """Returns the share of every observed pair in L.

        Args:
            users, items: float32 [n, dim], the vectors of the pairs.
            user_pairs, item_pairs: float32 [n], how many observed pairs the user and the item have.
            gram_of_items, gram_of_users: float32 [dim, dim], G and H, treated as constants.

        Returns:
            float32 [n]. Its gradient is that of L; its sum over all pairs is L.
        """
        observed = tf.square(1.0 - tf.reduce_sum(users * items, axis=1))
        shares = _quadratic(users, gram_of_items) / user_pairs + _quadratic(items, gram_of_users) / item_pairs
        # users and items both sum to the whole: halve the value, but keep the gradients of both
        unobserved = shares - tf.stop_gradient(shares / 2)
        return observed + self.unobserved_weight * unobserved

    def call(self, y_true, y_pred):
        raise InputError("AllPairs takes vectors, not scores: use it with trs.models.MatrixFactorization")

    def get_config(self):
        return super().get_config() | {"unobserved_weight": self.unobserved_weight}


def _quadratic(vectors, gram):
    """Returns v' gram v for every row v."""
    return tf.reduce_sum(tf.matmul(vectors, tf.stop_gradient(gram)) * vectors, axis=1)
