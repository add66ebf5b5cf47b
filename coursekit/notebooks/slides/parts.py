"""What a deck holds besides the notebook: reveal.js, MathJax and the typefaces, all from npm.

``package-lock.json`` beside this file pins versions and SHA-512 sums. ``npm ci`` fetches what it lists, from the
registry, through the proxy and with the certificates that this machine is set up for. What a deck needs of it is kept
beside the data sets, and nothing is fetched again until the pins, or this module, change.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coursekit.datasets import store
from coursekit.errors import CourseError

PINS = tuple(Path(__file__).with_name(name) for name in ("package.json", "package-lock.json"))
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1")
TIMEOUT = 300  # seconds for npm as a whole

ABOUT = {  # package: what for, licence
    "reveal.js": ("the slides", "MIT"),
    "mathjax": ("the formulas", "Apache 2.0"),
    "@fontsource-variable/source-serif-4": ("the typeface of headings", "OFL 1.1"),
    "@fontsource-variable/source-sans-3": ("the typeface of the text", "OFL 1.1"),
    "@fontsource-variable/source-code-pro": ("the typeface of code", "OFL 1.1"),
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
ALPHABETS = re.compile(r"-(latin|greek)-wght-")  # of the dozen that a typeface has


class Parts(NamedTuple):
    """All that goes into every deck."""

    style: str  # CSS, the typefaces in it
    script: str  # JavaScript
    licences: str  # of the packages, in full


def parts() -> Parts:
    """The parts, fetched if this machine does not have them yet.

    Raises
    ------
    CourseError
        npm is missing, could not fetch them, or got something else than what is pinned; or the cache cannot be
        written. The message says what to do.
    """
    from filelock import FileLock

    content = b"".join(path.read_bytes() for path in (*PINS, Path(__file__)))
    folder = store.home() / "slides" / hashlib.sha256(content).hexdigest()[:16]
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / ".lock"):
                if not folder.is_dir():  # still: another process may have brought it
                    _fetch(folder)
        except OSError as error:
            raise CourseError(
                f"cannot write the parts of the slides to {folder}: {error}. "
                "Make room there, or set COURSEKIT_DATA to a folder of yours."
            ) from error
    return Parts(*((folder / name).read_text(encoding="utf-8") for name in Parts._fields))


def packages() -> list[str]:
    """For each package what it is for, its version and its licence."""
    pinned = json.loads(PINS[1].read_text(encoding="utf-8"))["packages"]
    return [
        f"{name.removeprefix('@fontsource-variable/')} {pinned[f'node_modules/{name}']['version']}, {use} ({licence})"
        for name, (use, licence) in ABOUT.items()
    ]


def _fetch(folder: Path) -> None:
    """Let npm fetch the packages, and keep in ``folder`` what a deck needs, all or nothing."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        _npm_ci(Path(scratch), folder)
        modules, whole = Path(scratch, "node_modules"), Path(scratch, "whole")
        whole.mkdir()
        found = Parts(
            style="\n".join(_sheets(modules)),
            script="\n;\n".join((modules / path).read_text(encoding="utf-8") for path in SCRIPTS),
            licences="\n\n".join(
                f"{name}\n\n{(modules / name / 'LICENSE').read_text(encoding='utf-8')}" for name in ABOUT
            ),
        )
        for name, text in found._asdict().items():
            (whole / name).write_text(text, encoding="utf-8", newline="\n")
        os.replace(whole, folder)


def _npm_ci(scratch: Path, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise CourseError(_what_to_do("npm, which fetches them, is not installed", folder))
    for path in PINS:
        shutil.copy(path, scratch)
    print("Slides: fetching reveal.js, MathJax and the typefaces with npm", flush=True)
    try:
        done = subprocess.run(
            [npm, *NPM_CI],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CourseError(_what_to_do(f"npm did not get them within {TIMEOUT} s", folder)) from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "complete log" not in line and "npm-debug" not in line]
        raise CourseError(_what_to_do("npm could not get them:\n  " + "\n  ".join(said[:8]), folder))


def _what_to_do(reason: str, folder: Path) -> str:
    return (
        f"the parts of the slides (reveal.js, MathJax, typefaces) are not on this machine, and {reason}\n"
        "With a network: install Node.js, which brings npm, and check `npm config get registry`.\n"
        f"Without: copy the folder {folder} from a machine where `coursekit slides` has run, "
        "or set COURSEKIT_DATA to the folder two levels above it."
    )


def _sheets(modules: Path) -> Iterator[str]:
    """The style sheets; of typefaces only the alphabets that lectures are written in, each in its rule."""
    for sheet in SHEETS:
        text = (modules / sheet).read_text(encoding="utf-8")
        if not sheet.startswith("@fontsource"):
            yield text
        for face in FACE.finditer(text):
            if ALPHABETS.search(face[1]):
                data = base64.b64encode((modules / sheet).with_name("files").joinpath(Path(face[1]).name).read_bytes())
                yield face[0].replace(f"./{face[1]}", f"data:font/woff2;base64,{data.decode()}")
