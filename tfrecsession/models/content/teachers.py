"""Teachers: fitted models whose item vectors another model learns."""

from __future__ import annotations

import contextlib

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.recommender.arguments import refuse
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.recommender import Recommender

HISTORIES = 5000  # of the training split, on which scores are compared
BLOCK = 256  # histories that are encoded at once


class UsersOfTeacher:
    """Recommendations by user id, by the vectors of the users that a teacher knows. Mixed in before `Recommender`.

    The class has `teacher`; its item vectors are in the teacher's space.
    """

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, *(("users",) if len(self.users) else ()))

    @property
    def users(self) -> np.ndarray:
        """The ids of the teacher's users; none where it knows users by their histories alone."""
        knows = isinstance(self.teacher, KnownUsers)
        return self.teacher.users if knows else np.empty(0, object)

    @property
    def _known_users(self):
        if not isinstance(self.teacher, KnownUsers):
            raise InputError(f"the teacher, a {type(self.teacher).__name__}, knows no users by id: use recommend")
        return self.teacher._known_users

    @property
    def user_vectors(self):
        return self._known_users.user_vectors

    def answer_users(self, *args, **kwargs):
        return KnownUsers.answer_users(self, *args, **kwargs)

    def has_answer(self, known, counts):
        return self.teacher.has_answer(known, counts)

    def recommend_users(self, *args, **kwargs):
        return KnownUsers.recommend_users(self, *args, **kwargs)

    def _rows(self, *args, **kwargs):
        return KnownUsers._rows(self, *args, **kwargs)


def query_of(teacher):
    """Returns the function from a teacher's encodings to the vectors that it multiplies: [n, dim] -> [n, width]."""
    return (lambda hidden: hidden) if teacher.output_items is None else teacher.output_items.query


def checked_teacher(teacher, items) -> Recommender:
    """Returns a teacher of this catalogue that has item vectors; InputError says why another one cannot teach.

    Args:
        teacher: a model.
        items: the `Items` of the student; None where its vocabulary is read later.
    """
    if not isinstance(teacher, Recommender):
        refuse("teacher", teacher, "a fitted model of trs.models that has item vectors, such as ALS or GRU4Rec")
    label = f"teacher: this {type(teacher).__name__}"
    if not teacher.scores_by_products:
        raise InputError(
            f"{label} has no item vectors, its scores are no dot products: must be a model that has them, such as als, "
            "two_tower, or gru4rec without repeats"
        )
    if teacher.reads.users is not None:
        raise InputError(f"{label} reads the earlier sessions of a user, which the student cannot: choose another one")
    if teacher.trend_head is not None:
        raise InputError(f"{label} adds recent counts of the items, which content cannot tell: fit it with trend=[]")
    if items is not None and not items.holds(teacher.items):
        raise InputError(
            f"{label} is of other data: its vocabulary is {teacher.items.fingerprint} ({len(teacher.items):,} items), "
            f"that of the student is {items.fingerprint} ({len(items):,} items); fit both on one data set"
        )
    return teacher


def fit_teacher(teacher, sessions) -> None:
    """Fits a teacher in closed form that is not fitted yet, and brings its vectors up to date.

    Raises:
        InputError: one that is trained by gradient is not fitted, or the sessions have weights that it cannot use.
    """
    if teacher is None:
        refuse("teacher", None, "a fitted model that has item vectors, e.g. fit(data.train, teacher=als)")
    if not teacher.has_learned:
        if teacher.learning is not None:
            raise InputError(f"teacher: this {type(teacher).__name__} is not fitted: fit it first")
        teacher.fit(sessions)
    elif sessions.weighing is not None:
        raise InputError("x: must be data.train without weighted(...): weights belong to the fit of the teacher")
    teacher.prepare_export()


def queries_of(teacher, sessions) -> np.ndarray:
    """Encodes histories of a split as a teacher scores them, float32 [at most HISTORIES, width]."""
    histories = [teacher.items.encode(history) for history in sessions.beginnings(HISTORIES)]
    histories = sorted((ids[ids > 1] for ids in histories), key=len)
    histories = [ids for ids in histories if len(ids)]
    found = []
    encode = tf.function(teacher.query_vectors, reduce_retracing=True, autograph=False)
    for first in range(0, len(histories), BLOCK):
        block = histories[first : first + BLOCK]
        padded = np.zeros((len(block), len(block[-1])), np.int32)
        for row, ids in zip(padded, block, strict=True):
            row[: len(ids)] = ids
        found.append(encode(tf.constant(padded)).numpy())
    if not found:
        raise InputError("x: no session has a known item: there is no history to score")
    return np.concatenate(found)


@contextlib.contextmanager
def no_optimizer(teacher):
    """Takes the optimizer of a trained teacher away while it is saved: it is not trained again."""
    if teacher is None or teacher.learning is None:
        yield
        return
    optimizer, teacher.optimizer = teacher.optimizer, None
    try:
        yield
    finally:
        teacher.optimizer = optimizer
