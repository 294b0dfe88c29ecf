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
        self.learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        done = (self.epoch + batch / self.params["steps"]) / self.params["epochs"]
        self.model.optimizer.learning_rate = self.learning_rate * (1.0 - done)

    def on_train_end(self, logs=None):
        self.model.optimizer.learning_rate = self.learning_rate  # a further fit starts from the initial rate


DECAYS = {"linear": LinearDecay}
