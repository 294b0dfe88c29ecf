"""An optimizer of groups: each steps by its own rule, counts its own steps, and rests bit for bit."""

import keras
import numpy as np
import pytest

from tfrecsession import InputError
from tfrecsession.optimizers import Grouped, LazyAdagrad, LazyAdam


def variables():
    return [keras.Variable(np.ones((3, 2), np.float32), name=name) for name in ("first", "second")]


def grouped(one, other):
    return Grouped({"a": one, "b": other}, lambda variable: "b" if variable.name == "second" else None)


def test_each_group_steps_as_its_optimizer_alone():
    gradient = np.full((3, 2), 0.5, np.float32)
    together, alone = variables(), variables()
    both, single = grouped(LazyAdagrad(0.1), LazyAdam(0.01)), (LazyAdagrad(0.1), LazyAdam(0.01))
    both.build(together)
    for optimizer, variable in zip(single, alone, strict=True):
        optimizer.build([variable])
    for step in range(5):
        chosen = [0, 1] if step == 0 else [step % 2]  # the other one rests
        before = [np.array(variable) for variable in both.variables]
        both.apply([gradient * (step + 1)] * len(chosen), [together[index] for index in chosen])
        for index in chosen:
            single[index].apply([gradient * (step + 1)], [alone[index]])
        resting = [name for number, name in enumerate("ab") if number not in chosen]
        kept = {id(variable) for name in resting for variable in both.optimizers[name].variables}
        for old, variable in zip(before, both.variables, strict=True):
            assert id(variable) not in kept or np.array_equal(old, variable)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [int(optimizer.iterations) for optimizer in both.optimizers.values()] == [3, 3]
    assert int(both.iterations) == 5


def test_rates_keep_their_ratio():
    optimizer = grouped(LazyAdagrad(0.1), LazyAdagrad(0.02))
    optimizer.learning_rate = 0.05
    assert [float(part.learning_rate) for part in optimizer.optimizers.values()] == pytest.approx([0.05, 0.01])
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


def test_it_is_saved_with_a_keras_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="one"), keras.layers.Dense(1, name="two")])
    model.compile(Grouped({"one": LazyAdam(0.01), "two": LazyAdagrad(0.1)}, of_layer), "mse")
    x, y = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
    model.fit(x, y, epochs=3, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert list(loaded.optimizer.optimizers) == ["one", "two"]
    assert [type(part) for part in loaded.optimizer.optimizers.values()] == [LazyAdam, LazyAdagrad]
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(loaded.optimizer.optimizers["two"].state["accumulator"]) == 2
    model.fit(x, y, verbose=0), loaded.fit(x, y, verbose=0)
    for one, other in zip(model.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


@keras.saving.register_keras_serializable(package="tests")
def of_layer(variable):
    return variable.path.split("/")[-2]


def test_what_is_refused():
    for optimizers in ({}, [LazyAdagrad(0.1)], None):
        with pytest.raises(InputError, match="optimizers=.*must be a dict, name of a group -> its optimizer"):
            Grouped(optimizers)
    with pytest.raises(InputError, match="group_of: first is of 'c', must be one of a"):
        Grouped({"a": LazyAdagrad(0.1)}, lambda variable: "c").build(variables())
