"""Figures carry alt text and caption; those with controls are redrawn, store frames, and visit their ends at smoke."""

import base64
import io
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets import (
    Checkbox,
    DatePicker,
    Dropdown,
    FloatLogSlider,
    FloatSlider,
    IntRangeSlider,
    IntSlider,
    SelectionSlider,
    SelectMultiple,
    Text,
    Widget,
)
from nbformat import validate
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from coursekit.course import (
    Guess,
    animate,
    check,
    claim,
    claims_table,
    display,
    explore,
    guess,
    pictures,
    setup,
    show,
)
from coursekit.course.display import FRAMES, WIDGET_VIEW
from coursekit.course.session import current
from coursekit.exercises.checking import Exercises
from coursekit.figures import image_grid, image_rows


@pytest.fixture
def shown(monkeypatch):
    """Every output displayed: (data, metadata)."""
    outputs = []

    class Handle:
        def update(self, data, raw=False, metadata=None):
            outputs[-1] = (data, metadata)

    def display(data, raw=False, metadata=None, display_id=None):
        outputs.append((data, metadata))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    setup("quick", device="cpu")
    return outputs


def picture(data):
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"])))


def pixels(file):
    """The stored picture, black and white as floats."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(file))).convert("L"), dtype=float)


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


def colour_bar(side):
    """Noise of many colours, which takes most of a palette, above a bar that goes from red to white."""
    noise = np.random.default_rng(0).integers(0, 256, (side, 256, 3))
    bar = np.stack([np.full(256, 255), np.arange(256), np.arange(256)], axis=1)  # (256, 3)
    return Image.fromarray(np.concatenate([noise, np.tile(bar, (20, 1, 1))]).astype(np.uint8))


def read(file):
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), dtype=int)


def test_a_still_keeps_all_colours_where_a_palette_would_be_seen():
    assert np.array_equal(read(pictures.still(colour_bar(40))), np.asarray(colour_bar(40)))


def test_a_still_of_few_colours_has_a_palette_and_is_exact():
    bar = colour_bar(0)
    file = pictures.still(bar)
    assert Image.open(io.BytesIO(file)).mode == "P"
    assert np.array_equal(read(file), np.asarray(bar))


def test_a_still_that_would_take_too_many_bytes_has_a_palette_that_fits_it():
    large = colour_bar(300)
    file = pictures.still(large)
    assert Image.open(io.BytesIO(file)).mode == "P"
    error = np.abs(read(file) - np.asarray(large)).mean()
    assert error < 0.97 * np.abs(np.asarray(large.quantize(256, dither=0).convert("RGB"), dtype=int) - large).mean()


def test_an_exact_figure_keeps_every_level_of_its_images(shown):
    levels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    figure, ax = plt.subplots(figsize=(5, 5))
    image_grid(ax, levels / 255)
    show(figure, alt="Four images.", caption="Of many colours.", exact=True)
    stored = {tuple(pixel) for row in read(base64.b64decode(shown[0][0]["image/png"])).tolist() for pixel in row}
    wanted = {tuple(pixel) for pixel in levels.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert len(wanted) > 4000  # of which a palette holds 256
    assert wanted <= stored
    with pytest.raises(TypeError, match="exact"):
        show(a_line(), alt="A line.", caption="It rises.", exact="yes")


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


def drawn_and_stored(shown, **controls):
    """The values with which the figure was drawn, and the frames stored."""
    seen = []

    def draw(**values):
        seen.append(tuple(values.values()))
        return a_line(k=float(len(seen)))

    explore(draw, alt="A line.", caption="Move k.", **controls)
    return seen, shown[-2][0][FRAMES]


def labels(record):
    return [control["labels"] for control in record["controls"]]


def test_the_frames_of_a_control_are_stored_beside_the_still(shown):
    slider = IntSlider(value=2, min=0, max=5, description="steps")
    seen, record = drawn_and_stored(shown, k=slider)
    bundle, metadata = shown[0]
    assert seen == [(2,), (0,), (1,), (3,), (4,), (5,)]
    assert record["controls"] == [{"name": "steps", "labels": ["0", "1", "2", "3", "4", "5"], "at": 2}]
    assert (record["mime"], len(record["frames"]), slider.value) == ("image/webp", 6, 2)
    still, frames = pixels(bundle["image/png"]), [pixels(frame) for frame in record["frames"]]
    assert all(frame.shape == still.shape for frame in frames)  # 640 pixels wide, fewer than 1000
    differences = [np.abs(frame - still).mean() for frame in frames]
    assert differences[2] < 0.1 * np.median(differences)
    output = new_output("display_data", bundle, metadata=metadata)
    notebook = new_notebook(cells=[new_code_cell(outputs=[output])])
    validate(notebook)
    assert json.loads(json.dumps(bundle)) == bundle


@pytest.mark.parametrize(
    ("control", "expected", "at"),
    [
        (IntSlider(value=5, min=1, max=100), ["1", "5", *(str(1 + 9 * i) for i in range(2, 12))], 1),
        (IntSlider(value=4, min=2, max=9, step=2), ["2", "4", "6", "8", "9"], 1),
        (FloatSlider(value=0.25, min=0, max=0.4, step=0.1), ["0", "0.1", "0.2", "0.25", "0.3", "0.4"], 3),
        (FloatLogSlider(value=1, base=10, min=-3, max=2, step=1), ["0.001", "0.01", "0.1", "1", "10", "100"], 3),
        (Dropdown(options=["a", "b"], value="b"), ["a", "b"], 1),
        (Dropdown(options=[("one", 1), ("two", 2)]), ["one", "two"], 0),
        (
            SelectionSlider(options=range(25), value=7),
            ["0", "2", "4", *map(str, (7, 9, 11, 13, 15, 17, 20, 22, 24))],
            3,
        ),
        (Checkbox(True), ["off", "on"], 1),
        (list(range(30)), ["0", "3", "5", "8", "11", "13", "16", "18", "21", "24", "26", "29"], 0),
    ],
    ids=lambda it: type(it).__name__,
)
def test_frames_thin_out_what_a_control_can_take_but_hold_its_ends_and_its_default(shown, control, expected, at):
    seen, record = drawn_and_stored(shown, k=control)
    assert labels(record) == [expected]
    assert record["controls"][0]["at"] == at
    assert len(record["frames"]) == len(expected) == len(seen) <= 12


@pytest.mark.parametrize(
    ("first", "second", "shape"),
    [
        (["a", "b", "c"], IntSlider(1, min=0, max=3), (3, 4)),
        (IntSlider(7, min=0, max=40), FloatSlider(0.3, min=0, max=1), (4, 3)),
        (list("abcdefghij"), IntSlider(1, min=0, max=30), (10,)),  # no letter is left out
        (True, (0, 30), (2, 6)),
    ],
)
def test_two_controls_make_a_grid_of_at_most_twelve(shown, first, second, shape):
    _, record = drawn_and_stored(shown, first=first, second=second)
    assert tuple(map(len, labels(record))) == shape
    assert len(record["frames"]) == np.prod(shape)


def test_a_grid_is_stored_row_by_row_and_a_third_control_keeps_its_default(shown):
    seen, record = drawn_and_stored(shown, a=["x", "y"], b=IntSlider(1, min=0, max=2), c=IntSlider(5, min=0, max=9))
    assert seen[0] == ("x", 1, 5)
    assert seen[1:] == [("x", 0, 5), ("x", 2, 5), ("y", 0, 5), ("y", 1, 5), ("y", 2, 5)]
    assert [control["at"] for control in record["controls"]] == [0, 1]
    still, frames = pixels(shown[0][0]["image/png"]), [pixels(frame) for frame in record["frames"]]
    assert np.argmin([np.abs(frame - still).mean() for frame in frames]) == 1


def test_frames_at_smoke_are_the_ends_of_the_first_control(shown):
    setup("smoke", device="cpu")
    seen, record = drawn_and_stored(shown, k=IntSlider(2, min=0, max=9), m=(0, 4))
    assert labels(record) == [["0", "2", "9"]]
    assert seen == [(2, 2), (0, 2), (9, 2), (2, 0), (2, 4)]


def test_what_stands_still_in_a_figure_stands_still_in_its_frames(shown):
    def draw(k):
        figure, ax = plt.subplots(figsize=(4, 2), layout="none")
        ax.text(-0.3 * k, 0.5, "far out", transform=ax.transAxes)  # makes the picture wider
        ax.axvline(0.5, color="black")
        return figure

    explore(draw, k=IntSlider(0, min=0, max=2), alt="A line.", caption="Move k.")
    record = shown[0][0][FRAMES]
    lines = [pixels(frame)[-60:].sum(axis=0).argmin() for frame in record["frames"]]
    assert len(set(lines)) == 1


@pytest.mark.parametrize(("figsize", "direction"), [((6, 1.5), "below"), ((3, 2), "beside")])
def test_a_strip_shows_some_values_beside_or_below_each_other(shown, figsize, direction):
    def draw(k):
        figure, ax = plt.subplots(figsize=figsize)
        ax.plot([0, k])
        return figure

    explore(draw, k=IntSlider(3, min=0, max=9), strip=4, alt="Four lines, ever steeper.", caption="Move k.")
    (bundle, metadata), one = shown[0], pixels(shown[0][0][FRAMES]["frames"][0])
    assert len(bundle[FRAMES]["frames"]) == 10
    width, height = picture(bundle).size
    assert metadata["image/png"]["width"] == round(width / 1.6) <= 960
    assert height > 4 * one.shape[0] if direction == "below" else width > 3 * one.shape[1] > height


@pytest.mark.parametrize(
    "record",
    [
        lambda: claim("It holds.", True, 1, "E1"),
        lambda: check("It holds.", True),
        lambda: guess("How many?", low=0, high=1),
        lambda: Guess("How many?", [], 0, 1, "").reveal(1),
        lambda: show(a_line(), alt="A line.", caption="It rises."),
        claims_table,
        Exercises().score,
    ],
)
def test_a_drawing_function_only_draws(shown, capsys, record):
    def draw(k):
        record()
        return a_line(k=k)

    for attempt in (
        lambda: explore(draw, k=(0, 5), alt="A line.", caption="Move k."),
        lambda: animate(draw, range(3), alt="A line.", caption="It rises."),
    ):
        with pytest.raises(RuntimeError, match=r"a drawing function runs many times, so it only returns a figure"):
            attempt()
    assert (shown, current().claims, current().checks) == ([], [], [])
    record()  # outside of it, and after an error in it, all is well


@pytest.mark.parametrize("count", [2, 6])
def test_a_strip_of_another_length_is_refused(shown, count):
    with pytest.raises(ValueError, match=f"strip: expected an integer from 3 to 5, got {count}"):
        explore(a_line, k=(0, 5), strip=count, alt="A line.", caption="Move k.")


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_an_error_in_one_frame_names_the_values_and_puts_the_control_back(shown, profile):
    setup(profile, device="cpu")
    slider = IntSlider(value=2, min=0, max=5)

    def draw(k, m):
        return a_line(k=1 / (5 - k))

    with pytest.raises(ZeroDivisionError, match=r"The error occurred at k=5, m='x'\."):
        explore(draw, k=slider, m=["x"], alt="A line.", caption="Move k.")
    assert slider.value == 2
    with pytest.raises(TypeError, match=r"got NoneType; (.|\n)*The error occurred at k=3\."):
        explore(lambda k: None if k == 3 else a_line(k=k), k=[1, 2, 3], alt="A line.", caption="Move k.")
    assert not [data for data, _ in shown if "image/png" in data]  # on a slow machine the progress is shown


def test_pictures_that_are_too_large_are_refused(shown, monkeypatch):
    monkeypatch.setattr(pictures, "FRAMES_LIMIT", 5000)
    with pytest.raises(ValueError, match=r"the 3 frames take \d+ kB, more than 5: draw a smaller figure"):
        explore(a_line, k=[1, 2, 3], alt="A line.", caption="Move k.")
    monkeypatch.setattr(pictures, "ANIMATION_LIMIT", 2000)
    with pytest.raises(ValueError, match=r"the animation takes \d+ kB, more than 2: draw a smaller"):
        animate(lambda k: a_line(k=k), range(3), alt="A line.", caption="It rises.")
    assert not [data for data, _ in shown if "image/png" in data]  # on a slow machine the progress is shown


def test_frames_and_animations_that_are_too_large_are_made_smaller(shown, monkeypatch):
    monkeypatch.setattr(pictures, "FRAMES_LIMIT", 40_000)
    monkeypatch.setattr(pictures, "ANIMATION_LIMIT", 30_000)
    explore(noise, k=[1, 2, 3], alt="Noise.", caption="Noise.")
    stored = shown[0][0][FRAMES]["frames"]
    assert sum(map(len, stored)) <= 40_000
    assert {pixels(frame).shape[1] for frame in stored} == {500}
    animate(noise, range(9), seconds=3, alt="Noise.", caption="Noise.")
    moving = picture(shown[2][0])
    assert len(shown[2][0]["image/png"]) <= 30_000
    assert (moving.width, moving.n_frames) == (500, 3)
    moving.seek(1)
    assert moving.info["duration"] == 1000  # three frames take as long as the nine


def test_frames_are_png_where_pillow_has_no_webp(shown, monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    _, record = drawn_and_stored(shown, k=[1, 2])
    assert record["mime"] == "image/png"
    assert picture({"image/png": record["frames"][0]}).format == "PNG"


def noise(k):
    figure, ax = plt.subplots(figsize=(7, 1))
    ax.imshow(np.random.default_rng(k).random((10, 100, 3)))
    return figure


def test_a_figure_without_a_control_is_refused(shown):
    with pytest.raises(ValueError, match="explore needs a control for each argument of the drawing function"):
        explore(a_line, alt="A line.", caption="Move k.")


@pytest.mark.parametrize("control", [Text("a"), IntRangeSlider(), SelectMultiple(options=[1, 2]), DatePicker()])
def test_a_control_without_a_range_of_single_values_is_refused(shown, control):
    kind = type(control).__name__
    with pytest.raises(TypeError, match=f"k: expected a slider with one value, a list of options or a .*, got {kind}"):
        explore(a_line, k=control, alt="A line.", caption="Move k.")


def test_a_list_without_a_default_is_refused(shown):
    with pytest.raises(ValueError, match="k: none of the options is chosen; give the Dropdown a value"):
        explore(a_line, k=Dropdown(options=[1, 2], value=None), alt="A line.", caption="Move k.")


def test_a_figure_that_takes_long_takes_the_place_of_its_progress(shown, monkeypatch):
    monkeypatch.setattr(display, "DELAY", 0.0)
    explore(a_line, k=(0, 5), alt="A line.", caption="Move k.")
    animate(lambda k: a_line(k=k), range(3), alt="A line.", caption="It rises.")
    assert ["image/png" in it for it in (shown[0][0], shown[2][0])] == [True, True]
    assert len(shown) == 4  # two figures, two captions


def test_an_animation_is_one_looping_picture_that_begins_with_its_last_frame(shown):
    animate(lambda k: a_line(k=k), range(6), seconds=3, alt="A line rises.", caption="It rises.")
    (data, metadata), (caption, _) = shown
    moving = picture(data)
    assert (moving.n_frames, moving.info["loop"], moving.info["duration"]) == (6, 0, 2000)
    assert metadata["image/png"] == {"alt": "A line rises.", "width": 404, "height": 204, "animated": True}
    assert caption.data == "*Figure 1. It rises.*"
    frames = []
    for number in range(6):
        moving.seek(number)
        frames.append(np.asarray(moving.convert("RGB")).copy())
    assert moving.info["duration"] == 500
    assert frames[0][0, 0].tolist() == [255, 255, 255]
    show(a_line(k=5), alt="A line.", caption="It rose.")
    assert np.abs(frames[0] - np.asarray(picture(shown[-2][0]).convert("RGB")).astype(float)).mean() < 1


def test_small_marks_keep_their_colours_in_an_animation():
    """Two oranges and two greens stay apart beside a large grey drawing, whose pixels are far more."""
    generator = np.random.default_rng(0)
    canvas = np.full((300, 600, 3), 255, dtype=np.uint8)
    canvas[:, :300] = generator.integers(0, 250, (300, 300, 1))
    colours = [(213, 94, 0), (176, 120, 0), (0, 128, 95), (0, 114, 178), (62, 140, 190), (140, 100, 60)]
    for k, colour in enumerate(colours):  # marks of 4 × 4 pixels, with soft edges of every lightness
        soft = generator.random((40, 40, 1)) ** 0.5
        canvas[5 + 45 * k : 45 + 45 * k, 400:440] = (soft * colour + (1 - soft) * 255).round()
        canvas[5 + 45 * k : 9 + 45 * k, 400:404] = colour
    moving = Image.open(io.BytesIO(pictures.animation([Image.fromarray(canvas)] * 2, seconds=1)))
    stored = np.asarray(moving.convert("RGB")).astype(int)
    for k, colour in enumerate(colours):
        assert np.abs(stored[6 + 45 * k, 401] - colour).max() <= pictures.VISIBLE
    assert np.abs(stored - canvas)[:, :300].mean() < 5  # greys have 16 levels


def test_an_animation_is_the_same_bytes_for_the_same_figures(shown):
    for _ in range(2):
        animate(lambda k: a_line(k=k), range(4), alt="A line rises.", caption="It rises.")
    assert shown[0] == shown[2]


def test_an_animation_at_smoke_draws_its_first_and_last_frame(shown):
    setup("smoke", device="cpu")
    seen = []
    animate(lambda k: seen.append(k) or a_line(k=k), range(9), alt="A line rises.", caption="It rises.")
    assert seen == [0, 8]


def test_an_animation_that_is_none_is_refused(shown):
    with pytest.raises(ValueError, match="frames: an animation needs at least two, got 1"):
        animate(a_line, [1], alt="A line.", caption="It rises.")
    with pytest.raises(ValueError, match="seconds: expected a number > 0, got 0"):
        animate(a_line, [1, 2], seconds=0, alt="A line.", caption="It rises.")
    with pytest.raises(TypeError, match=r"got NoneType; (.|\n)*The error occurred at frame 1 of 2\."):
        animate(lambda k: None if k else a_line(k=k), [0, 1], alt="A line.", caption="It rises.")
    with pytest.raises(ValueError, match="needs an alternative text"):
        animate(a_line, [1, 2], alt="", caption="It rises.")
    assert shown == []
