"""ALS: matrix factorization by alternating least squares, for what people took and for what they rated."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Interactions, Sessions
from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.models.factorization import als_sweeps
from tfrecsession.models.factorization.als_fold_in import FoldInByLeastSquares
from tfrecsession.models.factorization.als_targets import Observed, check, observe
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.search_space import Float, Int

OWN = ("factors", "unobserved_weight", "regularization", "exponent", "alpha", "sweeps", "block", "cg_steps", "value")
OWN += ("init_std", "duplicates", "explicit", "scale", "damping", "history_value", "fold_in", "window", "seed")


@keras.saving.register_keras_serializable(package="tfrecsession")
class ALS(FoldInByLeastSquares, KnownUsers, CountingModel):
    """Vectors x of people and y of items whose product says how much an item suits a person.

    Implicit feedback (iALS, Rendle, Krichene, Zhang, Koren, arXiv 2110.14037): all pairs count, those seen once more.

        sum over seen (1 - x.y)^2 + a0 sum over all pairs (x.y)^2
        + regularization (sum over people (n_x + a0 items)^nu |x|^2 + sum over items (n_y + a0 people)^nu |y|^2)

    with a0 = `unobserved_weight`, nu = `exponent`, n the number of seen pairs of a row. With `alpha` the seen pairs
    have confidence by their weight w (Hu, Koren, Volinsky, ICDM 2008; their loss is that of a0 = 1, nu = 0):

        sum over seen (a0 + alpha w)(1 - x.y)^2 + a0 sum over the other pairs (x.y)^2 + ...

    Explicit ratings (ALS-WR, Zhou et al., AAIM 2008), only rated pairs count, regularized by their number:

        sum over rated (r - mu - b_x - b_y - x.y)^2 + regularization (sum n_x^nu |x|^2 + sum n_y^nu |y|^2)

    mu is the mean rating, b_y = sum(r - mu) / (n_y + damping), b_x = sum(r - mu - b_y) / (n_x + damping); they are
    fixed before the sweeps and are part of the score.

    A sweep solves all people, then all items, exactly: the loss never rises. It costs pairs * d^2 + (people + items) *
    d^3, less for rows of fewer than d pairs, which are solved in as many unknowns. A `block` below `factors` takes one
    Newton step for each block of unknowns instead (iALS++, arXiv 2110.14044): pairs * d * block + (people + items) *
    (d^2 + d * block^2), to the same optimum in more sweeps. `cg_steps` take that many steps of preconditioned conjugate
    gradients from the old vectors in place of each exact solve, pairs * d * cg_steps; the loss does not rise either. On
    a CPU rows are solved by a Numba kernel (`als_row_kernel`), on a GPU in batches of TensorFlow's ops.

    A history is folded in by the same least squares, with the items held: an exact answer for people whom training has
    not seen and for sessions of nobody in particular. Sessions without a user are people in training too.

    Args:
        items: the vocabulary.
        factors: d, the width of a vector.
        unobserved_weight: a0, above 0; of no use to explicit ratings.
        regularization: above 0.
        exponent: nu, 0 to 1.
        alpha: None: every seen pair counts the same, however often it occurs. A number: times its weight.
        sweeps: how often people and items are solved by `fit`.
        block: unknowns solved at once; None: all, which is exact.
        cg_steps: conjugate-gradient steps in place of an exact solve, 3 are common, always on the CPU; None: exact.
        init_std: sigma, the items start from N(0, sigma / sqrt(d)); the paper's sigma with a star.
        value: a column with a number per event, the weight or the rating; None: every event weighs 1.
        duplicates: what several events of a person on an item come to: "sum", "last", "mean" or "max"; None: the last
            rating, or the sum of weights.
        explicit: `value` holds ratings.
        scale: (lowest, highest) rating: `fit` refuses others, predictions are clipped to it; None: any.
        damping: of the biases, in ratings.
        history_value: the weight or rating that an event of a history without one is given; None: the mean weight, the
            highest rating. Without `value` an event weighs 1.
        fold_in: "solve", or "mean" of the history's item vectors.
        window: newest events of a history that count; None: all.
        seed: of the start.

    Raises:
        InputError: an argument out of range; at `fit`, a `value` column that does not fit, see `batches.Interactions`,
            weights below 0 or none above, ratings that are all equal or outside of the scale.

    Example:

        model = trs.models.ALS(data.items, factors=128, regularization=0.002)
        model.fit(data.train)
        model.recommend_users(["user-7"], k=10, exclude_seen=True)
        model.explain(["item-17", "item-4"], "item-2")
    """

    scores_by_products = True
    search_space = {
        "factors": Int(16, 512, log=True),
        "unobserved_weight": Float(0.001, 1.0, log=True),
        "regularization": Float(0.0001, 1.0, log=True),
        "exponent": Float(0.0, 1.0),
    }

    def __init__(
        self,
        items,
        factors=64,
        unobserved_weight=0.1,
        regularization=0.003,
        exponent=1.0,
        alpha=None,
        sweeps=16,
        block=None,
        cg_steps=None,
        init_std=0.1,
        value=None,
        duplicates=None,
        explicit=False,
        scale=None,
        damping=5.0,
        history_value=None,
        fold_in="solve",
        window=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(items, **kwargs)
        given = locals()
        for name in OWN:
            setattr(self, name, given[name])
        check(self)
        self.width = factors + 2 * explicit  # an explicit person is (x, 1, b_x), an item (y, b_y, 1)

        def held(name, *shape):
            return self.add_weight(
                name=name, shape=shape, dtype="float32", initializer="zeros", trainable=False, autocast=False
            )

        self.item_table = held("item_table", self.size, self.width)
        self.spectrum = held("spectrum", factors)  # the Gramian of the items, which is diagonal
        self.known = held("known", 3)  # mean rating, value of an event without one, 1 once fitted
        self.no_users(self.width)

    # Training --------------------------------------------------------------------------------------------------------

    def fit(self, x=None, *, epochs=None, initial_epoch=0, verbose=0, callbacks=None, validation_data=None, **kwargs):
        """Sweeps `initial_epoch` to `epochs`; a fitted model goes on from the vectors that it has.

        Args:
            x: `data.train`, or its batches. Of sessions without a user nothing is kept: when training goes on, they
                start from 0, which may raise the loss of the first sweep where `block` is below `factors`.
            epochs: as in Keras, the number of the last sweep; None: `initial_epoch + sweeps`.
            verbose: 1 shows a bar with the loss; 0 nothing.
            callbacks: of Keras; `on_epoch_end` is called after every sweep with the loss.
            validation_data: a split, or its batches; the compiled `metrics` are measured on it after every sweep.

        Returns:
            A Keras History; `history["loss"]` holds the whole loss after each sweep, as the class defines it;
            `history["val_recall@20"]` and the like what validation measured.
        """
        sessions = x if isinstance(x, Sessions) else getattr(x, "sessions", None)
        if sessions is None:
            raise InputError("ALS reads whole sessions: say fit(data.train)")
        if validation_data is not None and not self.ranking_metrics:
            raise InputError(
                "validation_data: there is nothing to measure on it; say compile(metrics=[Recall(20)]) first"
            )
        self.check_vocabulary(sessions.items)
        epochs = initial_epoch + self.sweeps if epochs is None else epochs
        duplicates = self.duplicates or ("last" if self.explicit else "sum")
        people = Interactions.of(sessions, value=self.value, duplicates=duplicates, scale=self.scale)
        seen = observe(people, self)
        calls = keras.callbacks.CallbackList(
            callbacks, add_history=True, add_progbar=bool(verbose), verbose=verbose, epochs=epochs, steps=2, model=self
        )
        calls.on_train_begin()
        self.stop_training = False
        tables = self._start(people)
        for epoch in range(initial_epoch, epochs):
            calls.on_epoch_begin(epoch)
            logs = {"loss": self._sweep(*tables, seen, calls)}
            if validation_data is not None:
                self._keep(people, seen, *tables)
                found = self.evaluate(validation_data, verbose=0, return_dict=True)
                logs |= {f"val_{name}": value for name, value in found.items()}
            calls.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        self._keep(people, seen, *tables)
        calls.on_train_end()
        self.build()
        self.fitted = True
        return self.history

    def _start(self, people: Interactions) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of people and items to go on from, or at random."""
        random = np.random.default_rng(self.seed)

        def drawn(rows):
            return (random.standard_normal((rows, self.factors)) * self.init_std / self.factors**0.5).astype(np.float32)

        x, y = drawn(len(people)), drawn(self.size)
        y[:2] = 0
        if self.known.numpy()[2]:
            y = self.item_table.numpy()[:, : self.factors].copy()
            row = np.fromiter((self._known_users.row_of.get(name, -1) for name in people.users.tolist()), np.int64)
            there = (row >= 0) & people.named
            x[there] = self.user_vectors.numpy()[row[there], : self.factors]
            x[~there] = 0
        return x, y

    def _sweep(self, x, y, seen: Observed, calls) -> float:
        a0, block = 0.0 if self.explicit else self.unobserved_weight, self.block or self.factors
        for half, step in enumerate(((x, y, seen.by_user, seen.user_penalty), (y, x, seen.by_item, seen.item_penalty))):
            calls.on_train_batch_begin(half)
            part, gram = als_sweeps.half_sweep(*step, a0, block, self.cg_steps)
            calls.on_train_batch_end(half, {})
        return seen.constant + als_sweeps.loss(part, y, x, gram, (seen.item_penalty, seen.user_penalty), a0)

    def _keep(self, people, seen: Observed, x, y) -> None:
        spectrum = np.diag(als_sweeps.diagonalize(x, y, self.factors))
        if self.explicit:
            x = np.column_stack([x, np.ones(len(x)), seen.user_bias])
            y = np.column_stack([y, seen.item_bias, np.arange(self.size) > 1])
        self.item_table.assign(y)
        self.spectrum.assign(np.maximum(spectrum, 0))
        self.known.assign([seen.mean, seen.history_value, 1])
        self.hold_users(people, x.astype(np.float32))

    # Answers ---------------------------------------------------------------------------------------------------------

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.item_table.value))

    def item_vectors(self):
        return self.item_table.value[:, : self.factors]

    def score_vectors(self, ids):
        return gather_rows(self.item_table.value, ids)

    def compared_users(self):
        return self.user_vectors[:, : self.factors]

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in OWN}}
