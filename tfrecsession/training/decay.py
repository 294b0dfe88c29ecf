"""Learning rates that decay during training."""

import keras
import tensorflow as tf

from tfrecsession.optimizers.lazy_adagrad import LazyAdagrad


class LinearDecay(keras.callbacks.Callback):
    """Linear decay of the optimizer's learning rate, to 0 at the end of the last epoch.

        learning_rate_t = learning_rate * (1 - t / T),  t = 0 .. T - 1 batches

    T comes from `fit`, whereas a `LearningRateSchedule` needs the number of batches as an argument. A `fit` with
    `initial_epoch` continues at that point of the line.

        model.fit(batches, epochs=10, callbacks=[trs.training.LinearDecay()])
    """

    def on_train_begin(self, logs=None):
        self.learning_rate = rate_of(self.model.optimizer)
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        done = (self.epoch + batch / self.params["steps"]) / self.params["epochs"]
        self.model.optimizer.learning_rate = self.learning_rate * (1.0 - done)

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.learning_rate  # a further fit starts from the initial rate


class FineTuning(keras.callbacks.Callback):
    """Learning rate and optimizer state of the further epochs over the newest sessions.

    The rate falls linearly from `rate` to 0 over these epochs. Adagrad's sums of squared gradients start again from
    their initial value: they only grow, and after the epochs over all sessions the steps would be too small.

    Args:
        rate: the first learning rate; None: `afterwards`.
        afterwards: the learning rate of the optimizer after `fit`.
        begin: the number of the first of these epochs.
    """

    def __init__(self, rate: float | None, afterwards: float, begin: int):
        super().__init__()
        self.rate, self.afterwards, self.begin = afterwards if rate is None else rate, afterwards, begin

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if epoch == self.begin:
            forget(self.model.optimizer)

    def on_train_batch_begin(self, batch, logs=None):
        done = (self.epoch - self.begin + batch / self.params["steps"]) / (self.params["epochs"] - self.begin)
        self.model.optimizer.learning_rate = self.rate * (1.0 - done)

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.afterwards


def forget(optimizer) -> None:
    """Sets the state of an Adagrad to its initial values; that of other optimizers forgets by itself."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    for part in getattr(optimizer, "optimizers", {}).values():  # of a `Grouped`
        forget(part)
    if isinstance(optimizer, LazyAdagrad) and optimizer.built:
        for name, value in optimizer.slots().items():
            for variable in optimizer.state[name]:
                variable.assign(tf.fill(variable.shape, tf.cast(value, variable.dtype)))


def rate_of(optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


DECAYS = {"linear": LinearDecay}
