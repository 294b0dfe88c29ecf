"""Session GRUs that start from user GRUs, which summarize a user's earlier sessions."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers.marks import check_marks
from tfrecsession.layers.recurrent.session_gru import SessionGRU
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionHierarchy(keras.layers.Layer):
    """The recurrence of HRNN (arXiv 1706.04148), for session m of a user and its event n.

        c_m = GRU_usr(s_{m-1, last}, c_{m-1})               once, where session m starts; c_1 = 0
        s_{m,0} = tanh(c_m W_init + b_init)                 s_{1,0} = 0: nothing is known of a new user
        s_{m,n} = GRU_ses(x_{m,n}, s_{m,n-1} [, c_m])       `user_in`: c_m enters the gates besides x_{m,n}

    Both GRUs may have several layers. A session layer reads the one below at every event, a user layer the one below
    at every session. The first user layer reads the last session layer, and only the first session layer reads c_m. A
    session starts from all layers at the end of the one before, so all layers take a step before any takes the next.

    The state of a row is one vector, `[user layers | session layers, the last one first]`; its first `user_width`
    columns are what is kept of a user between two sessions.

    Args:
        units, user_units: width of each session layer and of each user layer, first to last.
        user_in: None (HRNN-Init); "all_gates": c_m enters all three gates of the first session layer, as the paper has
            HRNN-All; "reset_update": it leaves the candidate alone, as in the authors' code.
        initialize: "all" session layers start from c_m; "first": only the first does, and the others continue from
            their state at the end of the session before, as in the authors' code.
        last_event: whether c_m includes a session's last event. False: only the ones before, as in the authors' code,
            which never feeds the last; the state then also holds the session layers before their last event.
        dropout, user_dropout, init_dropout: share of s_{m,n}, of c_m and of s_{m,0} set to zero in training (the rest
            is scaled up); the next step starts from the dropped state.
        project: as in `SessionRecurrent`.
    """

    def __init__(
        self,
        units,
        user_units,
        user_in=None,
        initialize="all",
        last_event=True,
        dropout=0.0,
        user_dropout=0.0,
        init_dropout=0.0,
        project=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.user_units = list(units), list(user_units)
        self.user_in = user_in
        self.initialize = initialize
        self.last_event = last_event
        self.project = project
        self.session = [
            SessionGRU(width, project=project or n > 0, name=f"session_{n}") for n, width in enumerate(units)
        ]
        self.user = [SessionGRU(width, name=f"user_{n}") for n, width in enumerate(user_units)]
        self.initialized = self.session if initialize == "all" else self.session[:1]
        rates = {"session": dropout, "user": user_dropout, "init": init_dropout}
        self.dropouts = {name: keras.layers.Dropout(rate, name=f"{name}_dropout") for name, rate in rates.items()}

    @property
    def user_width(self) -> int:
        return sum(self.user_units) + sum(self.units[len(self.initialized) :])

    @property
    def state_width(self) -> int:
        return sum(self.user_units) + sum(self.units) * (1 if self.last_event else 2)

    def build(self, input_shape):
        below = input_shape[-1]
        for layer in (*self.session, *self.user):
            layer.build((None, None, below))
            below = layer.units
        self.init = [
            (
                self.add_weight(name=f"init_kernel_{n}", shape=(self.user_units[-1], layer.units)),
                self.add_weight(name=f"init_bias_{n}", shape=(layer.units,), initializer="zeros"),
            )
            for n, layer in enumerate(self.initialized)
        ]
        if self.user_in:
            width = (3 if self.user_in == "all_gates" else 2) * self.units[0]  # update, reset, candidate
            self.user_kernel = self.add_weight(
                name="user_kernel",
                shape=(self.user_units[-1], width),
                initializer=lambda shape, dtype: self.session[0].gate_by_gate(shape, dtype)[:, :width],
            )
        self.built = True

    def call(self, inputs, starts, new, there=None, state=None, training=False):
        """Runs over all steps.

        Args:
            inputs: float [rows, steps, width].
            starts: bool [rows, steps], true where a session starts.
            new: bool [rows, steps], true where it is a user's first.
            there: bool [rows, steps], false in padding, which then leaves the state unchanged; None: all true.
            state: float [rows, state_width] before the first step, or None for zeros.
            training: whether dropout acts.

        Returns:
            float [rows, steps, units[-1]], the last session layer after each step; float [rows, state_width], the last
            state.
        """
        for name, mask in (("starts", starts), ("new", new), ("there", there)):
            check_marks(name, mask)
        projected = self.session[0].projected(inputs)  # (rows, steps, 3 units)

        def zero_or_one(cells):
            return ops.expand_dims(ops.cast(cells, projected.dtype), -1)  # (rows, steps, 1)

        goes_on = ops.logical_not(starts)
        per_step = {
            "inputs": projected,
            "starts": zero_or_one(ops.logical_and(starts, ops.logical_not(new))),
            "goes_on": zero_or_one(goes_on),
        }
        if there is not None:
            per_step["there"] = zero_or_one(there)
        if training:
            per_step |= self._dropout_masks(projected)
        if state is None:
            state = ops.zeros((ops.shape(inputs)[0], self.state_width), projected.dtype)  # (rows, state_width)
        before, kernels = self._split(state), self._kernels()  # lists of (rows, units)

        def advance(before, now):
            after = self._step(before, now, kernels)
            if there is None:
                return after
            return keras.tree.map_structure(lambda a, b: now["there"] * a + (1 - now["there"]) * b, after, before)

        steps = inputs.shape[1]
        if steps is not None and steps <= UNROLLED:
            outputs = []
            unstacked = {name: ops.unstack(array, steps, axis=1) for name, array in per_step.items()}
            for step in range(steps):
                before = advance(before, {name: arrays[step] for name, arrays in unstacked.items()})
                outputs.append(before[1][-1])  # (rows, units[-1])
            return ops.stack(outputs, axis=1), self._join(before)  # (rows, steps, units[-1]), (rows, state_width)

        time_major = {name: ops.transpose(array, (1, 0, 2)) for name, array in per_step.items()}  # (steps, rows, ...)
        states = tf.scan(advance, time_major, initializer=before)  # lists of (steps, rows, units)
        last = keras.tree.map_structure(lambda array: array[-1], states)  # lists of (rows, units)
        outputs = ops.transpose(states[1][-1], (1, 0, 2))  # (rows, steps, units[-1])
        return outputs, self._join(last)

    def output(self, state):
        """Returns the last session layer: [rows, state_width] -> [rows, units[-1]]."""
        first = sum(self.user_units)
        return state[:, first : first + self.units[-1]]

    def end_session(self, state):
        """Returns the state before the next session's first event: c and the session states that start from it.

        Args:
            state: float [rows, state_width], after a session's last event.
        """
        user, session, earlier = self._split(state)  # lists of (rows, units)
        session = session if self.last_event else earlier
        user = self._user_step(user, session, {}, self._kernels())
        session = self._session_start(user, session, {})
        return self._join((user, session, session))

    def state_from_user(self, user_state):
        """Returns the state before a session's first event: [rows, user_width], 0 if new -> [rows, state_width]."""
        state = ops.pad(user_state, ((0, 0), (0, self.state_width - self.user_width)))  # (rows, state_width)
        user, session, _ = self._split(state)  # lists of (rows, units)
        session = self._session_start(user, session, {})
        known = ops.cast(ops.any(user_state != 0, axis=1, keepdims=True), state.dtype)  # (rows, 1)
        return self._join((user, session, session)) * known

    def _step(self, before, now, kernels):
        """Computes all layers at one event: (user, session, session before the event), lists of [rows, units]."""
        user, session, earlier = before
        starts, goes_on = now["starts"], now["goes_on"]  # both 0 at a user's first event, which resets all

        def where_it_starts(started, otherwise):
            return [starts * a + goes_on * b for a, b in zip(started, otherwise, strict=True)]

        if not self.last_event:
            session = where_it_starts(earlier, session)
        user = where_it_starts(self._user_step(user, session, now, kernels), user)
        session = earlier = where_it_starts(self._session_start(user, session, now), session)
        below, after = now["inputs"], []  # (rows, 3 units)
        if self.user_in:
            below = below + ops.matmul(user[-1], kernels["user_in"])  # (rows, 3 units)
        for n, (layer, state) in enumerate(zip(self.session, session, strict=True)):
            below = layer.step(layer.projected(below) if n else below, state, kernels["session"][n])
            below = _dropped(below, now.get(f"session_{n}"))  # (rows, units)
            after.append(below)
        return user, after, earlier if not self.last_event else []

    def _user_step(self, user, session, now, kernels):
        below, after = session[-1], []
        for n, (layer, state) in enumerate(zip(self.user, user, strict=True)):
            below = layer.step(layer.projected(below), state, kernels["user"][n])
            below = _dropped(below, now.get(f"user_{n}"))  # (rows, units)
            after.append(below)
        return after

    def _session_start(self, user, session, now):
        """Returns the states at the start of a session; layers that are not initialized keep theirs."""
        started = [ops.tanh(ops.matmul(user[-1], kernel) + bias) for kernel, bias in self.init]  # (rows, units) each
        started = [_dropped(state, now.get(f"init_{n}")) for n, state in enumerate(started)]
        return [*started, *session[len(started) :]]

    def _kernels(self):
        """Returns what `step` multiplies states with, prepared once for all steps."""
        kernels = {name: [layer.kernels() for layer in getattr(self, name)] for name in ("session", "user")}
        if self.user_in:
            kernel = ops.convert_to_tensor(self.user_kernel)
            missing = 3 * self.units[0] - kernel.shape[1]
            kernels["user_in"] = ops.pad(kernel, ((0, 0), (0, missing))) if missing else kernel  # (user units, 3 units)
        return kernels

    def _dropout_masks(self, projected):
        """Returns layer name -> float [rows, steps, units], which multiplies its states in training."""
        layers = {"session": self.session, "user": self.user, "init": self.initialized}
        cells = ops.shape(projected)[:2]
        return {
            f"{name}_{n}": dropout(ops.ones((*cells, layer.units), projected.dtype), training=True)
            for name, dropout in self.dropouts.items()
            for n, layer in enumerate(layers[name])
            if dropout.rate
        }

    def _split(self, state):
        """Splits a state into (user, session, session before its last event): a list of layers each, first to last."""
        session = self.units[::-1]
        widths = [*self.user_units, *session, *([] if self.last_event else session)]
        parts = tf.split(state, widths, axis=-1)  # (rows, units) each
        users, layers = len(self.user_units), len(self.units)
        return parts[:users], parts[users : users + layers][::-1], parts[users + layers :][::-1]

    def _join(self, states):
        """Concatenates what `_split` returns: (rows, state_width)."""
        user, session, earlier = states
        return ops.concatenate([*user, *session[::-1], *([] if self.last_event else earlier[::-1])], axis=-1)

    def get_config(self):
        rates = {name: dropout.rate for name, dropout in self.dropouts.items()}
        return super().get_config() | {
            "units": self.units,
            "user_units": self.user_units,
            "user_in": self.user_in,
            "initialize": self.initialize,
            "last_event": self.last_event,
            "dropout": rates["session"],
            "user_dropout": rates["user"],
            "init_dropout": rates["init"],
            "project": self.project,
        }


def _dropped(state, mask):
    return state if mask is None else state * mask
