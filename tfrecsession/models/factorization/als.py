"""ALS: matrix factorization by alternating least squares, for implicit feedback or explicit ratings."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches import Interactions
from tfrecsession.batches.interactions import DUPLICATES, is_scale
from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.models.factorization import als_sweeps
from tfrecsession.models.factorization.als_defaults import LOG_DEFAULTS
from tfrecsession.models.factorization.als_fold_in import FoldInByLeastSquares
from tfrecsession.models.factorization.als_targets import Observed, interactions_of, observe
from tfrecsession.recommender.arguments import check_choice, check_number, check_whole, refuse
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.keras_contract import maximizing
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.search_space import Float, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class ALS(FoldInByLeastSquares, KnownUsers, CountingModel):
    """Matrix factorization by alternating least squares. The score is the product of a user's x and an item's y.

    Implicit feedback (iALS, Rendle, Krichene, Zhang, Koren, arXiv 2110.14037): all pairs count, seen ones once more.

        sum over seen (1 - x.y)^2 + a0 sum over all pairs (x.y)^2
        + regularization (sum over users (n_x + a0 items)^nu |x|^2 + sum over items (n_y + a0 users)^nu |y|^2)

    with a0 = `unobserved_weight`, nu = `exponent`, n the number of seen pairs of a row. With `alpha` the seen pairs
    have confidence by their weight w (Hu, Koren, Volinsky, ICDM 2008; their loss is that of a0 = 1, nu = 0):

        sum over seen (a0 + alpha w)(1 - x.y)^2 + a0 sum over the other pairs (x.y)^2 + ...

    Explicit ratings (ALS-WR, Zhou et al., AAIM 2008): only rated pairs count, regularized by their number.

        sum over rated (r - mu - b_x - b_y - x.y)^2 + regularization (sum n_x^nu |x|^2 + sum n_y^nu |y|^2)

    mu is the mean rating, b_y = sum(r - mu) / (n_y + damping), b_x = sum(r - mu - b_y) / (n_x + damping). They are
    fixed before the sweeps and are part of the score.

    A sweep solves all users, then all items, exactly: the loss never rises. It costs pairs * d^2 + (users + items) *
    d^3, less for rows of fewer than d pairs, which are solved in as many unknowns. A `block` below `factors` takes one
    Newton step for each block of unknowns instead (iALS++, arXiv 2110.14044): pairs * d * block + (users + items) *
    (d^2 + d * block^2), to the same optimum in more sweeps. `cg_steps` replaces each exact solve by so many steps of
    preconditioned conjugate gradients from the old vectors, pairs * d * cg_steps; the loss does not rise either. On a
    CPU rows are solved by a Numba kernel (`als_row_kernel`), on a GPU in batches of TensorFlow's ops.

    New users and anonymous sessions get the exact vector of the same least squares, with the item vectors fixed. In
    training a session without a user is a user of its own.

    Args:
        items: the vocabulary.
        factors: d, the width of a vector.
        unobserved_weight: a0, above 0; explicit ratings do not use it.
        regularization, exponent: above 0; nu, 0 to 1.
        alpha: confidence per weight; None: every seen pair counts the same, however often it occurs.
        sweeps: how often `fit` solves users and items.
        block: unknowns solved at once; None: all, which is exact.
        cg_steps: conjugate-gradient steps in place of an exact solve, 3 are common, always on the CPU; None: exact.
        init_std: sigma, the items start from N(0, sigma / sqrt(d)); the paper's sigma with a star.
        value: a column with a number per event, the weight or the rating; None: every event weighs 1.
        duplicates: how several events of a user on an item are combined: "sum", "last", "mean" or "max"; None: the
            last rating, or the sum of weights.
        explicit: whether `value` holds ratings.
        scale: (lowest, highest) rating: `fit` refuses others, predictions are clipped to it; None: any.
        damping: of the biases, in ratings.
        history_value: weight or rating of a history's events without one; None: the mean weight, the highest rating.
            Without `value` an event weighs 1.
        fold_in: "solve", or "mean" of the history's item vectors.
        window: newest events of a history that count; None: all.
        seed: of the initial vectors.

    Raises:
        InputError: an argument out of range; at `fit`, a `value` column that does not fit, see `batches.Interactions`,
            weights below 0 or none above, ratings that are all equal or outside the scale.

    Example:

        model = trs.models.ALS(data.items, factors=128, regularization=0.002)
        model.fit(data.train)
        model.recommend_users(["user-7"], k=10, exclude_seen=True)
        model.explain(["item-17", "item-4"], "item-2")
    """

    # Declarations
    weighs_events = True
    searched_by_products = True
    search_space = {
        "factors": Int(16, 512, log=True),
        "unobserved_weight": Float(0.001, 1.0, log=True),
        "regularization": Float(0.0001, 1.0, log=True),
        "exponent": Float(0.0, 1.0),
    }
    log_defaults = LOG_DEFAULTS

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
        # Arguments
        check_whole("factors", factors)
        check_number("unobserved_weight", unobserved_weight, 0, above=True)
        check_number("regularization", regularization, 0, above=True)
        check_number("exponent", exponent, 0, 1)
        check_number("alpha", alpha, 0, above=True, optional=True)
        check_whole("sweeps", sweeps)
        check_whole("block", block, optional=True)
        check_whole("cg_steps", cg_steps, optional=True)
        check_number("init_std", init_std, 0, above=True)
        check_choice("duplicates", duplicates, (None, *DUPLICATES))
        check_number("damping", damping, 0)
        check_number("history_value", history_value, optional=True)
        check_choice("fold_in", fold_in, ("solve", "mean"))
        check_whole("window", window, optional=True)
        if alpha is not None and history_value is not None and history_value <= 0:
            refuse("history_value", history_value, "a weight above 0, or None")
        if scale is not None and not (explicit and is_scale(scale)):
            refuse("scale", scale, "the lowest and the highest rating, as in (1, 5), beside explicit=True")
        if explicit and value is None:
            refuse("value", value, "the column of ratings beside explicit=True, as in value='rating'")
        super().__init__(items, **kwargs)
        self.factors = factors
        self.unobserved_weight = unobserved_weight
        self.regularization = regularization
        self.exponent = exponent
        self.alpha = alpha
        self.sweeps = sweeps
        self.block = block
        self.cg_steps = cg_steps
        self.init_std = init_std
        self.value = value
        self.duplicates = duplicates
        self.explicit = explicit
        self.scale = scale
        self.damping = damping
        self.history_value = history_value
        self.fold_in = fold_in
        self.window = window
        self.seed = seed

        # Weights
        self.width = factors + 2 * explicit  # an explicit user is (x, 1, b_x), an item (y, b_y, 1)

        def fixed(name, *shape):
            return self.add_weight(
                name=name, shape=shape, dtype="float32", initializer="zeros", trainable=False, autocast=False
            )

        self.item_table = fixed("item_table", self.size, self.width)
        self.spectrum = fixed("spectrum", factors)  # the Gramian of the items, which is diagonal
        self.mean = fixed("mean")  # rating; 0 without ratings
        self.default_value = fixed("default_value")  # of a history's events, which have none
        self.is_fitted = fixed("is_fitted")  # 1 after `fit`; `fitted` is True for any loaded file, trained or not
        self.no_users(self.width)

    # Training

    def fit(self, x=None, *, epochs=None, initial_epoch=0, verbose=0, callbacks=None, validation_data=None, **kwargs):
        """Runs the sweeps `initial_epoch` to `epochs`; a fitted model continues from its vectors.

        Args:
            x: `data.train`, or its batches. Vectors of sessions without a user are not kept: when training continues
                they start from 0, which may raise the loss of the first sweep where `block` is below `factors`.
            epochs: as in Keras, the number of the last sweep; None: `initial_epoch + sweeps`.
            verbose: 1 shows a bar with the loss; 0 nothing.
            callbacks: of Keras; `on_epoch_end` is called after every sweep with the loss.
            validation_data: a split, or its batches; the compiled `metrics` are measured on it after every sweep.

        Returns:
            A Keras History: `history["loss"]` holds the whole loss after each sweep, as the class defines it,
            `history["val_recall@20"]` and the like the metrics on `validation_data`.
        """
        sessions = self.sessions_to_count(x, kwargs)
        if validation_data is not None and not self.ranking_metrics:
            raise InputError("validation_data: needs metrics, as in compile(metrics=[Recall(20)])")
        self.check_vocabulary(sessions.items)
        epochs = initial_epoch + self.sweeps if epochs is None else epochs
        interactions = interactions_of(sessions, self)
        observed = observe(interactions, self)
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, add_progbar=bool(verbose), verbose=verbose, epochs=epochs, steps=2, model=self
        )
        maximizing(callbacks, self).on_train_begin()
        self.stop_training = False
        x, y = self._initial_vectors(interactions)
        for epoch in range(initial_epoch, epochs):
            callbacks.on_epoch_begin(epoch)
            logs = {"loss": self._sweep(x, y, observed, callbacks)}
            if validation_data is not None:
                self._hold(x, y, observed, interactions)
                metrics = self.evaluate(validation_data, verbose=0, return_dict=True)
                logs |= {f"val_{name}": value for name, value in metrics.items()}
            callbacks.on_epoch_end(epoch, logs)
            if self.stop_training:
                break
        self._hold(x, y, observed, interactions)
        callbacks.on_train_end()
        self.build()
        return self.history

    def _initial_vectors(self, interactions: Interactions) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32 [users, factors] and [size, factors]: those of a fitted model, or random ones."""
        random = np.random.default_rng(self.seed)
        shapes = (len(interactions), self.factors), (self.size, self.factors)
        x, y = ((random.standard_normal(n) * self.init_std / self.factors**0.5).astype(np.float32) for n in shapes)
        y[:2] = 0
        if self.is_fitted.numpy():
            y = self.item_table.numpy()[:, : self.factors].copy()  # [size, width] -> [size, factors]
            rows = self._rows(interactions.users)  # [users], -1: new
            is_known = (rows >= 0) & interactions.named
            x[is_known] = self.user_vectors.numpy()[rows[is_known], : self.factors]
            x[~is_known] = 0
        return x, y

    def _sweep(self, x, y, observed: Observed, callbacks) -> float:
        """Solves all users, then all items, in place; returns the loss."""
        a0, block = 0.0 if self.explicit else self.unobserved_weight, self.block or self.factors
        users, items = (observed.by_user, observed.user_penalty), (observed.by_item, observed.item_penalty)
        for half, side in enumerate(((x, y, *users), (y, x, *items))):
            callbacks.on_train_batch_begin(half)
            seen_loss, gram = als_sweeps.half_sweep(*side, a0, block, self.cg_steps)
            callbacks.on_train_batch_end(half, {})
        return observed.constant + als_sweeps.loss(seen_loss, y, x, gram, (items[1], users[1]), a0)

    def _hold(self, x, y, observed: Observed, interactions: Interactions) -> None:
        """Writes the vectors, with the biases of ratings, into the weights."""
        spectrum = np.diag(als_sweeps.diagonalize(x, y, self.factors))  # [factors]
        if self.explicit:
            x = np.column_stack([x, np.ones(len(x)), observed.user_bias])  # [users, width]
            y = np.column_stack([y, observed.item_bias, np.arange(self.size) > 1])  # [size, width]
        self.item_table.assign(y)
        self.spectrum.assign(np.maximum(spectrum, 0))
        self.mean.assign(observed.mean)
        self.default_value.assign(observed.history_value)
        self.is_fitted.assign(1)
        self.fitted = True
        self.hold_users(interactions, x.astype(np.float32))

    # Recommendations

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.item_table.value))  # [n, width] -> [n, size]

    def item_vectors(self):
        return self.item_table.value[:, : self.factors]  # [size, factors]

    def score_vectors(self, ids):
        return gather_rows(self.item_table.value, ids)  # [n] -> [n, width]

    def compared_users(self):
        return self.user_vectors[:, : self.factors]  # [users, factors]

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "factors": self.factors,
            "unobserved_weight": self.unobserved_weight,
            "regularization": self.regularization,
            "exponent": self.exponent,
            "alpha": self.alpha,
            "sweeps": self.sweeps,
            "block": self.block,
            "cg_steps": self.cg_steps,
            "init_std": self.init_std,
            "value": self.value,
            "duplicates": self.duplicates,
            "explicit": self.explicit,
            "scale": self.scale,
            "damping": self.damping,
            "history_value": self.history_value,
            "fold_in": self.fold_in,
            "window": self.window,
            "seed": self.seed,
        }
