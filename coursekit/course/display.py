"""Figures with alt text and caption, still or moving."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from coursekit.course import pictures, session
from coursekit.course.pictures import Drawing
from coursekit.course.records import require_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

# Mime types of figures with controls: the live widgets, and frames that move without a kernel.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
FRAMES = "application/vnd.coursekit.frames+json"

PAD = 0.06  # inches around a figure
DELAY = 2.0  # seconds of drawing before its progress is shown

Draw: TypeAlias = "Callable[..., Figure]"
Bundle = tuple[dict[str, Any], dict[str, Any]]  # an output: data by mime type, and metadata


def show(figure: "Figure", *, alt: str, caption: str, exact: bool = False) -> None:
    """Show a figure with its alternative text, and under it a numbered caption that says what to see.

    Args:
        exact: keep every colour, where the figure is about differences of a few levels of 255; it takes more bytes.

    Raises:
        TypeError: this is not a figure, ``alt`` or ``caption`` is not text, or ``exact`` is not a truth value.
        ValueError: ``alt`` or ``caption`` is blank.
        RuntimeError: `setup` was not called yet.
    """
    from IPython.display import display

    from coursekit.validation import require_flag

    require_texts(alt, caption)
    exact = require_flag(exact, "exact")
    course = session.current()
    drawing = rendered(figure)
    data, metadata = bundle(drawing.image, alt, drawing.scale, exact=exact)
    display(data, raw=True, metadata=metadata)
    display_caption(course, caption)


def animate(draw: Draw, frames: Iterable[Any], *, alt: str, caption: str, seconds: float = 4.0) -> None:
    """Show figures one after the other, in an endless loop that rests on the last one for two seconds.

    The output is an animated PNG, which every viewer of notebooks shows: an animated GIF moves neither in JupyterLab
    (beside a PNG) nor in nbconvert. It begins with the last figure, so that print and every program that shows only one
    frame shows the result. It is made smaller, coarser, and in the end shorter, until it takes less than 400 kB. At
    profile ``smoke`` only the first and the last figure are drawn.

    Args:
        draw: takes one of ``frames`` and returns a figure.
        frames: what changes from figure to figure: steps of a descent, snapshots of a training.
        alt: what moves, and what the last figure shows.
        caption: what to see.
        seconds: how long one round takes without the rest at its end.

    Raises:
        TypeError: ``draw`` does not return a figure, or ``alt`` or ``caption`` is not text.
        ValueError: there are fewer than two frames, ``seconds`` is not positive, ``alt`` or ``caption`` is blank, or
            the animation cannot be made small enough.
        RuntimeError: `setup` was not called yet.
    """
    from coursekit.validation import require_number

    require_texts(alt, caption)
    course = session.current()
    seconds = require_number(seconds, "seconds", above=0)
    frames = list(frames)
    if len(frames) < 2:
        raise ValueError(f"frames: an animation needs at least two, got {len(frames)}")
    if course.profile == "smoke":
        frames = [frames[0], frames[-1]]

    output = LateOutput(len(frames))
    drawings = []
    for number, frame in enumerate(frames):
        drawings.append(drawn(draw, f"at frame {number} of {len(frames)}", frame))
        output.count()
    canvas = pictures.on_one_canvas(drawings)
    data, metadata = bundle(canvas[-1], alt, drawings[-1].scale)
    data["image/png"] = pictures.base64_text(pictures.animation(canvas, seconds))
    metadata["image/png"]["animated"] = True
    output.show(data, metadata)
    display_caption(course, caption)


class LateOutput:
    """An output that takes long to draw: it shows the progress until the figure takes its place."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.started = time.perf_counter()
        self.handle: Any = None

    def count(self) -> None:
        """Count one more frame, and show the progress if that takes long."""
        from IPython.display import display

        self.done += 1
        if self.done == self.total or time.perf_counter() - self.started < DELAY:
            return
        progress = {"text/plain": f"{self.done} of {self.total} frames drawn"}
        if self.handle is None:
            self.handle = display(progress, raw=True, display_id=True)
        else:
            self.handle.update(progress, raw=True)

    def show(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """Put the figure in place of the progress."""
        from IPython.display import display

        put = display if self.handle is None else self.handle.update
        put(data, raw=True, metadata=metadata)


def drawn(draw: Draw, place: str, *args: Any, **values: Any) -> Drawing:
    """The figure that ``draw`` returns, rendered; an error is told at which place it occurred."""
    try:
        with session.drawing():
            figure = draw(*args, **values)
        return rendered(figure)
    except Exception as error:
        error.add_note(f"The error occurred {place}.")
        raise


def rendered(figure: "Figure") -> Drawing:
    """The figure as a picture that holds all of it, also what is written beside the axes. The figure is closed.

    Raises:
        TypeError: this is not a figure.
    """
    import io

    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox
    from PIL import Image

    if not isinstance(figure, Figure):
        raise TypeError(
            f"expected a matplotlib figure, got {type(figure).__name__}; a drawing function ends with `return fig`"
        )
    # The layout leaves too little room beside images: take as much as the labels need. Whole pixels, so that the same
    # line is drawn in the same way in every frame.
    dpi = plt.rcParams["savefig.dpi"]
    figure.draw_without_rendering()
    box = figure.get_tightbbox().padded(PAD)
    x0, y0, x1, y1 = (round(inches * dpi) for inches in box.extents)
    # The layout is done, and takes longer than the drawing.
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches=Bbox.from_extents(x0 / dpi, y0 / dpi, x1 / dpi, y1 / dpi))
    figure.set_layout_engine(layout)
    plt.close(figure)
    height = round(figure.get_figheight() * dpi)
    return Drawing(Image.open(file).convert("RGB"), left=x0, top=height - y1, scale=figure.dpi / dpi)


def bundle(picture: "Image.Image", alt: str, scale: float, *, exact: bool = False) -> Bundle:
    """A picture as an output, with its alternative text and its size in CSS pixels in the metadata."""
    width, height = (round(pixels * scale) for pixels in picture.size)
    data = {"image/png": pictures.base64_text(pictures.still(picture, exact=exact)), "text/plain": f"<figure: {alt}>"}
    return data, {"image/png": {"alt": alt, "width": width, "height": height}}


def label_font() -> str:
    """The file of the font in which figures are labelled."""
    from matplotlib.font_manager import findfont

    return findfont("DejaVu Sans")


def require_texts(alt: str, caption: str) -> None:
    question = "what would you say of it to someone on the phone?"
    require_text(alt, "alt", f"a figure needs an alternative text: {question}")
    require_text(caption, "caption", "a figure needs a caption that says what to see in it")


def display_caption(course: session.Session, caption: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(f"*Figure {next(course.figure_numbers)}. {caption}*"))
