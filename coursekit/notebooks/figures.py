"""The figures of executed notebooks as pages show them: still, with the frames of a slider, or animated."""

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from coursekit.course.display import FRAMES
from coursekit.notebooks import files, markup

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml")
SVG_SIDES = re.compile(r"<svg\b[^>]*?\sviewBox=[\"']\s*\S+?[\s,]+\S+?[\s,]+(\d+)[.\d]*[\s,]+(\d+)")


@dataclass(frozen=True)
class Frames:
    """The pictures among which sliders choose: row by row where there are two sliders."""

    controls: list[dict[str, Any]]  # name, labels of the values, and the index at which the slider begins
    uris: list[str]
    width: int  # in CSS pixels
    height: int


@dataclass
class Figure:
    """An image, its size in CSS pixels, its caption, and what moves in its place on a screen."""

    uri: str
    alt: str
    width: int
    height: int
    caption: Markup | None = None
    frames: Frames | None = None
    animation: str = ""  # the URI


def figure_of(data: Any, metadata: Any) -> Figure | None:
    """The image of an output, if it has one that can be read, with its frames or its animation."""
    sizes = ((mime, _size(mime, data[mime])) for mime in IMAGES if mime in data)
    mime, size = next(((mime, size) for mime, size in sizes if size), ("", None))
    if size is None:
        return None
    image, (wide, high) = data[mime], size
    width, height = (metadata.get(mime, {}).get(side) for side in ("width", "height"))
    if not all(type(side) in (int, float) and side > 0 for side in (width, height)):
        width, height = wide, high
    figure = Figure(uri(mime, image), files.alt(metadata), width, height)
    if FRAMES in data:
        record = data[FRAMES]
        # The image may be a strip of frames, so that a frame has another shape.
        w, h = _size(record["mime"], record["frames"][0]) or (wide, high)
        scale = width / wide
        size = (width, height) if abs(w * high - h * wide) < 0.02 * h * wide else (round(scale * w), round(scale * h))
        figure.frames = Frames(record["controls"], [uri(record["mime"], it) for it in record["frames"]], *size)
    elif mime != "image/svg+xml" and (still := _first_frame(image)):
        figure.uri, figure.animation = uri("image/png", still), figure.uri
    return figure


def uri(mime: str, image: str) -> str:
    if mime == "image/svg+xml":  # a notebook holds it as text; an image runs no script and loads nothing
        named = image if "xmlns=" in image else image.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        return markup.embedded(mime, named.encode())
    return f"data:{mime};base64,{''.join(image.split())}"


def _size(mime: str, image: str) -> tuple[int, int] | None:
    """Width and height of an image in pixels; None if it is damaged."""
    if mime == "image/svg+xml":
        sides = SVG_SIDES.search(image)
        return (max(1, int(sides[1])), max(1, int(sides[2]))) if sides else (640, 480)
    opened = files.open_image(files.decoded(image))
    return opened.size if opened else None


def _first_frame(image: str) -> str:
    """The first frame of an animation, as PNG; empty if the image stands still."""
    opened = files.open_image(files.decoded(image))
    if opened is None or not getattr(opened, "is_animated", False):
        return ""
    file = io.BytesIO()
    opened.convert("RGB").save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
