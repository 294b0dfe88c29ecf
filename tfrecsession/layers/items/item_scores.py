"""The contract of a model's output: scores of items from encoded histories."""

import keras

from tfrecsession.errors import InputError


class ItemScores(keras.layers.Layer):
    """Base of the layers that score items: a table of vectors, a compressed one, vectors from content, a network.

    A subclass defines `score`, `score_each` and `score_all`; where scores are dot products it sets `by_products` and
    defines `vectors` and `all_vectors` too, and an index may be built over it. A `Recommender` holds it as
    `output_items`; other code never reads its variables directly.

    Attributes:
        size: ids that it scores: the items + 2 (padding, unknown).
        by_products: whether scores are dot products with `vectors`.
        factored: whether `products`, `squares` and `rows` read less than a vector of every item.
        content_columns: the columns of content that the vectors follow from, see `part_of_column`.
    """

    by_products = False
    factored = False
    content_columns: tuple = ()

    def query(self, hidden):
        """Returns the vectors whose dot products with `vectors` are the scores: [..., dim] -> [..., dim]."""
        return hidden

    def score_each(self, hidden, ids):
        """Scores one item for each vector: hidden [..., dim], ids int [...] -> [...]."""
        raise NotImplementedError(f"{type(self).__name__} does not define score_each")

    def score(self, hidden, ids, shift=None, dtype=None):
        """Scores the same items for every vector.

        Args:
            hidden: [n, dim].
            ids: int [m].
            shift: float [m], added to every score of the item; None: nothing.
            dtype: of the products and the scores; None: the compute dtype.

        Returns:
            [n, m] in `dtype`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define score")

    def score_all(self, hidden):
        """Scores every id for the few vectors of a request: hidden [n, dim] -> [n, size]."""
        raise NotImplementedError(f"{type(self).__name__} does not define score_all")

    def scorer(self):
        """Returns `score_all` as a function that has read its variables once, for many blocks of vectors."""
        return self.score_all

    def losses(self, hidden, targets, loss, negatives=None, score_dtype=None):
        """Compares each vector's target with negatives.

        Args:
            hidden: [n, dim].
            targets: int32 [n]; 0 is padding, whose loss is undefined and must be masked.
            loss: one of `tfrecsession.losses`.
            negatives: one of `tfrecsession.negatives`; None: all items.
            score_dtype: of the negatives' scores, see `score`.

        Returns:
            float32 [n].
        """
        return loss.losses(hidden, targets, self, negatives, score_dtype)

    def vectors(self, ids):
        """Returns the vectors whose dot products with the queries are the scores: int [n] -> float32 [n, width].

        One column more than `hidden` has is added to the score, as biases are: its counterpart in a query is 1.
        """
        raise InputError(f"{type(self).__name__} does not score by a dot product, so it has no vectors of items")

    def all_vectors(self):
        """Returns float32 [size, dim], the vector of every id, and float32 [size], the biases, or None."""
        raise InputError(f"{type(self).__name__} does not score by a dot product, so it has no vectors of items")

    def part_of_column(self, column, ids):
        """Returns what the vectors lose where a column of content is missing: int [n] -> float32 [n, dim or width]."""
        raise NotImplementedError(f"{type(self).__name__} does not define part_of_column")

    def item_variables(self) -> list:
        """Returns the variables that have a row for every id."""
        return [variable for variable in self.variables if variable.shape[:1] == (self.size,)]
