"""Learning rates that fall while a model trains."""

import keras


class LinearDecay(keras.callbacks.Callback):
    """The optimizer's learning rate falls in a straight line to 0 at the last batch of the last epoch.

        learning_rate_t = learning_rate * (1 - t / T),  t = 0 .. T - 1 batches

    It takes T from `fit`, where a `LearningRateSchedule` has to be told the number of batches. A `fit` with
    `initial_epoch` goes on where the line is by then.

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
        self.model.optimizer.learning_rate = self.learning_rate  # what it was told; a further fit starts from it


DECAYS = {"linear": LinearDecay}
