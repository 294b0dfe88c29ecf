"""Filters make the task easier, and a random split flatters what learns from sessions."""


def test_what_filters_and_splits_do(run):
    told = run("02_sessions_from_raw_events", ITEMS=300, SESSIONS=2500, SUPPORTS=[1, 50])
    assert abs(told.info["steps"][2]["sessions"] / told.raw.session.nunique() - 1) < 0.05  # the gap finds the sessions
    assert (told.kept["items"].diff().dropna() < 0).all()
    assert (told.kept["sequential rules"].diff().dropna() > 0).all()
    assert told.unknown["train"].max() == 0 < told.unknown["test"].min()
    flattered = told.recall["flattered by"]
    assert flattered["sequential rules"] > 0.05 and flattered["item-kNN"] > 0.05
    assert told.recall["by time"].idxmin() == "popular of all days"
    assert told.recall["at random"].idxmin() == "popular of the last day"
