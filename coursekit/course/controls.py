"""Figures that answer "what if": live controls, and frames that move where no kernel runs."""

import bisect
import itertools
import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coursekit.course import pictures, session
from coursekit.course.display import (
    FRAMES,
    WIDGET_VIEW,
    Bundle,
    Draw,
    LateOutput,
    bundle,
    display_caption,
    drawn,
    label_font,
    require_texts,
)
from coursekit.course.records import in_words

if TYPE_CHECKING:
    from PIL import Image

MOST = 12  # frames of one figure
STRIP = (3, 5)  # the fewest and the most pictures of a strip
STRIP_WIDTH = 960  # CSS pixels


def explore(draw: Draw, *, alt: str, caption: str, strip: int | None = None, **controls: Any) -> None:
    """Show a figure with one control for each argument of ``draw``, and redraw it when one is moved.

    The output also holds what lives without a kernel: the figure at the default values as an image, and up to twelve
    frames for a slider in decks and pages. The frames follow the first control, or the first two where they make a
    grid of twelve without leaving out an option of a list; the other controls keep their defaults. Frames thin out the
    steps of a slider, but hold both ends and the default. At profile ``smoke`` the figure is drawn at both ends of
    every control, so that an error at the end of a slider fails the test run, and the frames are those of the first.

    Args:
        draw: takes the controls' values by name and returns a figure.
        alt: what the image shows: the figure at the default values, or the strip.
        caption: what to see, or what to try.
        strip: how many frames of the first control, 3 to 5, the image shows beside each other with their values
            below, where the effect of the control is the message and should be seen in print; wide figures stand one
            below the other.
        controls: a slider, a list of options or a checkbox, as widget or in the abbreviations of
            ``ipywidgets.interact``: ``(low, high)``, a list, a truth value.

    Raises:
        TypeError: a control is something else, ``draw`` does not return a figure, or ``alt`` or ``caption`` is not
            text.
        ValueError: there is no control, or a list without a default; ``alt`` or ``caption`` is blank; ``strip`` is not
            between 3 and 5; or the frames cannot be made smaller than 300 kB.
        RuntimeError: `setup` was not called yet, or `draw` claims, checks, asks or shows something.
    """
    from coursekit.validation import require_integer

    require_texts(alt, caption)
    course = session.current()
    if strip is not None:
        strip = require_integer(strip, "strip", low=STRIP[0], high=STRIP[1])
    if not controls:
        raise ValueError("explore needs a control for each argument of the drawing function, such as k=(1, 10)")
    axes = [_axis(name, widget) for name, widget in _widgets(controls).items()]

    def draw_now() -> pictures.Drawing:
        values = {axis.name: axis.widget.value for axis in axes}
        place = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in values.items())
        return drawn(draw, f"at {place}", **values)

    # Draw the still, the frames, and at smoke the ends of the other controls.
    visited = [[axis.ends()] for axis in axes] if course.profile == "smoke" else [_moving(axes)]
    output = LateOutput(sum(math.prod(len(axis.values) for axis in grid) for grid in visited))
    default = draw_now()
    drawings, *_ = [_draw_frames(draw_now, grid, default, output) for grid in visited]
    moving = visited[0]

    # Put the picture, the frames and the live widgets into one output.
    canvas = pictures.on_one_canvas(drawings)
    at = moving[0].at if len(moving) == 1 else moving[0].at * len(moving[1].values) + moving[1].at
    data, metadata = bundle(canvas[at], alt, default.scale)
    live = _live(axes, draw_now, alt, (data, metadata))
    if strip is not None:
        data, metadata = bundle(_strip(canvas, moving, strip, default.scale), alt, default.scale)
    output.show({WIDGET_VIEW: live, FRAMES: _record(moving, canvas)} | data, metadata)
    display_caption(course, caption)


@dataclass(frozen=True)
class Axis:
    """A control and the values that it can take."""

    name: str
    widget: Any
    values: list[Any]
    labels: list[str]
    at: int  # the index of the default
    is_list: bool = False  # options without an order, of which frames leave out none

    def chosen(self, indices: Sequence[int]) -> "Axis":
        values, labels = [self.values[i] for i in indices], [self.labels[i] for i in indices]
        return Axis(self.name, self.widget, values, labels, indices.index(self.at), self.is_list)

    def spread(self, count: int) -> "Axis":
        """At most ``count`` ≥ 3 values, evenly spaced; both ends and the default are among them."""
        return self.chosen(spread(len(self.values), self.at, count))

    def ends(self) -> "Axis":
        """The two ends and the default."""
        return self.chosen(sorted({0, self.at, len(self.values) - 1}))


def spread(n: int, at: int, count: int) -> list[int]:
    """At most ``count`` ≥ 3 of the indices 0 … n − 1, evenly spaced, with 0, n − 1 and ``at`` among them.

    >>> spread(100, 4, 5)
    [0, 4, 50, 74, 99]
    """
    if n <= count:
        return list(range(n))
    indices = [round(i * (n - 1) / (count - 1)) for i in range(count)]
    if at not in indices:
        nearest = min(range(1, count - 1), key=lambda i: abs(indices[i] - at))
        indices[nearest] = at
    return indices


def _widgets(controls: dict[str, Any]) -> dict[str, Any]:
    """A widget for each control, with its name as description if it has none."""
    from ipywidgets import interactive

    widgets = {name: interactive.widget_from_abbrev(spec) for name, spec in controls.items()}
    for name, widget in widgets.items():
        if widget is None:
            raise TypeError(f"no control for {name}={controls[name]!r}: pass a widget, (low, high), or a list")
        widget.description = widget.description or name.replace("_", " ")
        widget.style.description_width = "initial"
    return widgets


def _axis(name: str, widget: Any) -> Axis:
    """The values that a slider, a list or a checkbox can take."""
    from ipywidgets import SelectionSlider

    if isinstance(widget.value, bool) and not hasattr(widget, "options"):
        return Axis(name, widget, [False, True], ["off", "on"], at=int(widget.value))
    if hasattr(widget, "options") and not isinstance(widget.index, tuple):
        if widget.index is None:
            raise ValueError(f"{name}: none of the options is chosen; give the {type(widget).__name__} a value")
        values, labels = list(widget._options_values), list(widget._options_labels)
        return Axis(name, widget, values, labels, widget.index, is_list=not isinstance(widget, SelectionSlider))
    if hasattr(widget, "min") and isinstance(widget.value, (int, float)):
        values = _steps(widget)
        return Axis(name, widget, values, [in_words(value) for value in values], at=values.index(widget.value))
    raise TypeError(
        f"{name}: expected a slider with one value, a list of options or a truth value, got {type(widget).__name__}"
    )


def _steps(slider: Any) -> list[Any]:
    """Every value from the minimum to the maximum of a slider, its own value included.

    The limits and the step of a logarithmic slider are exponents.
    """
    base = getattr(slider, "base", None)
    low, high, now = slider.min, slider.max, slider.value if base is None else math.log(slider.value, base)
    span = high - low
    step = getattr(slider, "step", None) or span / (MOST - 1) or 1
    step *= max(1, math.ceil(span / step / 1000))  # nobody wants more than a thousand
    steps = [low + i * step for i in range(math.ceil(span / step - 1e-9))] + [high]
    values = steps if base is None else [base**power for power in steps]
    # Put in the value of the slider, in place of a step from which it differs by rounding only.
    nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - now))
    if abs(steps[nearest] - now) <= 1e-9 * span:
        values[nearest] = slider.value
    else:
        bisect.insort(values, slider.value)
    return values


def _moving(axes: Sequence[Axis]) -> list[Axis]:
    """The first control, or the first two, with the values at which frames are drawn."""
    first, *others = axes
    if others:
        rows, columns = len(first.values), len(others[0].values)
        if rows * columns > MOST:
            columns = min(columns, MOST // min(rows, 4))
            rows = min(rows, MOST // columns)
        grid = [first.spread(rows), others[0].spread(columns)]
        cut = [axis.is_list and len(kept.values) < len(axis.values) for axis, kept in zip(axes, grid, strict=False)]
        if not any(cut):
            return grid
    return [first.spread(MOST)]


def _draw_frames(
    draw_now: Callable[[], pictures.Drawing],
    axes: Sequence[Axis],
    default: pictures.Drawing,
    output: LateOutput,
) -> list[pictures.Drawing]:
    """The figure at every combination of the axes' values, the last axis fastest; ``default`` is drawn already."""
    drawings = []
    with _put_back(axes):
        for place in itertools.product(*(range(len(axis.values)) for axis in axes)):
            if all(i == axis.at for i, axis in zip(place, axes, strict=True)):
                drawings.append(default)
            else:
                for i, axis in zip(place, axes, strict=True):
                    axis.widget.value = axis.values[i]
                drawings.append(draw_now())
            output.count()
    return drawings


@contextmanager
def _put_back(axes: Sequence[Axis]) -> Iterator[None]:
    """Give the widgets their values back in the end."""
    values = [axis.widget.value for axis in axes]
    try:
        yield
    finally:
        for axis, value in zip(axes, values, strict=True):
            axis.widget.value = value


def _live(axes: Sequence[Axis], draw_now: Callable[[], pictures.Drawing], alt: str, still: Bundle) -> dict[str, Any]:
    """The view of the widgets above an output that is redrawn when one of them is moved."""
    from IPython.display import clear_output, display
    from ipywidgets import Output, VBox

    data, metadata = still
    output = Output()
    output.outputs = ({"output_type": "display_data", "data": data, "metadata": metadata},)

    def redraw(_change: Any) -> None:
        with output:
            drawing = draw_now()
            data, metadata = bundle(drawing.image, alt, drawing.scale)
            clear_output(wait=True)
            display(data, raw=True, metadata=metadata)

    for axis in axes:
        axis.widget.observe(redraw, names="value")
    # Written out, since ipywidgets 7, which Colab keeps, cannot give its view to others.
    box = VBox([*(axis.widget for axis in axes), output])
    return {"version_major": 2, "version_minor": 0, "model_id": box.model_id}


def _strip(canvas: Sequence["Image.Image"], moving: Sequence[Axis], count: int, scale: float) -> "Image.Image":
    """A strip of ``count`` frames of the first control, the second one at its default."""
    first = moving[0]
    columns, at = (len(moving[1].values), moving[1].at) if len(moving) == 2 else (1, 0)
    rows = spread(len(first.values), first.at, count)
    labels = [f"{first.widget.description} = {first.labels[i]}" for i in rows]
    chosen = [canvas[i * columns + at] for i in rows]
    return pictures.strip(chosen, labels, label_font(), round(STRIP_WIDTH / scale))


def _record(moving: Sequence[Axis], canvas: Sequence["Image.Image"]) -> dict[str, Any]:
    """The frames, row by row, and the controls that choose among them."""
    mime, files = pictures.frames(canvas)
    return {
        "controls": [{"name": axis.widget.description, "labels": axis.labels, "at": axis.at} for axis in moving],
        "mime": mime,
        "frames": [pictures.base64_text(file) for file in files],
    }
