"""What a deck holds besides the notebook: reveal.js, MathJax and the typefaces, all from npm.

``package-lock.json`` beside this file pins versions and SHA-512 sums. ``npm ci`` fetches the packages with the
registry, proxy and certificates that are configured on this machine. The parts that a deck needs are kept beside the
data sets, and are fetched again only when the pins or this module change.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from coursekit.datasets import store
from coursekit.errors import CourseError
from coursekit.files import write_text

PINS = tuple(Path(__file__).with_name(name) for name in ("package.json", "package-lock.json"))
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1")
TIMEOUT = 300  # seconds for all of npm's work

USES = {
    "reveal.js": "the slides",
    "mathjax": "the formulas",
    "@fontsource-variable/source-serif-4": "the typeface of headings",
    "@fontsource-variable/source-sans-3": "the typeface of the text",
    "@fontsource-variable/source-code-pro": "the typeface of code",
}
SCRIPTS = ("reveal.js/dist/reveal.js", "reveal.js/plugin/notes/notes.js", "mathjax/es5/tex-svg-full.js")
SHEETS = (
    "reveal.js/dist/reveal.css",
    "@fontsource-variable/source-serif-4/wght.css",
    "@fontsource-variable/source-serif-4/wght-italic.css",
    "@fontsource-variable/source-sans-3/wght.css",
    "@fontsource-variable/source-sans-3/wght-italic.css",
    "@fontsource-variable/source-code-pro/wght.css",
)
FACE = re.compile(r"@font-face\s*\{[^}]*?url\(\./([^)]*)\)[^}]*\}")
ALPHABETS = re.compile(r"-(latin|greek)-wght-")  # in which the lectures are written


@dataclass(frozen=True)
class Parts:
    """The parts that every deck holds."""

    style: str  # CSS, with the typefaces
    script: str  # JavaScript
    licences: str  # of the packages, in full


def parts(report: Callable[[str], None]) -> Parts:
    """The parts; if this machine does not have them yet, npm fetches them, and ``report`` is told.

    Raises:
        CourseError: npm is missing, failed, or got something other than the pins; or the cache cannot be written. The
            message says what to do.
    """
    # The name of the cached file changes with the pins and with this module.
    content = b"".join(path.read_bytes() for path in (*PINS, Path(__file__)))
    cache = store.home() / "slides" / f"{hashlib.sha256(content).hexdigest()[:16]}.json"
    if not cache.is_file():
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_text(cache, json.dumps(asdict(_fetch(cache, report))))
        except OSError as error:
            raise CourseError(
                f"cannot write the parts of the slides to {cache.parent}: {error}. "
                "Make room there, or set COURSEKIT_DATA to a folder of yours."
            ) from error
    return Parts(**json.loads(_text(cache)))


def packages() -> list[str]:
    """Name, version, use and licence of each package."""
    pinned = json.loads(_text(PINS[1]))["packages"]
    about = {name: pinned[f"node_modules/{name}"] for name in USES}
    return [
        f"{name.rpartition('/')[2]} {it['version']}, {USES[name]} ({it['license'].replace('-', ' ')})"
        for name, it in about.items()
    ]


def _fetch(cache: Path, report: Callable[[str], None]) -> Parts:
    """Let npm fetch the packages, and put together what a deck needs of them."""
    report("Slides: fetching reveal.js, MathJax and the typefaces with npm")
    with fetched_packages(cache) as modules:
        scripts = [_text(modules / path) for path in SCRIPTS]
        return Parts("\n".join(_sheets(modules)), "\n;\n".join(scripts), "\n\n".join(licences(modules)))


def licences(modules: Path) -> list[str]:
    """The licences of the packages in full, each below the name of its package."""
    return [f"{name}\n\n{_text(modules / name / 'LICENSE')}" for name in USES]


@contextmanager
def fetched_packages(cache: Path) -> Iterator[Path]:
    """The folder ``node_modules`` with the pinned packages, fetched by npm; it is gone when the block ends.

    Args:
        cache: where what is needed of them will be kept, for messages.

    Raises:
        CourseError: npm is missing, failed, or got something other than the pins.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise _unavailable("npm, which fetches them, is not installed", cache)
    with tempfile.TemporaryDirectory(prefix="coursekit-") as scratch:
        for path in PINS:
            shutil.copy(path, scratch)
        try:
            done = subprocess.run(
                [npm, *NPM_CI], cwd=scratch, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _unavailable(f"npm did not get them within {TIMEOUT} s", cache) from error
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "complete log" not in line and "npm-debug" not in line]
            raise _unavailable("npm could not get them:\n  " + "\n  ".join(said[:8]), cache)
        yield Path(scratch, "node_modules")


def _unavailable(reason: str, cache: Path) -> CourseError:
    return CourseError(
        f"the parts of the slides (reveal.js, MathJax, typefaces) are not on this machine, and {reason}\n"
        "With a network: install Node.js, which includes npm, and check `npm config get registry`.\n"
        f"Without: copy the file {cache} from a machine where `coursekit slides` has run, "
        "or set COURSEKIT_DATA to the folder two levels above it."
    )


def _sheets(modules: Path) -> Iterator[str]:
    """The style sheets; those of typefaces hold the fonts of the alphabets in use, and no other."""
    for sheet in SHEETS:
        text = _text(modules / sheet)
        if not sheet.startswith("@fontsource"):
            yield text
        for face in faces(text):
            font = (modules / sheet).with_name("files") / Path(face[1]).name
            data = base64.b64encode(font.read_bytes()).decode()
            yield face[0].replace(f"./{face[1]}", f"data:font/woff2;base64,{data}")


def faces(sheet: str) -> Iterator[re.Match[str]]:
    """The rules of a style sheet for typefaces in the alphabets in use; group 1 is the file of the font."""
    return (face for face in FACE.finditer(sheet) if ALPHABETS.search(face[1]))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
