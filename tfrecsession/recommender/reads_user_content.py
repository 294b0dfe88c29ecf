"""Features of users in models: the argument `user_content`, and the layer that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfrecsession.errors import InputError
from tfrecsession.layers.items.user_features import UserFeatures
from tfrecsession.sessions.users import LearnedFeatures


class ReadsUserContent:
    """Mixed into models that know their users: vectors of users from their features.

    Attributes:
        user_features: the `LearnedFeatures`; None: no features are read.
        user_content_layer: the layer `UserFeatures`; None likewise.
    """

    user_features: LearnedFeatures | None = None
    user_content_layer: UserFeatures | None = None

    def read_user_content(self, user_content, names: Iterable[str] = ()) -> None:
        """Takes the argument `user_content`: names of columns, or the configuration of `LearnedFeatures`.

        Args:
            user_content: see above; empty: none.
            names: the users with an id of their own, those of codes 2 and up.

        Raises:
            InputError: the data set has no table of users, or the table no such column.
        """
        if isinstance(user_content, Mapping):
            self.user_features = LearnedFeatures.from_config(user_content)
            return
        content = [user_content] if isinstance(user_content, str) else list(user_content or ())
        if not content:
            return
        if self.items.users is None:
            raise InputError(
                f"user_content={content!r}: must be left out: this data set has no features of users; prepare the log "
                "with users=TABLE"
            )
        self.user_features = self.items.users.learn(content, names)

    def build_user_content(self, dim: int) -> None:
        """Creates the layer, for vectors of width `dim`, if features are read."""
        if (features := self.user_features) is None:
            return
        self.user_content_layer = UserFeatures(features.columns.columns, features.size, dim, name="user_features")
        if features.users is not None:
            table = features.users.content
            self.user_content_layer.hold(
                {} if table is None else features.columns.encode(table), features.users.tensors
            )

    @property
    def user_content_config(self):
        """The value of `user_content` in a configuration."""
        return () if self.user_features is None else self.user_features.get_config()
