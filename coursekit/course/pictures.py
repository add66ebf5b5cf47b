"""Rendered figures as the files that a notebook stores: a still, frames of one size, an animation."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageFont, features

FRAMES_LIMIT = 300_000  # bytes in the notebook, for the frames of one figure
ANIMATION_LIMIT = 400_000  # bytes in the notebook, for one animation
EXACT_LIMIT = 50_000  # bytes of a still that keeps all its colours; a notebook of twenty large ones would take 3 MB
VISIBLE = 12  # levels of 255 by which a pixel may differ unseen
GREY = 30  # levels of 255 by which red, green and blue of a grey or pale pixel differ at most
WIDTH = 1000  # pixels at most, of frames and animations
PAUSE = 2.0  # seconds for which an animation shows its last frame
GAP, LABEL = 24, 32  # pixels between the pictures of a strip, and below each of them


@dataclass(frozen=True)
class Drawing:
    """A rendered figure, and where its upper left corner is: in pixels from the corner of the figure itself."""

    image: Image.Image  # RGB
    left: int
    top: int
    scale: float  # CSS pixels of a pixel


def on_one_canvas(drawings: Sequence[Drawing]) -> list[Image.Image]:
    """The pictures of several figures in one size, so that what is equal in all of them does not move.

    >>> small, tall = (Drawing(Image.new("RGB", size), left=0, top=-3, scale=1) for size in [(20, 10), (20, 15)])
    >>> [picture.size for picture in on_one_canvas([small, tall])]
    [(20, 15), (20, 15)]
    """
    left, top = min(it.left for it in drawings), min(it.top for it in drawings)
    right = max(it.left + it.image.width for it in drawings)
    bottom = max(it.top + it.image.height for it in drawings)
    pictures = []
    for drawing in drawings:
        picture = Image.new("RGB", (right - left, bottom - top), "white")
        picture.paste(drawing.image, (drawing.left - left, drawing.top - top))
        pictures.append(picture)
    return pictures


def still(picture: Image.Image, *, exact: bool = False) -> bytes:
    """A picture as PNG: with 256 colours, or with all of them where that would be seen and they take few bytes.

    With ``exact`` it keeps all its colours in any case: for a figure that is about differences of a few levels.
    """
    import numpy as np

    if exact:
        return _file(picture, "PNG", optimize=True)
    # Median cut, improved by k-means until an iteration moves fewer than 1 % of the pixels to another colour: half the
    # largest errors of median cut alone, in no more bytes.
    indexed = picture.quantize(256, dither=Image.Dither.NONE, kmeans=picture.width * picture.height // 100 or 1)
    errors = np.asarray(ImageChops.difference(picture, indexed.convert("RGB"))).max(axis=2)  # (h, w), of 255 levels
    if (errors > VISIBLE).mean() > 0.01 and len(whole := _file(picture, "PNG", optimize=True)) <= EXACT_LIMIT:
        return whole
    return _file(indexed, "PNG", optimize=True)


def frames(pictures: Sequence[Image.Image]) -> tuple[str, list[bytes]]:
    """Pictures as the frames of a slider: their mime type (WebP, or PNG where Pillow has no WebP) and the files.

    Raises:
        ValueError: they would take more than `FRAMES_LIMIT` bytes even if small and coarse.
    """
    size = 0
    for width, quality in ((WIDTH, 85), (WIDTH, 60), (750, 60), (500, 50)):
        narrowed = [_narrowed(picture, width) for picture in pictures]
        if features.check("webp"):
            mime, files = "image/webp", [_webp(picture, quality) for picture in narrowed]
        else:
            mime, files = "image/png", [still(picture) for picture in narrowed]
        size = sum(map(_stored, files))
        if size <= FRAMES_LIMIT:
            return mime, files
    raise ValueError(
        f"the {len(pictures)} frames take {size // 1000} kB, more than {FRAMES_LIMIT // 1000}: "
        "draw a smaller figure, or give the first control fewer values"
    )


def animation(pictures: Sequence[Image.Image], seconds: float) -> bytes:
    """Pictures of one size as an endless animated PNG, the same bytes for the same pictures.

    It starts with its last picture, which stays for `PAUSE` seconds: whoever shows a single frame shows the result.

    Raises:
        ValueError: it would take more than `ANIMATION_LIMIT` bytes even if small, coarse and with fewer frames.
    """
    size = 0
    for width, colours, every in ((WIDTH, 128, 1), (WIDTH, 48, 1), (750, 48, 1), (750, 48, 2), (500, 32, 3)):
        # Keep every second or third picture, counted from the last one.
        kept = list(reversed(pictures[::-1][::every]))
        coloured = _share_palette([_narrowed(picture, width) for picture in kept], colours)
        durations = [round(1000 * PAUSE)] + [round(1000 * seconds / len(kept))] * (len(kept) - 1)
        file = _file(
            coloured[-1],
            "PNG",
            save_all=True,
            append_images=coloured[:-1],
            duration=durations,
            loop=0,
            optimize=True,
        )
        size = _stored(file)
        if size <= ANIMATION_LIMIT:
            return file
    raise ValueError(
        f"the animation takes {size // 1000} kB, more than {ANIMATION_LIMIT // 1000}: "
        "draw a smaller or a plainer figure, or fewer frames"
    )


def strip(pictures: Sequence[Image.Image], labels: Sequence[str], font: str, width: int) -> Image.Image:
    """Pictures of one size side by side, or wide ones below each other, each with its label under it.

    Args:
        font: The file of a TrueType font.
        width: Pixels that the strip may take; a row of pictures is scaled down to it.
    """
    columns = 1 if pictures[0].width > 2 * pictures[0].height else len(pictures)
    shrunk = [_narrowed(picture, (width - (columns - 1) * GAP) // columns) for picture in pictures]
    w, h = shrunk[0].size
    letters = ImageFont.truetype(font, 20)
    step = (w + GAP, h + LABEL + GAP)  # from one picture to the next
    rows = len(pictures) // columns
    page = Image.new("RGB", (columns * step[0] - GAP, rows * step[1] - GAP), "white")
    for i, (picture, label) in enumerate(zip(shrunk, labels, strict=True)):
        x, y = i % columns * step[0], i // columns * step[1]
        page.paste(picture, (x, y))
        ImageDraw.Draw(page).text((x + w / 2, y + h + 2), label, fill="black", font=letters, anchor="ma")
    return page


def base64_text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def _narrowed(picture: Image.Image, width: int) -> Image.Image:
    """The picture, scaled down if it is wider than ``width``."""
    if picture.width <= width:
        return picture
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


def _webp(picture: Image.Image, quality: int) -> bytes:
    """The smaller one of two: lossless with 256 colours, which suits lines, or lossy, which suits photographs."""
    plain = picture.quantize(256, dither=Image.Dither.NONE).convert("RGB")
    lossless = _file(plain, "WEBP", lossless=True, quality=100, method=4)
    return min(lossless, _file(picture, "WEBP", quality=quality, method=4), key=len)


def _share_palette(pictures: Sequence[Image.Image], colours: int) -> list[Image.Image]:
    """The pictures with one palette for all, taken from at most eight of them."""
    entries = _palette(pictures[:: -(-len(pictures) // 8)], colours - 1)
    palette, white = Image.new("P", (1, 1)), len(entries) // 3
    palette.putpalette([*entries, 255, 255, 255])
    coloured = []
    for picture in pictures:
        indexed = picture.quantize(palette=palette, dither=Image.Dither.NONE)
        # Pillow looks colours up roughly, and would take the background for something that is not quite white.
        indexed.paste(white, mask=picture.convert("L").point(lambda level: 255 if level >= 250 else 0))
        coloured.append(indexed)
    return coloured


def _palette(samples: Sequence[Image.Image], colours: int) -> list[int]:
    """The colours that suit the samples best, beside white: red, green, blue, red, …

    Small coloured marks tell classes apart, but axes, text and their soft edges have more pixels: if all were cut
    together, classes would share a colour. So greys get 16 colours of their own, and vivid pixels all others.
    """
    import numpy as np

    pixels = np.concatenate([np.asarray(sample).reshape(-1, 3) for sample in samples])
    pixels = pixels[pixels.min(axis=1) < 250]
    vivid = np.ptp(pixels, axis=1) > GREY
    greys = 16 if vivid.any() else colours
    entries = []
    for chosen, count in ((pixels[vivid], colours - greys), (pixels[~vivid], greys)):
        if len(chosen):
            # Median cut, improved by k-means as in `still`.
            line, moved = Image.fromarray(chosen[None]), len(chosen) // 100 or 1
            cut = line.quantize(count, dither=Image.Dither.NONE, kmeans=moved).getpalette() or []
            entries += cut[: 3 * count]
    return entries


def _stored(file: bytes) -> int:
    """The bytes that a file takes in a notebook, as base64."""
    return 4 * -(-len(file) // 3)


def _file(picture: Image.Image, kind: str, **options: object) -> bytes:
    packed = io.BytesIO()
    picture.save(packed, format=kind, **options)
    return packed.getvalue()
