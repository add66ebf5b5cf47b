import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from coursekit.figures import COLOURS, gru_cell, lstm_cell

LIT_BOXES = {
    lstm_cell: {
        "forget": {"$f_t$", "×"},
        "write": {"$i_t$", r"$\tilde c_t$", "×", "+"},
        "remember": {"×", "+"},
        "show": {"$o_t$", "tanh", "×"},
    },
    gru_cell: {
        "keep": {"$u_t$", "×"},
        "propose": {"$r_t$", r"$\tilde h_t$"},
        "update": {"1−", "×", "+"},
    },
}
FUNCTIONS = {
    lstm_cell: {"$i_t$": "σ", "$f_t$": "σ", "$o_t$": "σ", r"$\tilde c_t$": "tanh"},
    gru_cell: {"$u_t$": "σ", "$r_t$": "σ", r"$\tilde h_t$": "tanh"},
}


@pytest.mark.parametrize(("cell", "step"), [(cell, step) for cell in LIT_BOXES for step in LIT_BOXES[cell]])
def test_the_gates_of_a_step_are_lit_and_no_others(ax, cell, step):
    assert cell(ax, step) is ax
    assert {text.get_text() for text in ax.texts if to_hex(text.get_color()) == "#ffffff"} == LIT_BOXES[cell][step]
    assert step in ax.get_title() + ax.get_title(loc="left")


@pytest.mark.parametrize(("cell", "step"), [(lstm_cell, "write"), (gru_cell, "propose")])
def test_a_layer_names_its_function(ax, cell, step):
    cell(ax, step)
    below = {text.get_position(): text.get_text() for text in ax.texts}
    for layer, function in FUNCTIONS[cell].items():
        ((x, y),) = (text.get_position() for text in ax.texts if text.get_text() == layer)
        assert below[(x - 0.3, y - 0.85)] == function


@pytest.mark.parametrize("cell", LIT_BOXES)
def test_the_diagram_is_the_same_for_all_steps(cell):
    places = set()
    for step in LIT_BOXES[cell]:
        figure, ax = plt.subplots()
        cell(ax, step)
        places.add(tuple(sorted((text.get_text(), *text.get_position()) for text in ax.texts)))
        assert any(to_hex(line.get_color()) == COLOURS[0] for line in ax.lines)
        plt.close(figure)
    assert len(places) == 1


@pytest.mark.parametrize(
    ("cell", "step", "message"),
    [
        (lstm_cell, "forgets", "unknown lit 'forgets': did you mean forget"),
        (gru_cell, "updates", "unknown lit 'updates': did you mean update"),
    ],
)
def test_an_unknown_step_is_named(ax, cell, step, message, without_annotations):
    with pytest.raises(ValueError, match=message):
        cell(ax, step)
