"""Two recurrences over the same packed rows, one of them backwards through each session."""

import keras
from keras import ops

from tfrecsession.layers.marks import check_marks
from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionBidirectional(keras.layers.Layer):
    """`[forward | backward]` outputs of every step (Schuster and Paliwal, 1997).

    A step's output includes the steps after it. So only the item after the session's last step is a valid target: an
    earlier target is part of the input.

    Args:
        forward, backward: recurrent layers of the same kind and width.
    """

    def __init__(self, forward: SessionRecurrent, backward: SessionRecurrent, **kwargs):
        super().__init__(**kwargs)
        self.forward = forward
        self.backward = backward

    @property
    def units(self) -> int:
        return 2 * self.forward.units

    def build(self, inputs_shape, starts_shape=None):
        width = inputs_shape[-1]
        for direction in (self.forward, self.backward):
            if not direction.built:  # a loaded one is built
                direction.build((*inputs_shape[:-1], width if direction.project else width // 2))
        self.built = True

    def call(self, inputs, starts, training=False):
        """Runs both: inputs [rows, steps, width], starts bool [rows, steps] -> [rows, steps, 2 units].

        With `project=False` the inputs hold the products of both directions side by side.
        """
        check_marks("starts", starts)
        project = self.forward.project
        ahead, back = (inputs, inputs) if project else ops.split(inputs, 2, axis=-1)  # (rows, steps, gates * units)
        ends = ops.concatenate([starts[:, 1:], ops.ones_like(starts[:, :1])], axis=1)  # (rows, steps)
        forward, _ = self.forward(ahead, starts, training=training)  # (rows, steps, units)
        backward, _ = self.backward(ops.flip(back, axis=1), ops.flip(ends, axis=1), training=training)
        return ops.concatenate([forward, ops.flip(backward, axis=1)], axis=-1)  # (rows, steps, 2 units)

    @staticmethod
    def finished(outputs, position):
        """Returns where each direction ends: `[forward at this step | backward at the session's first step]`.

        At the last step of a session, both have read all of it.

        Args:
            outputs: [rows, steps, 2 units], from `call`.
            position: int [rows, steps], 0 at the first step of a session.
        """
        forward, backward = ops.split(outputs, 2, axis=-1)  # (rows, steps, units)
        first = ops.arange(ops.shape(position)[1], dtype="int32") - ops.cast(position, "int32")  # (rows, steps)
        backward = ops.take_along_axis(backward, first[..., None], axis=1)  # (rows, steps, units)
        return ops.concatenate([forward, backward], axis=-1)  # (rows, steps, 2 units)

    def compute_output_shape(self, inputs_shape, starts_shape=None):
        return (*inputs_shape[:2], self.units)

    def get_config(self):
        nested = keras.saving.serialize_keras_object
        return super().get_config() | {"forward": nested(self.forward), "backward": nested(self.backward)}

    @classmethod
    def from_config(cls, config):
        nested = keras.saving.deserialize_keras_object
        return cls(**config | {"forward": nested(config["forward"]), "backward": nested(config["backward"])})
