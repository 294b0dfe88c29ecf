import numpy as np
import pytest

from tfrecsession import InputError, models
from tfrecsession.evaluation import draw_attention


class FixedAttention:
    """A model with given attention weights."""

    abilities = ("attention",)

    def __init__(self, weights):
        self.weights = np.array(weights, np.float32)

    def attention(self, history, per_step=False):
        if isinstance(history, str):
            raise InputError("history is a list of item ids")
        return self.weights if per_step else self.weights[-1]


WEIGHTS = [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, -0.2, 0.3]]


def test_a_bar_for_every_event():
    (axes,) = draw_attention(FixedAttention(WEIGHTS), ["a", "b", "a"]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1. a", "2. b", "3. a"]
    bars = axes.containers[0]
    np.testing.assert_allclose([bar.get_width() for bar in bars], WEIGHTS[-1])
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] == colours[2] != colours[1]  # negative
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # oldest on top


def test_a_matrix_of_steps_and_events(tmp_path):
    figure = draw_attention(FixedAttention(WEIGHTS), ["a", "b", "a"], per_step=True)
    (axes,) = figure.axes
    drawn = axes.collections[0].get_array()
    np.testing.assert_allclose(drawn.filled(0), WEIGHTS)
    assert drawn.mask.tolist() == [[False, True, True], [False, False, True], [False, False, False]]
    assert [text.get_text() for text in axes.texts] == ["1.00", "0.25", "0.75", "0.50", "-0.20", "0.30"]
    figure.savefig(tmp_path / "attention.svg")
    assert "1. a" in (tmp_path / "attention.svg").read_text()


@pytest.mark.parametrize("per_step", [False, True])
def test_long_sessions_show_their_newest_events(per_step):
    history = [f"i{number}" for number in range(50)]
    (axes,) = draw_attention(FixedAttention(np.eye(50)), history, per_step).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == 40 and names[0] == "11. i10" and names[-1] == "50. i49"


def test_nothing_to_draw(shop):
    with pytest.raises(InputError, match="empty"):
        draw_attention(FixedAttention(np.zeros((1, 0))), [])
    with pytest.raises(InputError, match="list of item ids"):
        draw_attention(FixedAttention(WEIGHTS), "item-1")
    with pytest.raises(InputError, match="Popularity has no attention"):
        draw_attention(models.Popularity(shop.items), ["a"])
