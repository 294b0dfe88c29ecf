"""Item vectors side by side, from several tables that are trained apart."""

import keras
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_embedding import ItemEmbedding, _unit_rows


@keras.saving.register_keras_serializable(package="tfrecsession")
class JoinedItems(ItemEmbedding):
    """An `ItemEmbedding` whose vectors are those of several tables, side by side: score = sum_a W_a[i] . h_a + b_i.

    Args:
        size: rows of each table: the items + 2.
        dims: widths of the tables; `dim` is their sum.
        initializer: of each table; None: rows of a length near 1, as in `ItemEmbedding`.
        **kwargs: `bias`, `normalize` (of the joined vectors), `temperature` as in `ItemEmbedding`.
    """

    def __init__(self, size, dims, initializer=None, **kwargs):
        self.dims, self.of_each = tuple(dims), initializer
        super().__init__(size, sum(dims), initializer=initializer, **kwargs)

    def build(self, input_shape=None):
        self.tables = [
            self.add_weight(
                shape=(self.size, dim),
                initializer=keras.initializers.get(self.of_each or _unit_rows(dim)),
                dtype="float32",
                autocast=False,
                name=f"table_{index}",
            )
            for index, dim in enumerate(self.dims)
        ]
        self.build_rest()

    def rows_of(self, index: int, ids):
        """Gathers rows of one table: int [...] -> [..., dims[index]] in the compute dtype."""
        return tf.cast(gather_rows(self.tables[index].value, ids), self.compute_dtype)

    def _gathered(self, ids):
        return tf.concat([gather_rows(table.value, ids) for table in self.tables], axis=-1)

    def _whole(self):
        return tf.concat([tf.convert_to_tensor(table.value) for table in self.tables], axis=1)

    def get_config(self):
        config = super().get_config()
        config.pop("dim")
        initializer = self.of_each and keras.initializers.serialize(keras.initializers.get(self.of_each))
        return config | {"dims": list(self.dims), "initializer": initializer}
