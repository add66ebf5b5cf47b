"""What the site holds of the packages that decks hold too: MathJax, which works while the site is built, and typefaces.

They come from npm by the pins of the slides, and are kept beside the data sets in the same way.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from coursekit.datasets import store
from coursekit.errors import CourseError
from coursekit.notebooks.slides import parts as slides

MATHJAX = (
    "node-main.js",
    "core.js",
    "loader.js",
    "startup.js",
    "input/tex-full.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "adaptors/liteDOM.js",
    "a11y/assistive-mml.js",
)
FONTS = "output/chtml/fonts/woff-v2"  # MathJax's


def parts(report: Callable[[str], None]) -> Path:
    """A folder with ``mathjax`` (programs), ``fonts`` (with ``fonts.css``), ``mathjax-fonts`` and ``LICENCES.txt``.

    Raises:
        CourseError: As in `coursekit.notebooks.slides.parts.parts`.
    """
    content = b"".join(path.read_bytes() for path in (*slides.PINS, Path(slides.__file__), Path(__file__)))
    cache = store.home() / "site" / hashlib.sha256(content).hexdigest()[:16]
    if not cache.is_dir():
        report("Site: fetching MathJax and the typefaces with npm")
        with slides.fetched_packages(cache) as modules:
            try:
                cache.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
                    _select(modules, Path(scratch, "parts"))
                    os.replace(Path(scratch, "parts"), cache)
            except OSError as error:
                raise CourseError(
                    f"cannot write the parts of the site to {cache.parent}: {error}. "
                    "Make room there, or set COURSEKIT_DATA to a folder of yours."
                ) from error
    return cache


def _select(modules: Path, folder: Path) -> None:
    """Copy what a site needs of the packages into ``folder``."""
    for name in MATHJAX:
        (folder / "mathjax" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules / "mathjax" / "es5" / name, folder / "mathjax" / name)
    shutil.copytree(modules / "mathjax" / "es5" / FONTS, folder / "mathjax-fonts")
    (folder / "fonts").mkdir()
    rules = []
    for sheet in slides.SHEETS:
        if sheet.startswith("@fontsource"):
            for face in slides.faces((modules / sheet).read_text(encoding="utf-8")):
                shutil.copy((modules / sheet).parent / face[1], folder / "fonts")
                rules.append(re.sub(r"url\([^)]*\)", f"url({Path(face[1]).name})", face[0]))
    (folder / "fonts" / "fonts.css").write_text("\n".join(rules), encoding="utf-8")
    (folder / "LICENCES.txt").write_text("\n\n".join(slides.licences(modules)), encoding="utf-8")
