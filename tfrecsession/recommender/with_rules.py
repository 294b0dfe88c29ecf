"""Recommendations under rules: filters, boosts, quotas, diversity and pinned items."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.rules.attributes import ItemAttributes
from tfrecsession.rules.ruled_list import RuledLists, candidates_of
from tfrecsession.rules.rules import SEPARATOR, rule_texts
from tfrecsession.sessions.vocabulary import FIRST


def of_numbers(texts):
    """Converts the texts of ids to int32 ids, 0 for ""."""
    return tf.strings.to_number(tf.where(texts == "", "0", texts), tf.int32)


class WithRules:
    """Mixed into `Recommender`: lists under rules, by the same graph in Python and in exports."""

    _ruled: tuple = (None, None)  # the content that the lists were made for, and the lists

    def ruled_lists(self) -> RuledLists:
        """Returns the graph of rules on the items' content; it is made anew where the content has changed."""
        content = self.items.content, len(self.items.tensors)
        known, lists = self._ruled
        if lists is None or known[0] is not content[0] or known[1] != content[1]:
            lists = RuledLists(ItemAttributes(self.items), self.item_counts.value, self._own_vectors())
            self._ruled = _Untracked((content, lists))
            for key in [key for key in self._answer_graphs if key[0] == "answer_with_rules"]:
                del self._answer_graphs[key]
        return lists

    def known_rules(self, k: int) -> dict:
        """Returns what rules may read, the entry `rules` of an export's card."""
        lists = self.ruled_lists()
        # copies, since a module wraps its attributes in what is no JSON
        columns, similar = dict(lists.kinds), list(lists.similar)
        return {"columns": columns, "similar": similar, "candidates": candidates_of(k, self.size - 2)}

    def answer_with_rules(
        self,
        ids,
        rules,
        k: int,
        exclude_seen: bool = False,
        allowed=None,
        exclude=None,
        only=None,
        given=None,
        to_ids=of_numbers,
    ):
        """Returns the lists of histories under rules, see `rules.ruled_list.RuledLists`.

        Args:
            ids, k, exclude_seen, allowed, exclude, only, given: as in `answer`.
            rules: string [histories, any], the texts of `rules.rules`; `""` is none.
            to_ids: string [...] -> int32 ids, of the pinned items in the texts.
        """

        def find(passing, count):
            passing = passing if allowed is None else passing & allowed
            passing = passing if only is None else self.among(only, passing)
            more = {"exclude": exclude, "given": given}
            more = {name: value for name, value in more.items() if value is not None}
            return self.answer(ids, count, exclude_seen, allowed=passing, **more)

        return self.ruled_lists()(rules, find, k, to_ids, exclude)

    def _own_vectors(self):
        """Returns the function of the vectors that diversity compares, int32 [n] -> [n, width]; None: has none."""
        items = self.item_rows()
        try:
            width = items.rows(tf.constant([0])).shape[1]
        except InputError:
            return None
        if self.searched_by_products:  # which an export has in the form of its index
            return lambda ids: self.score_vectors(ids)[:, :width]
        return items.rows

    def checked_rules(self, rules, rows: int, k: int) -> tuple[list[list[str]], list[np.ndarray]]:
        """Returns the texts of the rules of each history, as they are shown and with the ids of pinned items."""
        lists = rule_texts(rules, rows, self.known_rules(k), k)
        return lists, [np.array([self._coded(text) for text in texts], object) for texts in lists]

    def _coded(self, text: str) -> str:
        name, *fields = text.split(SEPARATOR)
        if name != "pin":
            return text
        position, item = fields
        index = self.items.encode([item])[0]
        if index < FIRST:
            raise InputError(f"rules: pin: {item!r} is not in the catalogue")
        return SEPARATOR.join((name, position, str(index)))


class _Untracked(tuple):
    """A tuple that Keras does not search for variables and layers."""
