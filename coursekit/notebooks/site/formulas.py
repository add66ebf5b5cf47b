"""Formulas as HTML that needs no script: MathJax typesets them once, in Node.js, when the site is built.

Sphinx writes a mark for each formula into its pages; when all pages are there, the marks are replaced.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from docutils import nodes

from coursekit.errors import CourseError

PROGRAM = Path(__file__).with_suffix(".cjs")
MARK = re.compile(r"<!--formula (\d+)-->")
TIMEOUT = 120  # seconds for all formulas of the course


class Formulas:
    """The formulas of a site, each once."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, bool], int] = {}

    def mark(self, tex: str, display: bool) -> str:
        """What stands in a page until the formula is typeset."""
        return f"<!--formula {self.numbers.setdefault((tex, display), len(self.numbers))}-->"

    def typeset(self, mathjax: Path) -> tuple[list[str], str]:
        """The HTML of each formula, and the style sheet of all.

        Raises:
            CourseError: Node.js is missing or failed, or a formula is not TeX.
        """
        node = shutil.which("node")
        if node is None:
            raise CourseError("the formulas of the site need Node.js, and it was not found: install it.")
        done = subprocess.run(
            [node, str(PROGRAM), str(mathjax)],
            input=json.dumps(list(self.numbers)),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode or not done.stdout:
            raise CourseError(f"MathJax could not typeset the formulas: {done.stderr.strip()[-500:]}")
        made = json.loads(done.stdout)
        for (tex, _), html in zip(self.numbers, made["formulas"], strict=True):
            if wrong := re.search(r'data-mjx-error="([^"]*)"', html):
                raise CourseError(f"the formula {tex!r} is not TeX: {wrong[1]}")
        return made["formulas"], made["css"]


def visit_inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(writer.builder.app.formulas.mark(node.astext(), False))
    raise nodes.SkipNode


def visit_display(writer: Any, node: nodes.math_block) -> None:
    mark = writer.builder.app.formulas.mark(node.astext(), True)
    writer.body.append(f'<div class="formula">{mark}</div>')  # scrolls where it is wider than the page
    raise nodes.SkipNode


def fill_in(folder: Path, formulas: list[str]) -> None:
    """Replace the marks in all pages of a folder."""
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(MARK.sub(lambda mark: formulas[int(mark[1])], text), encoding="utf-8")
