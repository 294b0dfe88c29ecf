"""MatrixFactorization: a vector per user and per item, learned by gradient."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions, is_scale
from tfrecsession.errors import InputError
from tfrecsession.layers import FoldIn, ItemEmbedding, UserEmbedding
from tfrecsession.losses import AllPairs, RankingLoss, sampled_losses
from tfrecsession.models.factorization.known_positives import SeenItems
from tfrecsession.negatives import Popularity
from tfrecsession.recommender.arguments import check_number, check_whole, refuse
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.pair_model import PairModel
from tfrecsession.recommender.rating_prediction import PredictsRatings
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class MatrixFactorization(PairModel, PredictsRatings, KnownUsers, Recommender):
    """Matrix factorization by gradient, for ratings or rankings. The loss defines what the product of vectors means.

        "mean_squared_error"        ratings: r = mu + b_u + b_i + p_u . q_i  (Koren, Bell, Volinsky, Computer 42(8))
        BPR, BPRMax, CrossEntropy   ranking: p_u . q_i + b_i against sampled items, which all pairs of a step share,
                                    without those that the user has (as in BPR of Rendle et al., UAI 2009)
        AllPairs                    p_u . q_i near 1 for seen pairs, near 0 for all others (iALS, arXiv 2110.14037)

    Every pair adds l2 (|p_u|^2 + |q_i|^2), so that a row is regularized as often as it is touched. With AllPairs the
    unobserved pairs add theirs: l2 w_u |p_u|^2 in all, w_u = pairs of u + unobserved_weight * items. With lazy
    optimizers a step costs rows * dim * negatives and a pass over the items of its users, with AllPairs rows * dim^2,
    whatever the number of users and items. The Gramians of AllPairs follow the changed rows and are summed anew before
    each epoch.

    A history, of a known user or not, is folded in by ridge regression on the item table (`layers.FoldIn`) in one
    solve; its Gramian is computed when training ends. The result is scaled to the length of the learned vectors (with
    ratings: as if everything in the history had been rated a standard deviation above what the biases say). In a log
    without users every session is a user.

    Args:
        items: the vocabulary.
        dim: width of the vectors.
        rating: the column of ratings, for the squared error; None: a pair counts because it was seen.
        scale: (lowest, highest) rating: `fit` refuses others, predictions are clipped to it; None: any.
        duplicates: how several ratings of one user for one item are combined: "last", "mean", "max" or "sum".
        l2, bias_l2: regularization of vectors and of the biases of ratings; None: as of vectors.
        fold_in_weight: weight of all items against those of the history, where a history is folded in. AllPairs uses
            its own weight instead, ratings 0.
        ridge: l2 of the fold-in, relative to the mean square of the item vectors; AllPairs has its own.
        deviation: root mean square length of the initial vectors.
        negatives: as in `SequenceModel`; unused with ratings and AllPairs.
        mask_seen: whether sampled items that the user has are masked. Otherwise popular items, sampled most, count
            against the very users who interacted with them; where users have many items this costs much quality.
        users: the number of users; `fit` sets it.
        score_dtype: as in `SequenceModel`.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.MatrixFactorization(data.items, dim=64)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train, epochs=20, rows=1024)
        model.recommend_users(["user-7"], k=20)
    """

    # Declarations
    search_space = {
        "dim": Int(16, 512, log=True),
        "l2": Float(1e-6, 0.1, log=True),
        "fold_in_weight": Float(0.003, 1.0, log=True),
        "ridge": Float(0.01, 10.0, log=True),
    }
    learning = Learning(
        defaults={
            "rows": 1024,
            "epochs": 20,
            "negatives": 512,
            "alpha": 0.5,
            "loss": "cross_entropy",
            "logq": 1.0,
            "unobserved_weight": 0.1,
            "optimizer": "adagrad",
            "learning_rate": 0.1,
        },
        space={
            "loss": Choice("cross_entropy", "bpr_max", "bpr", "all_pairs"),
            "logq": Float(0.0, 1.0, when={"loss": "cross_entropy"}),
            "regularization": Float(0.0, 2.0, when={"loss": "bpr_max"}),
            "unobserved_weight": Float(0.003, 1.0, log=True, when={"loss": "all_pairs"}),
            "alpha": Float(0.0, 1.0, when={"loss": ("cross_entropy", "bpr_max", "bpr")}),
            "rows": Int(256, 8192, log=True),
            "learning_rate": (
                Float(0.01, 0.5, log=True, when={"optimizer": "adagrad"}),
                Float(0.0003, 0.03, log=True, when={"optimizer": "adam"}),
            ),
        },
        losses=(*Learning().losses, "all_pairs", "mean_squared_error"),
    )

    def __init__(
        self,
        items,
        dim=64,
        rating=None,
        scale=None,
        duplicates="last",
        l2=3e-3,
        bias_l2=None,
        fold_in_weight=0.1,
        ridge=1.0,
        deviation=0.1,
        negatives="popularity",
        mask_seen=True,
        users=None,
        score_dtype=None,
        **kwargs,
    ):
        # Arguments
        check_whole("dim", dim)
        check_number("l2", l2, 0)
        check_number("bias_l2", bias_l2, 0, optional=True)
        check_number("fold_in_weight", fold_in_weight, 0, above=True)
        check_number("ridge", ridge, 0, above=True)
        check_number("deviation", deviation, 0, above=True)
        if scale is not None and (rating is None or not is_scale(scale)):
            refuse("scale", scale, "the lowest and the highest rating, as in (1, 5), beside rating='COLUMN'")
        super().__init__(items, **kwargs)
        self.dim = dim
        self.rating = rating
        self.scale = None if scale is None else tuple(scale)
        self.duplicates = duplicates
        self.l2 = l2
        self.bias_l2 = bias_l2
        self.fold_in_weight = fold_in_weight
        self.ridge = ridge
        self.deviation = deviation
        self.negatives = Popularity(2048, alpha=0.5) if negatives == "popularity" else negatives
        self.mask_seen = mask_seen
        self.score_dtype = score_dtype
        if self.negatives is not None and not isinstance(items, int):
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

        # Layers
        normal = keras.initializers.RandomNormal(stddev=deviation / dim**0.5)
        self.output_items = ItemEmbedding(self.size, dim, bias=True, initializer=normal, name="items", dtype="float32")
        self.user_table = UserEmbedding(dim, deviation / dim**0.5, bias=True, name="users", dtype="float32")
        self.fold_in = FoldIn(dim, name="fold_in")
        self.mean = self.add_weight(name="mean", shape=(), initializer="zeros", trainable=False, autocast=False)
        self.grams = [tf.Variable(tf.zeros((dim, dim)), trainable=False) for _ in range(2)]  # of items, of users
        self.seen_items = SeenItems(self.size) if mask_seen else None
        self.no_users(dim if rating is None else dim + 1)
        if users is not None:
            self.user_table.build(users)
        self.build()

    # Training

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, loss, metrics, **kwargs)
        loss = self.ranking_loss
        if loss is None:
            refuse("loss", loss, "'mean_squared_error' for ratings, or one of trs.losses, e.g. CrossEntropy()")
        if (self.rating is None) != isinstance(loss, RankingLoss | AllPairs):
            raise InputError(
                f"loss={loss!r}, rating={self.rating!r}: must be 'mean_squared_error' with a column of ratings, or one "
                "of trs.losses without it"
            )
        if isinstance(loss, RankingLoss) and self.negatives is None:
            refuse("negatives", None, "a sampler for this loss, e.g. trs.negatives.Popularity(2048, alpha=0.5)")

    def losses_of_pairs(self, batch):
        """Computes loss and regularization of every pair of a batch of `batches.triples`: float32 [rows]."""
        p, q = self.user_table(batch["user"]), self.output_items(batch["item"])  # [rows, dim] each
        if isinstance(self.ranking_loss, AllPairs):
            return self._losses_of_all_pairs(batch, p, q)
        if isinstance(self.ranking_loss, RankingLoss):
            return self._losses_against_samples(batch, p, q)
        return self._losses_of_ratings(batch, p, q)

    def _losses_of_all_pairs(self, batch, p, q):
        user_pairs, item_pairs, loss = batch["user_pairs"], batch["item_pairs"], self.ranking_loss
        losses = loss.of_pairs(p, q, user_pairs, item_pairs, *self.grams)  # [rows]
        users, items = self.user_table.table.shape[0], len(self.items)
        # a row's share, per seen pair, of the unobserved pairs
        user_penalty = (1 + loss.unobserved_weight * (items / user_pairs)) * tf.reduce_sum(p**2, axis=1)  # [rows]
        item_penalty = (1 + loss.unobserved_weight * (users / item_pairs)) * tf.reduce_sum(q**2, axis=1)  # [rows]
        return losses + self.l2 * (user_penalty + item_penalty)

    def _losses_against_samples(self, batch, p, q):
        items = tf.where(batch["weight"] > 0, batch["item"], 0)  # [rows]; of no weight: no negative for others
        drawn = self.negatives.draw(items)  # [count]
        seen = self.seen_items.cells(batch["user"], drawn) if self.mask_seen else None  # [cells, 2]
        loss, negatives = self.ranking_loss, self.negatives
        losses = sampled_losses(loss, p, items, drawn, self.output_items, negatives, self.score_dtype, seen)  # [rows]
        of_drawn = tf.reduce_mean(tf.reduce_sum(self.output_items(drawn) ** 2, axis=1))  # [count, dim] -> []
        return losses + self.l2 * (tf.reduce_sum(p**2, axis=1) + tf.reduce_sum(q**2, axis=1) + of_drawn)

    def _losses_of_ratings(self, batch, p, q):
        user_bias = self.user_table.offsets(batch["user"])  # [rows]
        item_bias = tf.gather(self.output_items.biases.value, batch["item"])  # [rows]
        predicted = self.mean + user_bias + item_bias + tf.reduce_sum(p * q, axis=1)  # [rows]
        losses = getattr(self.ranking_loss, "call", self.ranking_loss)(batch["value"][:, None], predicted[:, None])
        bias_l2 = self.l2 if self.bias_l2 is None else self.bias_l2
        losses += self.l2 * (tf.reduce_sum(p**2, axis=1) + tf.reduce_sum(q**2, axis=1))
        return losses + bias_l2 * (user_bias**2 + item_bias**2)

    def settle(self, interactions: Interactions) -> None:
        """Computes the fold-in from the learned tables and stores the vectors of known users."""
        vectors, loss, users = self.item_vectors(), self.ranking_loss, np.asarray(self.user_table.table)
        pairs = len(interactions.values) / len(interactions)  # per user
        level = float(tf.reduce_sum(vectors[2:] ** 2)) / self.dim
        if self.rating is not None:
            self.fold_in.settle(vectors, 0.0, self.ridge * level * pairs / len(self.items))
            self.fold_in.scale.assign(interactions.weights.std())
            self.hold_users(interactions, np.column_stack([users, self.user_table.biases]))  # [users, dim + 1]
            return
        weight, ridge = self.fold_in_weight, self.fold_in_weight * self.ridge * level
        if isinstance(loss, AllPairs):
            weight = loss.unobserved_weight
            ridge = self.l2 * (pairs + weight * len(self.items))
        self.fold_in.settle(vectors, weight, ridge, interactions.csr(), users)
        self.hold_users(interactions, users)

    # Recommendations

    def encode(self, batch, training=False):
        """Folds in the session so far: float32 [rows, steps, dim], with ratings also a bias of 0, [..., dim + 1]."""
        folded = self.fold_in(batch, self.output_items.table.value)  # [rows, steps, dim]
        return folded if self.rating is None else tf.pad(folded, [[0, 0], [0, 0], [0, 1]])

    def score_all(self, encoded):
        return self._with_mean(self.output_items.score_all)(encoded)

    def scorer(self):
        return self._with_mean(self.output_items.scorer())

    def _with_mean(self, score):
        """Returns a scoring function that adds the mean rating and the user's bias, the last column of `encoded`."""
        mean = tf.convert_to_tensor(self.mean.value)
        if self.rating is None:
            return score
        return lambda encoded: score(encoded[:, :-1]) + encoded[:, -1:] + mean  # [n, dim + 1] -> [n, size]

    def score_vectors(self, ids):
        table = self.output_items.vectors(ids)  # [n, dim + 1]
        if self.rating is None:
            return table
        vectors, biases = table[:, :-1], table[:, -1:]  # [n, dim], [n, 1]
        # [n, dim + 2]: the 1 is for the user's bias
        return tf.concat([vectors, tf.ones_like(biases), biases + self.mean.value], axis=1)

    def compared_users(self):
        return self.user_vectors[:, : self.dim]  # without the bias

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "rating": self.rating,
            "scale": self.scale,
            "duplicates": self.duplicates,
            "l2": self.l2,
            "bias_l2": self.bias_l2,
            "fold_in_weight": self.fold_in_weight,
            "ridge": self.ridge,
            "deviation": self.deviation,
            "negatives": keras.saving.serialize_keras_object(self.negatives) if self.negatives else None,
            "mask_seen": self.mask_seen,
            "users": self.user_table.table.shape[0] if self.user_table.built else None,
            "score_dtype": self.score_dtype,
        }
