"""Measure notebooks: lines of code by kind, words, claims, figures, slides, size: python -m tools.lines [NOTEBOOK …]"""

import ast
import re
import sys
from collections import Counter

from coursekit.notebooks import files
from coursekit.notebooks.files import Cell, Notebook
from coursekit.notebooks.normalize import FOLDED, is_folded

KINDS = ("idea", "drawing", "judging", "set-up", "exercise")
CALLS = (
    dict.fromkeys(("show", "explore", "animate"), "drawing")
    | dict.fromkeys(("claim", "check", "claims_table", "guess", ".reveal"), "judging")
    | dict.fromkeys(("exercise", ".score"), "exercise")
)  # a statement that calls one of these is of this kind; of several, the first here decides


def calls(tree: ast.AST) -> set[str]:
    """The names that code calls, those of methods with a dot in front: ``{"guess", ".reveal"}``."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {function.id for function in called if isinstance(function, ast.Name)}
    return names | {f".{function.attr}" for function in called if isinstance(function, ast.Attribute)}


def parsed(cell: Cell) -> ast.Module:
    """The syntax of a code cell; empty if it holds a magic, as the cell for Colab does."""
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return ast.Module([], [])


def kinds(cell: Cell) -> Counter[str]:
    """How many lines of each kind a code cell has, without blank lines."""
    lines, tags, tree = cell.source.splitlines(), set(files.tags(cell)), parsed(cell)
    main = "set-up" if tags & (FOLDED - {"hide-input"}) else "exercise" if "exercise" in tags else "idea"
    if main == "idea" and "drawing" in {CALLS.get(name) for name in calls(tree)}:
        main = "drawing"  # with all that prepares the figure
    of_line = [main] * len(lines)
    for statement in tree.body:
        called = calls(statement)
        if kind := next((kind for name, kind in CALLS.items() if name in called), None):
            span = slice(statement.lineno - 1, statement.end_lineno)
            of_line[span] = [kind] * len(of_line[span])
    return Counter(kind for kind, line in zip(of_line, lines, strict=True) if line.strip())


def words(cells: list[Cell]) -> int:
    """How many words of markdown a reader reads: a formula counts as one, a link as its text."""
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"\$\$.+?\$\$|\$.+?\$", " formula ", text, flags=re.DOTALL)
    return len(re.findall(r"\w[\w'’.,-]*", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)))


def first_figure(nb: Notebook) -> int | None:
    """The index of the first cell that shows a picture."""
    pictures = (i for i, output in files.outputs(nb) for mime in output.get("data", {}) if mime.startswith("image/"))
    return next(pictures, None)


def row(nb: Notebook, size: int) -> dict[str, object]:
    """What the table says of a notebook of ``size`` bytes, by the heads of its columns."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    seen = sum((kinds(cell) for cell in code if not is_folded(cell)), Counter[str]())
    folded = sum((kinds(cell) for cell in code if is_folded(cell)), Counter[str]())
    slides = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in nb.cells]
    return {kind: f"{seen[kind]}+{folded[kind]}" for kind in KINDS} | {
        "all code": f"{seen.total()}+{folded.total()}",
        "words": words(nb.cells),
        "to figure": words(nb.cells[: first_figure(nb)]),
        "claims": len(files.records(nb, "claim")),
        "checks": len(files.checks(nb)),
        "figures": len(files.figures(nb)),
        "slides": slides.count("slide") + slides.count("subslide"),
        "KB": round(size / 1000),
    }


if __name__ == "__main__":
    print("Lines of code, visible+folded, and what else each notebook holds")
    for number, path in enumerate(files.find_notebooks(sys.argv[1:])):
        values = row(files.read(path), path.stat().st_size)
        if number == 0:
            print(" " * 16, *(f"{head:>9}" for head in values))
        print(f"{path.stem:16}", *(f"{value!s:>9}" for value in values.values()))
