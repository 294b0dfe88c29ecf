"""MatrixFactorization: a vector per person and per item, learned by gradient."""

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
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.learning import Learning
from tfrecsession.recommender.pair_model import PairModel
from tfrecsession.recommender.rating_prediction import PredictsRatings
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int

OWN = ("dim", "rating", "scale", "duplicates", "l2", "bias_l2", "fold_in_weight", "ridge", "deviation", "mask_seen")
OWN += ("score_dtype",)


@keras.saving.register_keras_serializable(package="tfrecsession")
class MatrixFactorization(PairModel, PredictsRatings, KnownUsers, Recommender):
    """People and items as vectors; the loss that it is compiled with says what their product stands for.

        "mean_squared_error"        ratings: r = mu + b_u + b_i + p_u . q_i  (Koren, Bell, Volinsky, Computer 42(8))
        BPR, BPRMax, CrossEntropy   order: p_u . q_i + b_i against sampled items, which all pairs of a step share, but
                                    for those that the person has (as in BPR of Rendle et al., UAI 2009)
        AllPairs                    p_u . q_i near 1 for what was taken, near 0 for all else (iALS, arXiv 2110.14037)

    Every pair adds l2 (|p_u|^2 + |q_i|^2), so that a row is regularized as often as it is touched; with
    AllPairs also for the unobserved pairs: l2 w_u |p_u|^2 in all, w_u = pairs of u + unobserved_weight * items. With
    lazy optimizers a step costs rows * dim * negatives and a look at what its people have, with AllPairs rows * dim^2
    (its Gramians follow the rows that changed and are summed anew before each epoch), whatever the number of people and
    items.

    A history, known person or not, is folded in by ridge regression on the item table (`layers.FoldIn`) in one solve;
    the Gramian it needs is taken when training ends. The result is scaled to the length of the learned vectors (with
    ratings: as if everything in the history had been rated a standard deviation above what the biases say). In a log
    without users every session is a person.

    Args:
        items: the vocabulary.
        dim: width of the vectors.
        rating: the column of ratings, for the squared error; None: it counts that a pair was seen.
        scale: (lowest, highest) rating: `fit` refuses others, predictions are clipped to it; None: any.
        duplicates: of several ratings of one person for one item: "last", "mean", "max" or "sum" is taken.
        l2, bias_l2: of the regularization of vectors and of the biases of ratings; None: as of vectors.
        fold_in_weight: of all items against those of the history, where a history is folded in; with AllPairs its own
            weight is taken, with ratings 0.
        ridge: l2 of the fold-in, relative to the mean square of the item vectors; AllPairs has its own.
        deviation: of the initial vectors' length.
        negatives: as in `SequenceModel`; unused with ratings and AllPairs.
        mask_seen: whether a drawn item counts for nobody who has it. Otherwise popular items, drawn most, are held
            against the very people who took them; where people have many items this costs quality, not little.
        users: how many people there are; `fit` says it.

    Example:

        model = trs.models.MatrixFactorization(data.items, dim=64)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
        model.fit(data.train, epochs=20, rows=1024)
        model.recommend_users(["user-7"], k=20)
    """

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
        super().__init__(items, **kwargs)
        if not isinstance(dim, int | np.integer) or dim < 1:
            raise InputError(f"dim={dim!r}: say a whole number, at least 1")
        positive = {"fold_in_weight": fold_in_weight, "ridge": ridge, "deviation": deviation}
        for name, number in {**positive, "l2": l2, "bias_l2": l2 if bias_l2 is None else bias_l2}.items():
            if not (number > 0 or (number == 0 and name not in positive)):
                raise InputError(f"{name}={number!r}: say a number {'above 0' if name in positive else 'from 0 up'}")
        if scale is not None and (rating is None or not is_scale(scale)):
            raise InputError(
                f"scale={scale!r}: say the lowest and the highest rating, as in (1, 5), beside rating='COLUMN'"
            )
        self.dim, self.rating, self.duplicates, self.l2, self.bias_l2 = dim, rating, duplicates, l2, bias_l2
        self.scale = None if scale is None else tuple(scale)
        self.fold_in_weight, self.ridge, self.deviation = fold_in_weight, ridge, deviation
        self.score_dtype, self.mask_seen = score_dtype, mask_seen
        self.negatives = Popularity(2048, alpha=0.5) if negatives == "popularity" else negatives
        if self.negatives is not None and not isinstance(items, int):
            self.negatives.build_from(np.concatenate([[0, 0], self.items.counts]))

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

    # Training --------------------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        super().compile(optimizer, loss, metrics, **kwargs)
        loss = self.ranking_loss
        if loss is None:
            raise InputError("loss: say 'mean_squared_error' for ratings, or one of trs.losses, e.g. CrossEntropy()")
        if (self.rating is None) != isinstance(loss, RankingLoss | AllPairs):
            raise InputError(
                f"loss={loss!r}, rating={self.rating!r}: ratings are learned with 'mean_squared_error', what was only "
                "seen with one of trs.losses"
            )
        if isinstance(loss, RankingLoss) and self.negatives is None:
            raise InputError(
                "negatives=None: this loss needs a sampler, e.g. trs.negatives.Popularity(2048, alpha=0.5)"
            )

    def losses_of_pairs(self, batch):
        """float32 [rows]: loss and regularization of every pair of a batch of `batches.triples`."""
        users, items, loss = batch["user"], batch["item"], self.ranking_loss
        p, q = self.user_table(users), self.output_items(items)
        squares = tf.reduce_sum(p**2, axis=1), tf.reduce_sum(q**2, axis=1)
        if isinstance(loss, AllPairs):
            each = loss.of_pairs(p, q, batch["user_pairs"], batch["item_pairs"], *self.grams)
            unobserved = loss.unobserved_weight
            others = len(self.items) / batch["user_pairs"], self.user_table.table.shape[0] / batch["item_pairs"]
            return each + self.l2 * sum((1 + unobserved * n) * s for n, s in zip(others, squares, strict=True))
        if isinstance(loss, RankingLoss):
            drawn = self.negatives.draw(items)
            owned = self.seen_items.cells(users, drawn) if self.mask_seen else None
            each = sampled_losses(loss, p, items, drawn, self.output_items, self.negatives, self.score_dtype, owned)
            of_drawn = tf.reduce_mean(tf.reduce_sum(self.output_items(drawn) ** 2, axis=1))
            return each + self.l2 * (squares[0] + squares[1] + of_drawn)
        biases = self.user_table.offsets(users), tf.gather(self.output_items.biases.value, items)
        rated = self.mean + biases[0] + biases[1] + tf.reduce_sum(p * q, axis=1)
        each = getattr(loss, "call", loss)(batch["value"][:, None], rated[:, None])
        bias_l2 = self.l2 if self.bias_l2 is None else self.bias_l2
        return each + self.l2 * (squares[0] + squares[1]) + bias_l2 * (biases[0] ** 2 + biases[1] ** 2)

    def settle(self, people: Interactions) -> None:
        """What answers take from the tables, once they are learned."""
        vectors, loss, users = self.item_vectors(), self.ranking_loss, np.asarray(self.user_table.table)
        pairs, level = len(people.values) / len(people), float(tf.reduce_sum(vectors[2:] ** 2)) / self.dim
        if self.rating is not None:
            self.fold_in.settle(vectors, 0.0, self.ridge * level * pairs / len(self.items))
            self.fold_in.scale.assign(people.weights.std())
            self.hold_users(people, np.column_stack([users, self.user_table.biases]))
            return
        weight, ridge = self.fold_in_weight, self.fold_in_weight * self.ridge * level
        if isinstance(loss, AllPairs):
            weight = loss.unobserved_weight
            ridge = self.l2 * (pairs + weight * len(self.items))
        self.fold_in.settle(vectors, weight, ridge, people.csr(), users)
        self.hold_users(people, users)

    # Answers ---------------------------------------------------------------------------------------------------------

    def encode(self, batch, training=False):
        """The vector of the session so far, folded in: float32 [rows, steps, dim], with ratings also a bias of 0."""
        folded = self.fold_in(batch, self.output_items.table.value)
        return folded if self.rating is None else tf.pad(folded, [[0, 0], [0, 0], [0, 1]])

    def score_all(self, encoded):
        return self._rated(self.output_items.score_all)(encoded)

    def scorer(self):
        return self._rated(self.output_items.scorer())

    def _rated(self, score):
        mean = tf.convert_to_tensor(self.mean.value)
        if self.rating is None:
            return score
        return lambda encoded: score(encoded[:, :-1]) + encoded[:, -1:] + mean

    def score_vectors(self, ids):
        table = self.output_items.vectors(ids)
        if self.rating is None:
            return table
        vectors, biases = table[:, :-1], table[:, -1:]
        return tf.concat([vectors, tf.ones_like(biases), biases + self.mean.value], axis=1)  # 1: the person's bias

    def compared_users(self):
        return self.user_vectors[:, : self.dim]  # without the bias

    def get_config(self):
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in OWN},
            "negatives": keras.saving.serialize_keras_object(self.negatives) if self.negatives else None,
            "users": self.user_table.table.shape[0] if self.user_table.built else None,
        }
