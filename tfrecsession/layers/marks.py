"""Checks of the arrays that mark where sessions start: the wrong one would reset a state everywhere else."""

import keras

from tfrecsession.errors import InputError


def check_marks(name: str, marks) -> None:
    """Checks that an array is bool: true where a session starts; None passes.

    Raises:
        InputError: it has another dtype, such as the `position` of a batch.
    """
    dtype = "bool" if marks is None else _dtype(marks)
    if dtype != "bool":
        raise InputError(
            f"{name}: must be bool [rows, steps], true where a session starts, not {dtype}; "
            "of a batch it is batch['position'] == 0"
        )


def check_positions(name: str, positions) -> None:
    """Checks that an array holds whole numbers, such as the `position` of a batch.

    Raises:
        InputError: it has another dtype, such as bool marks of session starts.
    """
    dtype = _dtype(positions)
    if "int" not in dtype:
        raise InputError(
            f"{name}: must be int [rows, steps], 0 where a session starts and 1, 2, ... after it, not {dtype}; "
            "of a batch it is batch['position']"
        )


def _dtype(array) -> str:
    return keras.backend.standardize_dtype(getattr(array, "dtype", None) or keras.ops.convert_to_tensor(array).dtype)
