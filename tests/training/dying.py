"""A callback that ends a training in the middle."""

import keras


class Killed(BaseException):
    """An exception that training does not catch."""


class Kill(keras.callbacks.Callback):
    """Kills the training after a number of batches, where the end of an epoch counts as one."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= bool(logs)  # skipped batches have no logs
        if self.left < 0:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_end(None, logs)
