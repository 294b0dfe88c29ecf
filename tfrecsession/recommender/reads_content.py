"""Content of items in models trained by gradient: the argument `content`, and the vectors that follow from it."""

from __future__ import annotations

from tfrecsession.errors import InputError
from tfrecsession.layers.items.content_items import ContentItems
from tfrecsession.layers.items.item_content import ContentEncoder, ItemContent
from tfrecsession.recommender.arguments import check_choice, check_number, refuse
from tfrecsession.sessions.content_columns import ContentColumns, content_columns

EXTRA = "model.keras"  # in `assets.extra` of an export
SIDES = ("both", "input", "output")


class ReadsContent:
    """Mixed into `SequenceModel`: item vectors that are ids and content, for inputs, outputs or both.

    A model calls `read_content` before and `with_content` after it creates its item tables. The vectors of all items
    are computed when training ends, before an evaluation and before an export, see `settle`.
    """

    content: ContentColumns | None = None  # the columns that are read
    item_content: ItemContent | None = None  # the catalogue's content, for ids
    _settled_at: int | None = None  # steps of the optimizer when the vectors were computed

    def read_content(self, content, side: str, id_dropout: float) -> None:
        """Takes the arguments `content`, `content_side` and `id_dropout`."""
        check_choice("content_side", side, SIDES)
        check_number("id_dropout", id_dropout, 0, 1)
        self.content_side, self.id_dropout = side, id_dropout
        self.content = content_columns(content, self.items)
        if self.content is None:
            return
        self.item_content = ItemContent(self.content.columns, self.size, name="item_content")
        self._content_layers: list = []
        self._hold_content()

    def with_content(self, input_items, output_items, columns=None):
        """Returns the layers of inputs and outputs with content joined to the item tables on its side.

        `columns` are those that join; None: all that are read.
        """
        columns = columns if columns is not None or self.content is None else self.content.columns
        if not columns:
            return input_items, output_items
        made = {}

        def joined(layer, name):
            if id(layer) not in made:
                made[id(layer)] = self.content_items(layer, name, columns)
            return made[id(layer)]

        inputs = joined(input_items, "input") if self.content_side in ("both", "input") else input_items
        outputs = joined(output_items, "output") if self.content_side in ("both", "output") else output_items
        self._content_layers = list(made.values())
        return inputs, outputs

    def content_items(self, layer, name: str, columns=None, dim=None) -> ContentItems:
        """Returns an item table with content joined to its vectors, or to their last `dim` entries."""
        encoder = ContentEncoder(columns or self.content.columns, dim or layer.dim, name=f"{name}_encoder")
        joined = ContentItems(layer, self.item_content, encoder, self.id_dropout, name=f"{name}_items")
        joined.take_counts(self.items.counts)
        return joined

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, "content") if self.content is not None else super().abilities

    @property
    def content_state(self) -> list:
        """The variables that follow from the catalogue and what was learned: they are not learned themselves."""
        if self.content is None:
            return []
        return [*self.item_content.weights, *(weight for layer in self._content_layers for weight in layer.state)]

    def check_content(self) -> None:
        """Refuses content that the model does not read."""
        if self.content is not None and not self._content_layers:
            refuse("content", self.content.names, f"empty: {type(self).__name__} does not read it")

    def _hold_content(self) -> None:
        items = self.items
        if items.content is None and not items.tensors:
            return  # a saved model reads the content from its file
        encoded = self.content.encode(items.content) if items.content is not None else {}
        self.item_content.hold(encoded, items.tensors)
        self._settled_at = None

    def take_items(self, items) -> None:
        super().take_items(items)
        if self.content is not None:
            self._hold_content()
            for layer in self._content_layers:
                layer.take_counts(items.counts)

    def settle(self, force: bool = False) -> None:
        """Computes the vectors of all items, where training has changed them since.

        `fit`, `evaluate`, `recommend` and exports call it. After steps of a training loop of your own without the
        model's optimizer, call `settle(force=True)`.
        """
        if self.content is None:
            return
        steps = int(self.optimizer.iterations) if self.compiled and self.optimizer is not None else 0
        if not force and self._settled_at in (steps, "loaded"):
            self._settled_at = steps
            return
        if self.item_content.is_complete:
            for layer in self._content_layers:
                layer.settle()
            self._settled_at = steps

    def settle_new(self, ids, encoded: dict, tensors: dict) -> None:
        """Computes the vectors of items that were added, int [n], from their encoded content; the others stay."""
        content = dict(encoded)
        for name, tensor in tensors.items():
            content |= {name: tensor.values, f"{name}/present": tensor.present.astype("float32")}
        for layer in self._content_layers if self.content is not None else ():
            layer.settle(ids, content)
        self._settled_at = "loaded"

    def _read_tensors(self, items) -> None:
        """Finds vectors, images and sounds again, which a model's file does not hold."""
        if self.content is not None and not self.item_content.is_complete and items.tensors:
            self.item_content.read_from(items.tensors_of(self.items))

    # Where vectors must be up to date

    def check_vocabulary(self, items) -> None:
        super().check_vocabulary(items)
        self._read_tensors(items)

    def fit(self, x=None, *args, **kwargs):
        sessions = getattr(x, "sessions", None)
        self._read_tensors(getattr(x if sessions is None else sessions, "items", self.items))
        if self.content is not None and not self.item_content.is_complete:
            raise InputError(
                "x: must be batches of the data set, data.train.batches(...): this model reads its vectors, images and "
                "sounds"
            )
        self._settled_at = None  # a new optimizer counts its steps from 0 again
        history = super().fit(x, *args, **kwargs)
        self.settle()
        return history

    def evaluate(self, *args, **kwargs):
        self.settle()
        return super().evaluate(*args, **kwargs)

    def first_ranks(self, *args, **kwargs):
        self.settle()
        return super().first_ranks(*args, **kwargs)

    def target_ranks(self, *args, **kwargs):
        self.settle()
        return super().target_ranks(*args, **kwargs)

    def recommend_ids(self, *args, **kwargs):
        self.settle()
        return super().recommend_ids(*args, **kwargs)

    def explain(self, *args, **kwargs):
        self.settle()
        return super().explain(*args, **kwargs)

    def similar_items(self, *args, **kwargs):
        self.settle()
        return super().similar_items(*args, **kwargs)

    def prepare_export(self):
        super().prepare_export()
        self.settle()

    def write_export_extras(self, folder) -> None:
        """Writes the model itself beside its export, without optimizer and data: `add-items` needs it."""
        super().write_export_extras(folder)
        if self.content is None and not self.codes_follow_from_ids:
            return
        config = self.config_of_copies()
        config.pop("vocabulary")
        twin = type(self).from_config(config)
        for own, weight in zip(self.weights, twin.weights, strict=True):
            weight.assign(own)
        twin.items, twin._settled_at = self.items, "loaded"
        twin.save(folder / EXTRA)

    def config_of_copies(self) -> dict:
        """Returns the configuration of copies within this process, which may share parts that never change."""
        return self.get_config()

    def save_own_variables(self, store):
        self.settle()
        super().save_own_variables(store)

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self._settled_at = "loaded"

    def get_config(self):
        content = self.content.get_config() if self.content is not None else ()
        own = {"content": content, "content_side": self.content_side, "id_dropout": self.id_dropout}
        return {**super().get_config(), **own}
