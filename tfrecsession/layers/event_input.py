"""Context as an input: columns of a batch become one vector, which joins the vector of an event or of a state."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows

JOINS = ("concatenate", "multiply", "both", "latent_cross")
SMALL = 4096  # codes up to which the gradient of the table is dense, which is faster
WIDEST = 64  # of the context vector that is chosen by itself


@keras.saving.register_keras_serializable(package="tfrecsession")
class EventInput(keras.layers.Layer):
    r"""Joins the context of events to their vectors x, or what is known of a request to the state x.

        c = sum_j T_j[code_j] + sum_j (value_j v_j + missing_j m_j)    [width]; T per category, v and m per number
        concatenate    [x ; c], or with keep_width x + A c
        multiply       x * (1 + C c)
        both           [x * (1 + C c) ; c], or with keep_width x * (1 + C c) + A c
        latent_cross   x * (1 + c), with c as wide as x
        None           x; c is for other layers

    "concatenate", "multiply" and "both" are those of Smirnova and Vasile (arXiv 1706.07684), where the product is
    x * C c, which starts near zero; "latent_cross" is that of Beutel et al. (WSDM 2018). C and A begin with zeros and
    T, v and m with small values, so that at first x passes unchanged, and a value that training never had stays near
    nothing. The vectors of codes 0 (missing) and 1 (unknown) begin with zeros.

    Every event moves a vector of each column, and c is their sum. The lazy optimizers take 1/columns of the learning
    rate for T, v and m, so that c moves as far in a step as the vector of a single item, however many columns there
    are. Adam and Adagrad step as far whatever the gradient: without this, columns that hardly tell anything outgrow x.

    Args:
        columns: (name, codes, hidden) of each column: the count of its codes, 0 for a number, and the code of a value
            that dropout hides: 1, unknown, or 0, missing.
        side: "context" or "request", the keys of the batch that are read.
        join: one of the four, or None.
        dropout: in training, the share of rows whose columns are all missing, and the share of columns whose values are
            hidden in a row.
        width: of c; None: follows the number of codes.
        keep_width: whether the output is as wide as x.
        rate: share of the learning rate for T, v and m; None: 1 / columns.
    """

    def __init__(
        self,
        columns,
        side="context",
        join="concatenate",
        dropout=0.0,
        width=None,
        keep_width=False,
        rate=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.columns = [(str(name), int(codes), int(hidden)) for name, codes, hidden in columns]
        self.side = side
        self.join = join
        self.dropout = dropout
        self.width = width
        self.keep_width = keep_width
        self.rate = rate
        self.coded = [(f"{side}/{name}", codes) for name, codes, _ in self.columns if codes]
        self.numbers = [f"{side}/{name}" for name, codes, _ in self.columns if not codes]
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def vector_width(self) -> int:
        """The width of c, unless it is that of x: about 1.6 codes^0.56 for each category, 2 for each number."""
        widths = [max(2, round(1.6 * codes**0.56)) for _, codes in self.coded]
        return self.width or min(WIDEST, sum(widths) + 2 * len(self.numbers))

    def build(self, vectors_shape, batch_shape=None):
        dim = int(vectors_shape[-1])
        cross = self.join == "latent_cross"
        width = dim if cross else self.vector_width
        rate = 1 / len(self.columns) if self.rate is None else self.rate
        normal = keras.initializers.RandomNormal(stddev=0.01)
        neutral = [row for row in self._firsts() for row in (row, row + 1)]

        def initial(shape, dtype=None):
            rows = ops.ones((shape[0], 1), dtype)
            if neutral:
                rows = ops.scatter_update(rows, [[row] for row in neutral], ops.zeros((len(neutral), 1), dtype))
            return normal(shape, dtype=dtype) * rows

        codes = sum(codes for _, codes in self.coded)
        if codes:
            self.table = self.add_weight(name="table", shape=(codes, width), initializer=initial)
            self.table.rate_factor = rate  # read by `LazyOptimizer`
        if self.numbers:
            shape = (2 * len(self.numbers), width)
            self.number_kernel = self.add_weight(name="number_kernel", shape=shape, initializer=normal)
            self.number_kernel.rate_factor = rate
        if self.join in ("multiply", "both"):
            self.factor = self.add_weight(name="factor", shape=(width, dim), initializer="zeros")  # C
        if self.keep_width and self.join in ("concatenate", "both"):
            self.projection = self.add_weight(name="projection", shape=(width, dim), initializer="zeros")  # A
        self.built = True

    def call(self, vectors, batch, training=False, return_context=False):
        """Joins context to vectors.

        Args:
            vectors: float [rows, steps, dim].
            batch: a batch with the columns of this side, int32 or float32 [rows, steps] each.
            training: whether dropout acts.
            return_context: whether c, float [rows, steps, width], is returned too.

        Returns:
            float [rows, steps, dim], or with concatenation, unless `keep_width`, [rows, steps, dim + width].
        """
        c = self.encode(batch, training)  # (rows, steps, width)
        joined = vectors if self.join is None else self._joined(vectors, c)
        return (joined, c) if return_context else joined

    def _joined(self, vectors, c):
        if self.join == "latent_cross":
            return vectors * (1 + c)
        if self.join in ("multiply", "both"):
            vectors = vectors * (1 + ops.matmul(c, self.factor))
        if self.join == "multiply":
            return vectors
        if self.keep_width:
            return vectors + ops.matmul(c, self.projection)
        return ops.concatenate([vectors, c], axis=-1)

    def encode(self, batch, training=False):
        """Returns c, [rows, steps, width]; the arguments are those of `call`.

        Raises:
            InputError: the batch lacks a column.
        """
        for key in (*(key for key, _ in self.coded), *self.numbers):
            if key not in batch:
                raise InputError(
                    f"batch: must have {key!r}, as those of data.train.batches(context=model.context) or of recommend"
                )
        hides = training and self.dropout
        shape = ops.shape(batch[self.coded[0][0] if self.coded else self.numbers[0]])
        whole = self._hidden((shape[0], 1, 1)) if hides else None
        parts = []
        if self.coded:
            codes = ops.stack([batch[key] for key, _ in self.coded], axis=-1)  # (rows, steps, columns)
            if hides:
                hidden = ops.convert_to_tensor([hidden for _, codes, hidden in self.columns if codes], "int32")
                codes = ops.where(self._hidden((shape[0], 1, len(self.coded))), hidden, codes)
                codes = ops.where(whole, 0, codes)
            rows = codes + ops.convert_to_tensor(self._firsts(), "int32")
            parts.append(ops.sum(self._rows_of_table(rows), axis=-2))  # (rows, steps, width)
        if self.numbers:
            values = ops.stack([batch[key] for key in self.numbers], axis=-1)  # (rows, steps, numbers)
            missing = ops.isnan(values)
            if hides:
                missing = missing | self._hidden((shape[0], 1, len(self.numbers))) | whole
            values = ops.where(missing, ops.zeros_like(values), values)
            both = ops.concatenate([values, ops.cast(missing, values.dtype)], axis=-1)
            parts.append(ops.matmul(ops.cast(both, self.compute_dtype), self.number_kernel))
        return sum(parts[1:], parts[0])

    def _hidden(self, shape):
        """Returns bool of `shape`, true with the probability `dropout`."""
        return keras.random.uniform(shape, seed=self.seed_generator) < self.dropout

    def _firsts(self) -> list[int]:
        """Returns the row of code 0 of each category in the table."""
        firsts, row = [], 0
        for _, codes in self.coded:
            firsts.append(row)
            row += codes
        return firsts

    def _rows_of_table(self, rows):
        """Gathers int [...] -> [..., width]."""
        if self.table.shape[0] > SMALL:
            return ops.cast(gather_rows(self.table.value, rows), self.compute_dtype)
        # the product makes the gradient dense: its rows are few and repeat
        return tf.gather(ops.cast(self.table, self.compute_dtype) * 1, rows)

    def compute_output_shape(self, vectors_shape, batch_shape=None):
        grows = self.join in ("concatenate", "both") and not self.keep_width
        return (*vectors_shape[:-1], vectors_shape[-1] + (self.vector_width if grows else 0))

    def get_config(self):
        return super().get_config() | {
            "columns": self.columns,
            "side": self.side,
            "join": self.join,
            "dropout": self.dropout,
            "width": self.width,
            "keep_width": self.keep_width,
            "rate": self.rate,
        }
