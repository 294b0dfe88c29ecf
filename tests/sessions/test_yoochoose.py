"""The counts of the literature, if the data is available."""

from tfrecsession.sessions.prepare import prepare


def test_yoochoose_counts_are_those_of_the_papers(real_data, tmp_path):
    folder = real_data / "yoochoose1_64"
    info = prepare(folder / "train_sessions.txt", tmp_path / "out", test_input=folder / "test_sessions.txt")
    found = {
        name: [split[count] for count in ("sessions", "events", "scored_events")]
        for name, split in info["splits"].items()
    }
    assert found == {
        "train": [116_167, 486_026, 369_859],
        "validation": [0, 0, 0],
        "test": [15_324, 71_222, 55_898],
    }
    assert info["items"] == 17_376
