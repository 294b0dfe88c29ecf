"""The rules of a shown list: filters, boosts, quotas, diversity and pinned items, in one form everywhere.

The order in which they act, whatever the order in which they are given:

1. `filter` leaves the items of the catalogue that pass every condition.
2. The n best of them by the model's score are the candidates.
3. `popularity` and `boost` add to the candidates' scores.
4. `pin`, `at_most` and `diversity` choose the list from the candidates, one item after the other.
"""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.rules.answer import RuledRecommendations
    from tfrecsession.rules.attributes import ItemAttributes
    from tfrecsession.rules.rules import read_rules, rule_texts

_NAMES = {
    "ItemAttributes": "attributes",
    "RuledRecommendations": "answer",
    "read_rules": "rules",
    "rule_texts": "rules",
}
__all__ = ["ItemAttributes", "RuledRecommendations", "read_rules", "rule_texts"]
__getattr__, __dir__ = lazy(__name__, _NAMES)
