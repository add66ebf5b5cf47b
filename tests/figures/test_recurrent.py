import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from coursekit.figures import COLOURS, lstm_cell

LIT_BOXES = {
    "forget": {"$f_t$", "×"},
    "write": {"$i_t$", r"$\tilde c_t$", "×", "+"},
    "remember": {"×", "+"},
    "show": {"$o_t$", "tanh", "×"},
}


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.mark.parametrize("step", LIT_BOXES)
def test_the_gates_of_a_step_are_lit_and_no_others(ax, step):
    assert lstm_cell(ax, step) is ax
    assert {text.get_text() for text in ax.texts if to_hex(text.get_color()) == "#ffffff"} == LIT_BOXES[step]
    assert step in ax.get_title() + ax.get_title(loc="left")


def test_a_layer_names_its_function(ax):
    lstm_cell(ax, "write")
    below = {text.get_position(): text.get_text() for text in ax.texts}
    for layer, function in (("$i_t$", "σ"), ("$f_t$", "σ"), ("$o_t$", "σ"), (r"$\tilde c_t$", "tanh")):
        ((x, y),) = (text.get_position() for text in ax.texts if text.get_text() == layer)
        assert below[(x - 0.3, y - 0.85)] == function


def test_the_diagram_is_the_same_for_all_steps():
    places = set()
    for step in LIT_BOXES:
        figure, ax = plt.subplots()
        lstm_cell(ax, step)
        places.add(tuple(sorted((text.get_text(), *text.get_position()) for text in ax.texts)))
        assert any(to_hex(line.get_color()) == COLOURS[0] for line in ax.lines)
        plt.close(figure)
    assert len(places) == 1


def test_an_unknown_step_is_named(ax, without_annotations):
    with pytest.raises(ValueError, match="unknown lit 'forgets': did you mean forget"):
        lstm_cell(ax, "forgets")
