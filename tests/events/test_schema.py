import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.schema import Columns


def test_usual_names_are_found_and_event_and_context_are_not_guessed():
    found = Columns().resolve(["event", "item_id", "timestamp", "session_id", "user_id", "price"], "a log")
    assert found == Columns(item="item_id", time="timestamp", session="session_id", user="user_id")


def test_the_first_usual_name_wins():
    found = Columns().resolve(["item_id", "item", "timestamp", "time"], "a log")
    assert (found.item, found.time, found.session, found.user) == ("item", "time", None, None)


def test_given_names_win_over_usual_ones():
    given = Columns(item="sku", event="type", context=("price", "price", "page"))
    found = given.resolve(["item", "sku", "type", "price", "page"], "a log")
    assert (found.item, found.event, found.context) == ("sku", "type", ("price", "page"))


@pytest.mark.parametrize("part", ["item", "time", "session", "user", "event"])
def test_an_unknown_column_is_reported_with_the_nearest_name_first(part):
    with pytest.raises(InputError) as error:
        Columns(**{part: "click_tme"}).resolve(["item", "clicked", "click_time"], "clicks.csv")
    message = str(error.value)
    assert message.startswith(f"clicks.csv: there is no column 'click_tme' ({part}='click_tme')")
    assert message.endswith("nearest first: click_time, clicked, item")
    assert "\n" not in message


def test_a_missing_context_column_is_an_error():
    with pytest.raises(InputError, match=r"no column 'prize' \(context='prize'\).*nearest first: price, item"):
        Columns(context=("prize",)).resolve(["item", "price"], "clicks.csv")


def test_a_log_without_an_item_column_names_the_option_to_use():
    with pytest.raises(InputError, match="item=NAME; columns, nearest first: article_id, when"):
        Columns().resolve(["when", "article_id"], "clicks.csv")


def test_a_log_without_columns():
    with pytest.raises(InputError, match="it has no columns"):
        Columns().resolve([], "clicks.csv")


def test_context_must_not_have_a_name_of_the_event_table():
    with pytest.raises(InputError, match="context column 'Order' has a name that the event table uses itself"):
        Columns(context=("Order",)).resolve(["item", "Order"], "clicks.csv")
    with pytest.raises(InputError, match="'user'"):
        Columns(session="user", user="customer", context=("user",)).resolve(["item", "user", "customer"], "clicks.csv")


def test_a_column_may_be_context_beside_its_own_part():
    found = Columns(context=("user", "timestamp")).resolve(["item", "user", "timestamp"], "clicks.csv")
    assert found.context == ("user", "timestamp")
