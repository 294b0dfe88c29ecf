"""Learning rates that decay during training."""

import keras


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


class FixedRate(keras.callbacks.Callback):
    """A learning rate of this `fit` alone; `afterwards` the optimizer has another one.

    None: the rate is `afterwards` during `fit` too.
    """

    def __init__(self, rate: float | None, afterwards: float):
        super().__init__()
        self.rate, self.afterwards = afterwards if rate is None else rate, afterwards

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.rate

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.afterwards


def rate_of(optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


DECAYS = {"linear": LinearDecay}
