"""The base of the lazy optimizers: a sparse gradient updates only the rows it names, at their cost."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.optimizers.sparse_sums import GradientSum

REFUSED = {
    "use_ema": "averages the whole table at every step; keep checkpoints instead",
    "loss_scale_factor": "divides sparse gradients; wrap it in trs.optimizers.LossScale instead",
}


class LazyOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer that updates only those rows of a table that its sparse gradient names.

    Keras' own optimizers read or rewrite the whole table and its state at every step, and count an item double that
    occurs twice in a batch. Here duplicate rows are summed first. Then the rows of table and state are gathered,
    updated by the same formula as dense gradients, and scattered back. Untouched rows keep every bit, in the state too:
    neither momentum nor weight decay reaches them.

    A new optimizer is one file: a subclass with `slots`, `change` and `get_config`.

    A layer may give a weight a `rate_factor`, a float from 0: the learning rate of this weight is multiplied by it.

    Args:
        learning_rate: float, `keras.optimizers.schedules.LearningRateSchedule` or callable.
        gradient_accumulation_steps: how many batches make one step, with the mean of their gradients: the same step as
            on one joint batch, in the memory of one. The cost follows the rows touched. `iterations` counts steps. An
            incomplete step at the end of training is dropped. None: every batch is a step. For one worker only.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: as in `keras.optimizers.Optimizer`; norms are those
            of the summed gradient, and weight decay acts on the rows touched.

    Raises:
        InputError: `use_ema` or `loss_scale_factor`, which cost the whole table; an invalid number of batches.
    """

    reads_values = False  # whether `change` reads the variable's own values, as state["value"]

    def __init__(self, learning_rate, **kwargs):
        steps = kwargs.get("gradient_accumulation_steps")
        if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 2):
            raise InputError(f"gradient_accumulation_steps={steps!r}: must be a number of batches per step, 2 or more")
        for argument, reason in REFUSED.items():
            if kwargs.get(argument):
                raise InputError(f"{argument}: is not supported by {type(self).__name__}, as it {reason}")
        super().__init__(learning_rate, **kwargs)
        self.norms = None  # of the gradients, once `watch_norms` was called

    def slots(self):
        """Returns the state kept beside every variable: {name: initial value}."""
        raise NotImplementedError

    def change(self, gradient, state, learning_rate):
        """Computes one step of the formula, on whole variables or on some of their rows.

        Args:
            gradient: [rows, ...].
            state: {slot name: [rows, ...]}; with `reads_values` also "value", those of the variable.
            learning_rate: scalar.

        Returns:
            The change to add to the variable, [rows, ...], and the new state.
        """
        raise NotImplementedError

    def build(self, variables):
        if self.built:
            return
        steps, self.gradient_accumulation_steps = self.gradient_accumulation_steps, None
        super().build(variables)  # with steps it would allocate dense sums
        self.gradient_accumulation_steps = steps
        if steps and self._distribution_strategy.num_replicas_in_sync > 1:
            raise InputError(f"gradient_accumulation_steps={steps}: needs a single worker; put more rows into a batch")
        self._sums = [GradientSum(variable) for variable in variables] if steps else []
        self._rate_factors = [getattr(variable, "rate_factor", 1.0) for variable in variables]
        initial = self.slots()
        slot_variables = self.add_optimizer_variables(
            variables, list(initial), [keras.initializers.Constant(value) for value in initial.values()]
        )
        self._slots = dict(zip(initial, slot_variables, strict=True))

    @property
    def state(self):
        """The slot variables: {slot name: one per variable that the optimizer was built for, in their order}."""
        return self._slots

    @property
    def training_state(self) -> list:
        """The plain variables that a resumed training needs, beside `variables`."""
        return [variable for part in self._sums for variable in part.variables] if self.built else []

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if self.gradient_accumulation_steps:  # a file has no sums: an incomplete step starts again
            self._iterations.assign(self.iterations * self.gradient_accumulation_steps)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        learning_rate = tf.cast(learning_rate, variable.dtype) * self._rate_factors[index]
        slots = {name: variables[index].value for name, variables in self._slots.items()}
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, variable, slots, learning_rate)
        else:
            self._update_all(gradient, variable, slots, learning_rate)

    def _update_rows(self, gradient, variable, slots, learning_rate):
        rows = gradient.indices
        state = {name: gather_rows(slot, rows) for name, slot in slots.items()}
        if self.reads_values:
            state["value"] = gather_rows(variable, rows)
        change, state = self.change(tf.cast(gradient.values, variable.dtype), state, learning_rate)
        if self._decays(variable):
            change -= gather_rows(variable, rows) * (self.weight_decay * learning_rate)
        variable.scatter_add(tf.IndexedSlices(change, rows))
        for name, slot in slots.items():
            slot.scatter_update(tf.IndexedSlices(state[name], rows))

    def _update_all(self, gradient, variable, slots, learning_rate):
        state = {name: tf.convert_to_tensor(slot) for name, slot in slots.items()}
        if self.reads_values:
            state["value"] = tf.convert_to_tensor(variable)
        change, state = self.change(tf.cast(gradient, variable.dtype), state, learning_rate)
        if self._decays(variable):
            change -= variable * (self.weight_decay * learning_rate)
        variable.assign_add(change)
        for name, slot in slots.items():
            slot.assign(state[name])

    def _decays(self, variable):
        return bool(self.weight_decay) and self._use_weight_decay(variable)

    def watch_norms(self, variables):
        """Keeps the norm of every variable's gradient in `norms`, float32 [variables], from the next traced step on.

        Norms are taken before clipping; a sparse gradient costs only the rows it names. Returns whether this is new.
        """
        if self.norms is not None:
            return False
        self.norms = tf.Variable(tf.zeros(len(variables)), trainable=False)
        return True

    def _backend_apply_gradients(self, grads, trainable_variables):
        grads = [merged(g) for g in grads]
        if self._distribution_strategy.num_replicas_in_sync > 1:
            # Sum over the replicas before clipping, so that the gradient of the whole batch is clipped. The touched
            # rows of a table are gathered, and merged again where replicas touched the same row.
            grads = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, grads)
            grads = [merged(g) for g in grads]
        if not self.gradient_accumulation_steps:
            self._step(grads, trainable_variables)
            return
        sums = [self._sums[self._get_variable_index(variable)] for variable in trainable_variables]

        def add():
            for part, gradient in zip(sums, grads, strict=True):
                part.add(gradient)
            return True

        def step():
            mean = [merged(part.take(gradient)) for part, gradient in zip(sums, grads, strict=True)]
            self._step([_divided(gradient, self.gradient_accumulation_steps) for gradient in mean], trainable_variables)
            return True

        full = (self._iterations.value + 1) % self.gradient_accumulation_steps == 0
        tf.cond(full, step, add)

    def _step(self, grads, trainable_variables):
        """Applies one step, with gradients that name every row once."""
        if self.norms is not None:
            index = [self._get_variable_index(variable) for variable in trainable_variables]
            halves = [tf.cast(tf.nn.l2_loss(getattr(g, "values", g)), tf.float32) for g in grads]
            self.norms.scatter_update(tf.IndexedSlices(tf.sqrt(2.0 * tf.stack(halves)), index))
        self._backend_update_step(self._clip_gradients(grads), trainable_variables, self.learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # summed already

    def _clip_gradients(self, grads):
        # Keras' own clipping by value and by global norm makes sparse gradients dense
        if self.clipnorm:
            return [tf.clip_by_norm(g, self.clipnorm) for g in grads]
        if self.clipvalue:
            return [tf.clip_by_value(g, -self.clipvalue, self.clipvalue) for g in grads]
        if self.global_clipnorm:
            return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]
        return grads


def merged(gradient):
    """Returns a dense gradient unchanged, and a sparse one with every row named once."""
    return sum_duplicates(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _divided(gradient, divisor):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / divisor, gradient.indices, gradient.dense_shape)
    return gradient / divisor


def sum_duplicates(gradient):
    """Sums the values of rows that a sparse gradient names several times, so that it names every row once."""
    rows, position = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
