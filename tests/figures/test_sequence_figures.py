import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from coursekit.figures import COLOURS, aligned, wiring


def test_a_net_has_a_box_for_each_input_state_and_output(ax):
    assert wiring(ax, 2.0, inputs=[0], outputs=[0, 1, 2], steps=3) is ax
    colours = [to_hex(box.get_facecolor()) for box in ax.patches]
    assert [colours.count(COLOURS[k]) for k in (1, 2, 0)] == [1, 3, 3]
    assert min(box.get_x() for box in ax.patches) == pytest.approx(2.0 - 0.3)


def test_words_stand_in_their_boxes_and_a_second_net_has_its_own_colour(ax):
    wiring(ax, 0, inputs=[0], outputs=[1], steps=2, words={(0, 0): "two", (1, 2): "i"}, second=1)
    written = {text.get_position(): text.get_text() for text in ax.texts if text.get_text()}
    assert written == {(0, 0): "two", (1, 2): "i"}
    assert {to_hex(box.get_facecolor()) for box in ax.patches} == {COLOURS[k] for k in range(4)}


def test_only_steps_that_are_fed_have_a_dotted_arrow(ax):
    wiring(ax, 0, inputs=[0], outputs=[0, 1, 2], steps=3, fed=[1, 2])
    arrows = [text.arrow_patch.get_linestyle() for text in ax.texts if isinstance(text, Annotation)]
    assert sorted(arrows) == ["-"] * 6 + [":"] * 2


def test_lines_that_cross_stand_out(ax):
    assert aligned(ax, ["twelve", "thousand", "five"], ["man", "i", "o"], [(0, 1), (1, 0), (2, 2)]) is ax
    crossing = [to_hex(line.get_color()) == COLOURS[1] for line in ax.lines]
    assert crossing == [True, True, False]
    assert [text.get_text() for text in ax.texts] == ["twelve", "thousand", "five", "man", "i", "o"]
