"""HTML of notebooks, made safe to show: text, tables, links, and images from the notebook or its folder.

A foreign notebook may hold anything. What is not in the lists below is left out, so that nothing in its text runs,
asks the network, or shows other files of this machine.
"""

import base64
import html
import mimetypes
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bleach.css_sanitizer import CSSSanitizer
from bleach.html5lib_shim import Filter
from bleach.sanitizer import Cleaner
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from coursekit.errors import CourseError

TAGS = """
a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i
img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var
"""
UNREAD = frozenset({"script", "style"})  # their text is code, and goes with them; the text in other tags stays
ATTRIBUTES = {
    "a": ("title",),
    "img": ("src", "alt", "title", "width", "height"),
    "ol": ("start",),
    "td": ("colspan", "rowspan", "style"),
    "th": ("colspan", "rowspan", "scope", "style"),
}
PROTOCOLS = ("http", "https", "mailto", "data", "attachment", "file")  # `image` refuses some of them
LINK = re.compile(r"https?:.*|mailto:.*|[\w.%-]+\.html", re.DOTALL)  # to the web, or to another deck
COLOURED = re.compile(r"highlight|\w{1,3}")  # the classes by which Pygments colours code, and no class of a page


def clean(markup: str, image: Callable[[str], str]) -> str:
    """HTML without scripts, styles, frames, forms and the like.

    Args:
        image: turns the address of an image into the one to show, or raises a ``CourseError``.

    >>> clean("<b onclick='f()'>bold</b><script>f()</script><iframe src='file:///etc'></iframe>", str)
    '<b>bold</b>'
    """
    cleaner = Cleaner(
        tags=UNREAD.union(TAGS.split()),
        attributes=_may_stay,
        protocols=PROTOCOLS,
        strip=True,
        filters=[partial(_Shown, image=image)],
        css_sanitizer=CSSSanitizer(allowed_css_properties=["text-align"]),  # Markdown writes it into tables
    )
    return cleaner.clean(markup)


def _may_stay(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return COLOURED.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and LINK.fullmatch(value) is not None
    return name in ATTRIBUTES.get(tag, ())


class _Shown(Filter):
    """Leaves out what is in the tags `UNREAD`, and shows every image at the address that ``image`` gives."""

    def __init__(self, source: Any, image: Callable[[str], str]) -> None:
        super().__init__(source)
        self.image = image

    def __iter__(self) -> Iterator[dict[str, Any]]:
        unread = False
        for token in super().__iter__():
            name = token.get("name")
            if name in UNREAD:
                unread = token["type"] == "StartTag"
            elif not unread:
                if name == "img":
                    token["data"][None, "src"] = self.image(html.unescape(token["data"].get((None, "src"), "")))
                yield token


class Renderer(IPythonRenderer):
    """Markdown as HTML, with images at the addresses that the text gives."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return super(IPythonRenderer, self).image(text, url, title)


def image_addresses(source: str) -> list[str]:
    """The addresses of the images that Markdown shows.

    >>> image_addresses("![a](a.png) and <img src='b.png'>")
    ['a.png', 'b.png']
    """
    found: list[str] = []

    def note(address: str) -> str:
        found.append(address)
        return address

    if re.search(r"!\[|<img", source, re.IGNORECASE):  # most text shows none
        clean(MarkdownWithMath(renderer=Renderer(escape=False)).render(source), note)
    return found


def image_file(folder: Path, address: str) -> Path:
    """The image in the folder of a notebook, or below it, at the address that the notebook's text gives.

    Raises:
        CourseError: There is no such image.
    """
    kind = mimetypes.guess_type(address)[0] or ""
    try:
        file = (folder / unquote(address)).resolve()
        if kind.startswith("image/") and file.is_relative_to(folder.resolve()) and file.is_file():
            return file
    except (OSError, ValueError):  # no path can have this name
        pass
    raise CourseError(f"the image {address} is not in the notebook's folder: move it there.")


def embedded(kind: str, content: bytes) -> str:
    """The address of an image that holds the image itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
