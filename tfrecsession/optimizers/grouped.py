"""One optimizer for variables in groups, each with the steps of an optimizer of its own."""

from __future__ import annotations

import keras

from tfrecsession.errors import InputError


@keras.saving.register_keras_serializable(package="tfrecsession")
class Grouped(keras.optimizers.Optimizer):
    """A Keras optimizer of several: each has the variables of its group, and counts its own steps.

        Grouped({"rest": LazyAdam(0.001), "table": LazyAdagrad(0.1)}, lambda v: "table" if "items" in v.path else None)

    `apply` steps the groups whose variables it is given; the others keep every bit, in their state too. So a training
    step that leaves a group out freezes it, and Adam's correction of its first steps is right whenever it begins.

    `learning_rate` is that of the first group; setting it scales the others by the same factor.

    Args:
        optimizers: name of a group -> its optimizer; the first group takes the variables that `group_of` leaves out.
        group_of: a function from a variable to the name of its group, or None. A saved file holds it if it is
            registered with Keras (`keras.saving.register_keras_serializable`); `ParallelRNN` sets it again itself.

    Raises:
        InputError: no group, an unknown group, or several workers.
    """

    def __init__(self, optimizers: dict, group_of=None, name="grouped"):
        if not isinstance(optimizers, dict) or not optimizers:
            raise InputError(f"optimizers={optimizers!r}: must be a dict, name of a group -> its optimizer")
        super().__init__(learning_rate=0.0, name=name)
        self.optimizers = {key: keras.optimizers.get(optimizer) for key, optimizer in optimizers.items()}
        self.group_of = group_of

    @property
    def _first(self):
        return next(iter(self.optimizers.values()))

    def group(self, variable) -> str:
        """Returns the name of a variable's group."""
        name = (self.group_of and self.group_of(variable)) or next(iter(self.optimizers))
        if name not in self.optimizers:
            raise InputError(f"group_of: {variable.path} is of {name!r}, must be one of {', '.join(self.optimizers)}")
        return name

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        if self._distribution_strategy.num_replicas_in_sync > 1:
            raise InputError("optimizer: Grouped needs a single worker")
        for name, optimizer in self.optimizers.items():
            optimizer.build([variable for variable in variables if self.group(variable) == name])

    @property
    def variables(self):
        return [*self._variables, *(part for optimizer in self.optimizers.values() for part in optimizer.variables)]

    @property
    def training_state(self) -> list:
        """The plain variables that a resumed training needs, beside `variables`."""
        return [part for optimizer in self.optimizers.values() for part in getattr(optimizer, "training_state", ())]

    def apply(self, grads, trainable_variables=None):
        """Steps the groups of these variables."""
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built:
            self.build(variables)
        pairs = [pair for pair in zip(grads, variables, strict=True) if pair[0] is not None]
        for name, optimizer in self.optimizers.items():
            own = [pair for pair in pairs if self.group(pair[1]) == name]
            if own:
                optimizer.apply(*zip(*own, strict=True))
        self._iterations.assign_add(1)

    @property
    def learning_rate(self):
        return self._first.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate):
        before = [keras.ops.convert_to_numpy(optimizer.learning_rate) for optimizer in self.optimizers.values()]
        for rate, optimizer in zip(before, self.optimizers.values(), strict=True):
            # a rate of 0, the end of a decay, has no factor
            optimizer.learning_rate = learning_rate * float(rate / before[0]) if before[0] else learning_rate

    def get_config(self):
        optimizers = {name: keras.saving.serialize_keras_object(part) for name, part in self.optimizers.items()}
        registered = self.group_of is not None and ">" in keras.saving.get_registered_name(self.group_of)
        group_of = keras.saving.serialize_keras_object(self.group_of) if registered else None
        return {"name": self.name, "optimizers": optimizers, "group_of": group_of}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        optimizers = {
            name: keras.saving.deserialize_keras_object(part, custom_objects=custom_objects)
            for name, part in config["optimizers"].items()
        }
        group_of = config.get("group_of") and keras.saving.deserialize_keras_object(config["group_of"])
        return cls(optimizers, group_of, config.get("name", "grouped"))
