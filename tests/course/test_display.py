"""Figures carry alt text and caption; figures with controls are redrawn, and visited at their ends at smoke."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets import Checkbox, Dropdown, IntSlider, Widget
from PIL import Image

from coursekit.course import explore, setup, show
from coursekit.course.display import FRAMES, WIDGET_VIEW
from coursekit.figures import image_rows


@pytest.fixture
def shown(monkeypatch):
    """Every output displayed: (data, metadata)."""
    outputs = []

    def display(data, raw=False, metadata=None):
        outputs.append((data, metadata))

    monkeypatch.setattr("IPython.display.display", display)
    setup("quick", device="cpu")
    return outputs


def picture(data):
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"])))


def a_line(**values):
    figure, ax = plt.subplots(figsize=(4, 2))
    ax.plot([0, sum(values.values())])
    return figure


def test_a_figure_is_shown_once_with_alt_text_size_and_numbered_caption(shown):
    show(a_line(), alt="A rising line.", caption="It rises.")
    show(a_line(), alt="A rising line.", caption="It rises again.")
    (data, metadata), (caption, _), _, (second, _) = shown
    about, width = metadata["image/png"], picture(data).width
    assert about["alt"] == "A rising line."
    assert about["width"] == round(width / 1.6)  # 1.6 pixels a point
    assert (about["width"], about["height"]) == pytest.approx((400, 200), rel=0.1)
    assert (caption.data, second.data) == ("*Figure 1. It rises.*", "*Figure 2. It rises again.*")
    assert plt.get_fignums() == []


def test_what_is_written_beside_the_axes_is_not_cut_off(shown):
    figure, ax = plt.subplots(figsize=(6, 7))
    image_rows(ax, {label: torch.zeros(4, 1, 32, 32) for label in ("a", "b", "c", "small contributions", "d", "e")})
    show(figure, alt="Rows of pictures.", caption="The layout alone leaves too little room for the fourth label.")
    pixels = np.asarray(picture(shown[0][0]).convert("L"))
    assert pixels[:, :3].min() == 255


def test_the_same_figure_is_the_same_bytes(shown):
    show(a_line(k=1), alt="A line.", caption="It rises.")
    show(a_line(k=1), alt="A line.", caption="It rises.")
    assert shown[0][0] == shown[2][0]


def test_a_figure_without_alt_text_or_caption_is_refused(shown):
    with pytest.raises(ValueError, match="needs an alternative text"):
        show(a_line(), alt=" ", caption="It rises.")
    with pytest.raises(ValueError, match="needs a caption"):
        show(a_line(), alt="A line.", caption="")
    with pytest.raises(ValueError, match="needs a caption"):
        explore(a_line, k=(0, 5), alt="A line.", caption="\n")
    assert shown == []


@pytest.mark.parametrize(
    ("figure", "alt", "message"),
    [
        (None, "A line.", "expected a matplotlib figure, got NoneType; a drawing function ends with `return fig`"),
        (plt.Figure(), 3, "alt: expected text, got int"),
    ],
)
def test_what_is_no_figure_or_no_text_is_refused(shown, without_annotations, figure, alt, message):
    with pytest.raises(TypeError, match=message):
        show(figure, alt=alt, caption="It rises.")
    with pytest.raises(TypeError, match=message):
        explore(lambda k: figure, k=(0, 5), alt=alt, caption="It rises.")
    assert shown == []


def test_set_up_starts_the_numbers_again(shown):
    show(a_line(), alt="A rising line.", caption="It rises.")
    setup("quick", device="cpu")
    show(a_line(), alt="A rising line.", caption="It rises.")
    assert [it[0].data for it in shown if not isinstance(it[0], dict)] == ["*Figure 1. It rises.*"] * 2


def test_a_control_redraws_the_figure_and_a_still_stands_in_for_it(shown):
    slider = IntSlider(value=2, min=0, max=5)
    explore(a_line, k=slider, alt="A line.", caption="Move k.")
    bundle, metadata = shown[0]
    assert {WIDGET_VIEW, FRAMES, "image/png", "text/plain"} == set(bundle)
    assert metadata["image/png"]["alt"] == "A line."
    assert slider.description == "k"
    slider.value = 4
    redrawn, _ = shown[-1]
    assert redrawn["image/png"] != bundle["image/png"]


def test_the_widgets_of_colab_will_do(shown, monkeypatch):
    monkeypatch.delattr(Widget, "_repr_mimebundle_")  # which ipywidgets 7 does not have
    explore(a_line, k=(0, 5), alt="A line.", caption="Move k.")
    bundle, _ = shown[0]
    assert bundle[WIDGET_VIEW]["model_id"] != ""


def test_at_smoke_every_control_is_visited_at_both_ends_and_put_back(shown):
    setup("smoke", device="cpu")
    seen = []

    def draw(k, share, kind, marked):
        seen.append((k, share, kind, marked))
        return a_line(k=k)

    slider, pick, box = (
        IntSlider(value=2, min=0, max=5),
        Dropdown(options=[("one", 1), ("two", 2)]),
        Checkbox(False),
    )
    explore(draw, k=slider, share=(0.0, 1.0), kind=pick, marked=box, alt="A line.", caption="Move k.")
    assert [seen[0], seen[-1]] == [(2, 0.5, 1, False), (2, 0.5, 1, True)]
    assert {it[0] for it in seen} == {0, 2, 5}
    assert {it[1] for it in seen} == {0, 0.5, 1}
    assert {it[2] for it in seen} == {1, 2}
    assert (slider.value, pick.value, box.value) == (2, 1, False)


def test_an_error_that_waits_at_the_end_of_a_slider_is_raised_at_smoke(shown):
    setup("smoke", device="cpu")

    def draw(k):
        return a_line(k=1 / (5 - k))

    with pytest.raises(ZeroDivisionError):
        explore(draw, k=IntSlider(value=2, min=0, max=5), alt="A line.", caption="Move k.")


def test_what_is_no_control_is_refused(shown):
    with pytest.raises(TypeError, match=r"no control for k=None: pass a widget, \(low, high\), or a list"):
        explore(a_line, k=None, alt="A line.", caption="Move k.")
