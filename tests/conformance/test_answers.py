"""Padding, packing, batching and unknown items change no answer, and the future never leaks."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import packed, reads_both_ends
from tfrecsession import InputError, evaluation
from tfrecsession.export.ivf_index import IvfIndex
from tfrecsession.recommender.counting_model import CountingModel


def prefixes(batch):
    """Returns every prefix of every session as a row of its own, and the cells that their last steps came from."""
    cells = [tuple(cell) for cell in np.argwhere(batch["segment"] > 0)]
    alone = [[batch["items"][row, step - batch["position"][row, step] : step + 1]] for row, step in cells]
    return alone, cells


def scores(model, batch):
    """Returns float [rows, steps, items]; a model that reads a session from both ends is asked for every prefix."""
    if reads_both_ends(model):
        alone, cells = prefixes(batch)
        found = step_scores(model, packed(model, *alone))
        whole = np.zeros((*batch["items"].shape, found.shape[-1]), np.float32)
        for number, (row, step) in enumerate(cells):
            whole[row, step] = found[number, batch["position"][row, step]]
        return whole
    return step_scores(model, batch)


def step_scores(model, batch):
    encoded, shape = model.encode(batch), batch["items"].shape
    if isinstance(encoded, tuple | dict):  # of several models: encoded event by event, as evaluation does
        flat = model.encoder(tf.nest.map_structure(tf.constant, batch))(np.argwhere(batch["items"] >= 0))
    else:
        flat = np.asarray(encoded).reshape(-1, encoded.shape[-1])
    return np.asarray(model.score_all(flat)).reshape(*shape, -1)[..., 2:]


A, B = [5, 9, 12, 9], [3, 17, 40]


def test_sessions_of_a_row_do_not_mix(name, fitted):
    model = fitted(name)
    alone, together = scores(model, packed(model, [B])), scores(model, packed(model, [A, B]))
    np.testing.assert_allclose(together[0, len(A) : len(A) + len(B)], alone[0], rtol=1e-4, atol=1e-5)


def test_the_end_of_a_session_is_the_same_wherever_it_lies(name, fitted):
    """Its last step, for models that read a session from both ends as for all others."""
    model = fitted(name)
    alone, together = step_scores(model, packed(model, [B])), step_scores(model, packed(model, [A, B, A], [B]))
    end = len(A) + len(B) - 1
    np.testing.assert_allclose(together[0, end], alone[0, len(B) - 1], rtol=1e-4, atol=1e-5)


def test_rows_do_not_mix(name, fitted):
    model = fitted(name)
    together, alone = scores(model, packed(model, [A], [B])), scores(model, packed(model, [A]))
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-4, atol=1e-5)


def test_the_future_does_not_leak(name, fitted):
    model = fitted(name)
    before, after = scores(model, packed(model, [A])), scores(model, packed(model, [[*A[:3], 33]]))
    np.testing.assert_allclose(before[0, :3], after[0, :3], rtol=1e-5, atol=1e-6)


def test_recommending_after_a_history_is_scoring_its_last_event(name, fitted, data):
    model = fitted(name)
    recommended = model.recommend([data.items.decode(np.array(A))], k=10)
    best = np.sort(scores(model, packed(model, [A]))[0, -1])[::-1][:10]
    np.testing.assert_allclose(recommended.scores[0], best, rtol=1e-4, atol=1e-5)


def test_what_evaluation_asks_follows_from_the_scores(name, fitted):
    model = fitted(name)
    batch = packed(model, [A], [B])
    of_item = scores(model, batch)[[0, 1], [len(A) - 1, len(B) - 1]]
    for target in (2, 9, 30, 1):
        targets = np.zeros_like(batch["items"])
        targets[[0, 1], [len(A) - 1, len(B) - 1]] = target
        ranks, lists = model.target_ranks(batch, targets, best=12)
        none = model.target_ranks(batch, targets)
        assert none[0].tolist() == ranks.tolist() and none[1].shape == (2, 0)
        for row, rank, listed in zip(of_item, ranks, lists, strict=True):
            own = row[target - 2] if target > 1 else -np.inf
            near = 1e-4 * abs(own) + 1e-5 if target > 1 else 0  # a product of other rows differs in its last bits
            assert (row >= own + near).sum() <= rank - (target < 2) <= (row >= own - near).sum()
            assert len(set(listed)) == 12 and listed.min() > 1
            np.testing.assert_allclose(row[listed - 2], np.sort(row)[::-1][:12], rtol=1e-4, atol=1e-5)
            if isinstance(model, CountingModel):  # whose scores repeat to the bit
                equal = np.flatnonzero(np.diff(row[listed - 2]) == 0)
                assert (listed[equal] < listed[equal + 1]).all()


def test_alone_in_a_batch_and_with_unknown_items_is_the_same(name, fitted, data):
    model = fitted(name)
    a, b = (list(data.items.decode(np.array(session))) for session in (A, B))
    alone = model.recommend([a], k=10)
    for histories in ([a, b], [a, b * 30], [["no-such-item", *a[:2], "", *a[2:], "nor-this"]]):
        again = model.recommend(histories, k=10)
        assert again.items[0].tolist() == alone.items[0].tolist()
        np.testing.assert_allclose(again.scores[0], alone.scores[0], rtol=1e-4, atol=1e-5)


def test_nothing_known_gives_the_popular_items(name, fitted, data):
    recommended = fitted(name).recommend([[], ["no-such-item"]], k=5)
    for items in recommended.items:
        assert items.tolist() == data.items.ids[:5].tolist()


def test_seen_items_and_candidates(name, fitted, data):
    model = fitted(name)
    history = list(data.items.decode(np.array(A)))
    everything = model.recommend([history], k=len(data.items), exclude_seen=True)
    left = [item for item in everything.items[0] if item]
    assert len(left) == len(data.items) - len(set(history)) and not set(left) & set(history)
    chosen = list(data.items.ids[20:26])
    only = model.recommend([history], k=8, candidates=[*chosen, "no-such-item"])
    assert set(only.items[0][:6]) == set(chosen) and only.items[0][6:].tolist() == ["", ""]


def test_a_very_long_history_is_answered(name, fitted, data):
    history = list(data.items.ids[:50]) * 20
    assert all(fitted(name).recommend([history], k=3).items[0])


@pytest.mark.parametrize("k", [0, -1, 10**6, 2.5])
def test_k_is_checked(name, fitted, k):
    with pytest.raises(InputError, match=f"k={k}"):
        fitted(name).recommend([[]], k=k)


def test_a_bare_string_is_no_list_of_histories(name, fitted):
    for histories in ("item-1", ["item-1"]):
        with pytest.raises(InputError, match="list of lists"):
            fitted(name).recommend(histories)


def test_an_index_of_clusters_that_searches_all_of_them_answers_equally(name, fitted, monkeypatch):
    model = fitted(name)
    if not model.searched_by_products:
        pytest.skip("it has no vectors to search")
    monkeypatch.setattr(IvfIndex, "choose", lambda *arguments: None)  # all clusters, all candidates
    index = IvfIndex(model, 3, 0.5, np.array([A]), clusters=4)
    index.searched, index.kept = index.means.shape[0], model.size
    histories = np.array([A, [3, 17, 40, 0], [0, 0, 0, 0]], np.int32)
    with index.installed():
        items, scores = model.answer(histories, 3, exclude_seen=True)
    expected, exact = model.answer(histories, 3, exclude_seen=True)
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(items, expected)


@pytest.mark.long
def test_the_audit_finds_nothing(name, fitted, data):
    found = evaluation.audit(fitted(name), data.test, histories=24)
    assert found.passed, found
    assert {check.name for check in found.checks if check.passed is None} <= {"padding"}
