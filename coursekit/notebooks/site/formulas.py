"""Formulas as HTML that needs no script: MathJax typesets them once, in Node.js, when the site is built.

Sphinx writes a mark for each formula into its pages; when all pages are there, the marks are replaced.
"""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes

from coursekit.errors import CourseError

PROGRAM = Path(__file__).with_suffix(".cjs")
MARK = re.compile(r"<!--formula ([01]) ([\w=-]*)-->")
CAPTION = '<p class="caption" role="heading">'  # as Sphinx writes it, without the level that ARIA asks for
TIMEOUT = 300  # seconds for all formulas of the course


def mark(tex: str, display: bool) -> str:
    """What stands in a page until the formula is typeset."""
    return f"<!--formula {int(display)} {base64.urlsafe_b64encode(tex.encode()).decode()}-->"


def typeset(formulas: list[tuple[str, bool]], mathjax: Path) -> tuple[list[str], str]:
    """The HTML of formulas, each TeX and whether it stands on a line of its own, and the style sheet of all.

    Raises:
        CourseError: Node.js is missing or failed, or a formula is not TeX.
    """
    node = shutil.which("node")
    if node is None:
        raise CourseError("the formulas of the site need Node.js, and it was not found: install it.")
    done = subprocess.run(
        [node, str(PROGRAM), str(mathjax)],
        input=json.dumps(formulas),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode or not done.stdout:
        raise CourseError(f"MathJax could not typeset the formulas: {done.stderr.strip()[-500:]}")
    made = json.loads(done.stdout)
    for (tex, _), html in zip(formulas, made["formulas"], strict=True):
        if wrong := re.search(r'data-mjx-error="([^"]*)"', html):
            raise CourseError(f"the formula {tex!r} is not TeX: {wrong[1]}")
    return made["formulas"], made["css"]


def visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(mark(node.astext(), False))
    raise nodes.SkipNode


def visit_display(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mark(node.astext(), True)}</div>')
    raise nodes.SkipNode


def fill_in(folder: Path, mathjax: Path) -> str:
    """Replace the marks in all pages of a folder by formulas; return the style sheet of these."""
    pages = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}
    marks = dict.fromkeys(mark for text in pages.values() for mark in MARK.findall(text))  # each once, in order
    formulas = [(base64.urlsafe_b64decode(tex).decode(), display == "1") for display, tex in marks]
    made, css = typeset(formulas, mathjax)
    by_mark = dict(zip(marks, made, strict=True))
    for path, text in pages.items():
        text = text.replace(CAPTION, CAPTION.replace(">", ' aria-level="2">'))
        path.write_text(MARK.sub(lambda mark: by_mark[mark[1], mark[2]], text), encoding="utf-8")
    return css
