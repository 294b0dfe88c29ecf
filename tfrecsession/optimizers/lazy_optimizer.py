"""What every lazy optimizer shares: a sparse gradient changes the rows it names and costs no more than they do."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.optimizers.sparse_sums import GradientSum

REFUSED = {
    "use_ema": "an average of the whole table at every step; keep checkpoints instead",
    "loss_scale_factor": "to divide sparse gradients; wrap it in trs.optimizers.LossScale instead",
}


class LazyOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer that updates, of a table with sparse gradient, only the rows that the gradient names.

    Keras' own optimizers read or rewrite the whole table and its state at every step, and let an item that occurs
    twice in a batch count twice over. Here rows that occur several times are summed first, then the rows of table and
    state are gathered, updated by the very formula that serves dense gradients, and scattered back. Rows that were not
    touched keep every bit, in the state too: no decay reaches them, neither of momentum nor of weights.

    A new optimizer is one file: a subclass with `slots`, `change` and `get_config`.

    Args:
        learning_rate: float, `keras.optimizers.schedules.LearningRateSchedule` or callable.
        gradient_accumulation_steps: how many batches make one step, with the mean of their gradients: the step of one
            batch as large as all of them, in the memory of one. Costs no more than the rows touched. `iterations`
            counts steps. What a training ends with before a step is full is left out. None: every batch. For one
            worker.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: as in `keras.optimizers.Optimizer`; norms are those
            of the summed gradient, and weight decay acts on the rows touched.

    Raises:
        InputError: `use_ema` or `loss_scale_factor`, which would cost the whole table; or a number of batches that is
            none.
    """

    def __init__(self, learning_rate, **kwargs):
        steps = kwargs.get("gradient_accumulation_steps")
        if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 2):
            raise InputError(f"gradient_accumulation_steps={steps!r}: say how many batches make a step, 2 or more")
        for argument, reason in REFUSED.items():
            if kwargs.get(argument):
                raise InputError(f"{argument}: {type(self).__name__} refuses it, it would need {reason}")
        super().__init__(learning_rate, **kwargs)
        self.norms = None  # of the gradients, where somebody watches

    def slots(self):
        """The state kept beside every variable: {name: initial value}."""
        raise NotImplementedError

    def change(self, gradient, state, learning_rate):
        """One step of the formula, on whole variables or on some of their rows.

        Args:
            gradient: [rows, ...].
            state: {slot name: [rows, ...]}.
            learning_rate: scalar.

        Returns:
            What to add to the variable, [rows, ...], and the new state.
        """
        raise NotImplementedError

    def build(self, variables):
        if self.built:
            return
        steps, self.gradient_accumulation_steps = self.gradient_accumulation_steps, None
        super().build(variables)  # which would make dense sums
        self.gradient_accumulation_steps = steps
        if steps and self._distribution_strategy.num_replicas_in_sync > 1:
            raise InputError(f"gradient_accumulation_steps={steps}: is for one worker; put more rows into a batch")
        self._sums = [GradientSum(variable) for variable in variables] if steps else []
        initial = self.slots()
        made = self.add_optimizer_variables(
            variables, list(initial), [keras.initializers.Constant(value) for value in initial.values()]
        )
        self._slots = dict(zip(initial, made, strict=True))

    @property
    def state(self):
        """{slot name: a variable for each that the optimizer was built for, in their order}."""
        return self._slots

    @property
    def training_state(self) -> list:
        """Plain variables that a training which is to go on has to keep, beside `variables`."""
        return [variable for part in self._sums for variable in part.variables] if self.built else []

    def load_own_variables(self, store):
        super().load_own_variables(store)
        if self.gradient_accumulation_steps:  # a file has no sums: the step that was not full begins again
            self._iterations.assign(self.iterations * self.gradient_accumulation_steps)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = tf.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        slots = {name: variables[index].value for name, variables in self._slots.items()}
        if isinstance(gradient, tf.IndexedSlices):
            self._update_rows(gradient, variable, slots, learning_rate)
        else:
            self._update_all(gradient, variable, slots, learning_rate)

    def _update_rows(self, gradient, variable, slots, learning_rate):
        rows = gradient.indices
        state = {name: gather_rows(slot, rows) for name, slot in slots.items()}
        change, state = self.change(tf.cast(gradient.values, variable.dtype), state, learning_rate)
        if self._decays(variable):
            change -= gather_rows(variable, rows) * (self.weight_decay * learning_rate)
        variable.scatter_add(tf.IndexedSlices(change, rows))
        for name, slot in slots.items():
            slot.scatter_update(tf.IndexedSlices(state[name], rows))

    def _update_all(self, gradient, variable, slots, learning_rate):
        state = {name: tf.convert_to_tensor(slot) for name, slot in slots.items()}
        change, state = self.change(tf.cast(gradient, variable.dtype), state, learning_rate)
        if self._decays(variable):
            change -= variable * (self.weight_decay * learning_rate)
        variable.assign_add(change)
        for name, slot in slots.items():
            slot.assign(state[name])

    def _decays(self, variable):
        return bool(self.weight_decay) and self._use_weight_decay(variable)

    def watch_norms(self, variables):
        """Keep the norm of every variable's gradient in `norms`, float32 [variables], from the next traced step on.

        Of a sparse gradient the rows it names are read and no others; before clipping. True if that is new.
        """
        if self.norms is not None:
            return False
        self.norms = tf.Variable(tf.zeros(len(variables)), trainable=False)
        return True

    def _backend_apply_gradients(self, grads, trainable_variables):
        grads = [merged(g) for g in grads]
        if self._distribution_strategy.num_replicas_in_sync > 1:
            # Summed over the replicas before they are clipped: what is clipped is the gradient of the whole batch. Of
            # a table the rows touched are gathered, and merged once more where replicas have touched the same.
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
        """One step with gradients that name every row once."""
        if self.norms is not None:
            place = [self._get_variable_index(variable) for variable in trainable_variables]
            halves = [tf.cast(tf.nn.l2_loss(getattr(g, "values", g)), tf.float32) for g in grads]
            self.norms.scatter_update(tf.IndexedSlices(tf.sqrt(2.0 * tf.stack(halves)), place))
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
    """A gradient as it is where it is dense, with every row named once where it is sparse."""
    return sum_duplicates(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _divided(gradient, number):
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / number, gradient.indices, gradient.dense_shape)
    return gradient / number


def sum_duplicates(gradient):
    """The same sparse gradient with every row named once: values of rows named several times are summed."""
    rows, position = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)
