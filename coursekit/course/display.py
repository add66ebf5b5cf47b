"""Figures with alt text and caption, and figures that answer "what if" with a slider."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coursekit.course import session
from coursekit.course.records import require_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def show(figure: "Figure", *, alt: str, caption: str) -> None:
    """Show a figure with its alternative text, and under it a numbered caption that says what to see.

    Raises:
        TypeError: this is not a figure, or ``alt`` or ``caption`` is not text.
        ValueError: ``alt`` or ``caption`` is blank.
        RuntimeError: `setup` was not called yet.
    """
    from IPython.display import display

    _require_texts(alt, caption)
    course = session.current()
    data, metadata = _bundle(figure, alt)
    display(data, raw=True, metadata=metadata)
    _display_caption(course, caption)


def explore(draw: Callable[..., "Figure"], *, alt: str, caption: str, **controls: Any) -> None:
    """Show a figure with one control for each argument of ``draw``, and redraw it when one is moved.

    Where no widget can live (slides, print, a notebook that was not run yet) the figure at the default values is
    shown instead. At profile ``smoke`` the figure is also drawn at both ends of every control, so that an error at the
    end of a slider fails the test run.

    Args:
        draw: takes the controls' values by name and returns a figure.
        alt: what the figure shows at the default values.
        caption: what to see, or what to try.
        controls: a widget, or the abbreviations of ``ipywidgets.interact``: ``(low, high)``, a list, a truth value.

    Raises:
        TypeError: a control is something else, ``draw`` does not return a figure, or ``alt`` or ``caption`` is not
            text.
        ValueError: ``alt`` or ``caption`` is blank.
        RuntimeError: `setup` was not called yet.
    """
    from IPython.display import clear_output, display
    from ipywidgets import Output, VBox

    _require_texts(alt, caption)
    course = session.current()
    sliders = _sliders(controls)

    def drawn() -> tuple[dict[str, Any], dict[str, Any]]:
        return _bundle(draw(**{name: slider.value for name, slider in sliders.items()}), alt)

    still, metadata = drawn()
    if course.profile == "smoke":
        _visit_ends(sliders, drawn)

    output = Output()
    output.outputs = ({"output_type": "display_data", "data": still, "metadata": metadata},)

    def redraw(_change: Any) -> None:
        with output:
            data, metadata = drawn()
            clear_output(wait=True)
            display(data, raw=True, metadata=metadata)

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    # Written out, since ipywidgets 7, which Colab keeps, cannot give its view to others.
    live = {"version_major": 2, "version_minor": 0, "model_id": VBox([*sliders.values(), output]).model_id}
    display({WIDGET_VIEW: live} | still, raw=True, metadata=metadata)
    _display_caption(course, caption)


def _sliders(controls: dict[str, Any]) -> dict[str, Any]:
    """A widget for each control, with its name as description if it has none."""
    from ipywidgets import interactive

    sliders = {name: interactive.widget_from_abbrev(spec) for name, spec in controls.items()}
    for name, slider in sliders.items():
        if slider is None:
            raise TypeError(f"no control for {name}={controls[name]!r}: pass a widget, (low, high), or a list")
        slider.description = slider.description or name.replace("_", " ")
        slider.style.description_width = "initial"
    return sliders


def _visit_ends(sliders: dict[str, Any], drawn: Callable[[], Any]) -> None:
    """Draw the figure with each control at its ends, one control at a time, and put it back."""
    for slider in sliders.values():
        default = slider.value
        for end in _ends(slider):
            slider.value = end
            drawn()
        slider.value = default


def _ends(slider: Any) -> list[Any]:
    """The first and the last value of a control, or the other value of a checkbox."""
    if hasattr(slider, "options"):
        first, last = slider.options[0], slider.options[-1]
        return [end[1] if isinstance(end, tuple) else end for end in (first, last)]  # (label, value) or value
    if hasattr(slider, "min"):
        return [slider.min, slider.max]
    return [not slider.value]


def _bundle(figure: "Figure", alt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figure as an output: data, and the metadata that holds its alternative text and its size."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from PIL import Image

    if not isinstance(figure, Figure):
        raise TypeError(
            f"expected a matplotlib figure, got {type(figure).__name__}; a drawing function ends with `return fig`"
        )
    drawn, packed = io.BytesIO(), io.BytesIO()
    # Tight: the layout leaves too little room beside images, and cuts off their labels.
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.06)
    plt.close(figure)
    # A palette of 256 colours takes a third of the bytes, and nobody sees the difference in a drawing.
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(packed, format="png", optimize=True)
    width, height = (round(pixels * figure.dpi / plt.rcParams["savefig.dpi"]) for pixels in image.size)
    png = base64.b64encode(packed.getvalue()).decode()
    data = {"image/png": png, "text/plain": f"<figure: {alt}>"}
    return data, {"image/png": {"alt": alt, "width": width, "height": height}}


def _require_texts(alt: str, caption: str) -> None:
    question = "what would you say of it to someone on the phone?"
    require_text(alt, "alt", f"a figure needs an alternative text: {question}")
    require_text(caption, "caption", "a figure needs a caption that says what to see in it")


def _display_caption(course: session.Session, caption: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(f"*Figure {next(course.figure_numbers)}. {caption}*"))
