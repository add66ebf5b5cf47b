"""Figures with alt text and caption, and figures that answer "what if" with a slider."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coursekit.course import session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_figures = 0  # shown so far in this notebook


def forget() -> None:
    """Start numbering again, as ``setup`` does."""
    global _figures
    _figures = 0


def show(figure: "Figure", *, alt: str, caption: str) -> None:
    """Show a figure with its alternative text, and under it a numbered caption that says what to see.

    Raises
    ------
    ValueError
        ``alt`` or ``caption`` is empty.
    """
    from IPython.display import display

    data, metadata = _bundle(figure, alt)
    display(data, raw=True, metadata=metadata)
    _caption(caption)


def explore(draw: Callable[..., "Figure"], *, alt: str, caption: str, **controls: Any) -> None:
    """Show a figure with one control for each argument of ``draw``, and redraw it when one is moved.

    Where no widget can live (slides, print, a notebook that was not run yet) the figure at the default
    values is shown instead. At profile ``smoke`` the figure is also drawn at both ends of every control,
    so that an error that waits at the end of a slider fails the test run.

    Parameters
    ----------
    draw
        Takes the controls' values by name and returns a figure.
    controls
        A widget, or the abbreviations of ``ipywidgets.interact``: ``(low, high)``, a list, a truth value.
    """
    from IPython.display import clear_output, display
    from ipywidgets import Output, VBox, interactive

    sliders = {name: interactive.widget_from_abbrev(spec) for name, spec in controls.items()}
    for name, slider in sliders.items():
        if slider is None:
            raise TypeError(f"no control for {name}={controls[name]!r}: pass a widget, (low, high), or a list")
        slider.description = slider.description or name.replace("_", " ")
        slider.style.description_width = "initial"

    def drawn() -> tuple[dict[str, Any], dict[str, Any]]:
        return _bundle(draw(**{name: slider.value for name, slider in sliders.items()}), alt)

    still, metadata = drawn()
    if session.current().profile == "smoke":
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
    _caption(caption)


def _visit_ends(sliders: dict[str, Any], drawn: Callable[[], Any]) -> None:
    for slider in sliders.values():
        default = slider.value
        if hasattr(slider, "options"):
            ends = [slider.options[0], slider.options[-1]]
            ends = [end[1] if isinstance(end, tuple) else end for end in ends]  # (label, value) or value
        elif hasattr(slider, "min"):
            ends = [slider.min, slider.max]
        else:
            ends = [not default]
        for slider.value in ends:
            drawn()
        slider.value = default


def _bundle(figure: "Figure", alt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figure as an output: data, and the metadata that holds its alternative text and its size."""
    import matplotlib.pyplot as plt
    from PIL import Image

    if not alt.strip():
        raise ValueError("a figure needs an alternative text: what would you say of it to someone on the phone?")
    drawn, packed = io.BytesIO(), io.BytesIO()
    # Tight: the layout leaves too little room beside pictures, and cuts their labels off.
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.06)
    plt.close(figure)
    # A palette of 256 colours takes a third of the bytes, and nobody sees the difference in a drawing.
    picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(packed, format="png", optimize=True)
    width, height = (round(pixels * figure.dpi / plt.rcParams["savefig.dpi"]) for pixels in picture.size)
    png = base64.b64encode(packed.getvalue()).decode()
    data = {"image/png": png, "text/plain": f"<figure: {alt}>"}
    return data, {"image/png": {"alt": alt, "width": width, "height": height}}


def _caption(caption: str) -> None:
    from IPython.display import Markdown, display

    global _figures
    if not caption.strip():
        raise ValueError("a figure needs a caption that says what to see in it")
    _figures += 1
    display(Markdown(f"*Figure {_figures}. {caption}*"))
