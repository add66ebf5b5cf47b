import pytest

from coursekit.datasets.sequences import REBER
from coursekit.figures import automaton

PLACES = [(0, 0), (1.3, 0), (2.6, 1), (2.6, -1), (4.6, 1), (4.6, -1), (5.9, 0), (7.2, 0)]


def test_each_move_has_an_arrow_and_its_symbol(ax):
    assert automaton(ax, REBER, PLACES) is ax
    symbols = sorted(text.get_text() for text in ax.texts if text.get_text())
    assert symbols == sorted(symbol for moves in REBER for symbol in moves)
    assert sum(getattr(text, "arrow_patch", None) is not None for text in ax.texts) == len(symbols)


def test_there_is_a_dot_at_each_place(ax):
    automaton(ax, REBER, PLACES)
    assert ax.lines[0].get_xydata().tolist() == [list(map(float, place)) for place in PLACES]


def test_a_loop_lies_above_an_upper_state_and_below_a_lower_one(ax):
    automaton(ax, ({"a": 0}, {"b": 1}), [(0, 1), (3, -1)])
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["a"] == (0, 2)
    assert places["b"] == (3, -2)


def test_a_state_without_a_place_is_named(ax):
    with pytest.raises(ValueError, match="places: expected one for each of 8 states, got 7"):
        automaton(ax, REBER, PLACES[:7])
