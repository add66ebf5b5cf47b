"""A notebook as a deck of slides: which cell goes on which slide, and in what form.

Every cell of slide type ``slide`` or ``subslide`` begins a slide, and the cells after it (``-``, ``fragment``)
continue it. ``deck.js`` divides what does not fit on one page and joins a slide and its subslides where one page holds
them, because only a browser knows how high a formula is.
"""

import ast
import json
import mimetypes
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import MarkdownWithMath

from coursekit import __version__
from coursekit.course.claims import SIGNS
from coursekit.course.lectures import lectures
from coursekit.course.records import Claim, require_record
from coursekit.errors import CourseError
from coursekit.notebooks import files, markup, report
from coursekit.notebooks.figures import Figure, figure_of, uri
from coursekit.notebooks.normalize import is_folded
from coursekit.notebooks.problems import find_problems
from coursekit.notebooks.slides.parts import Parts, packages
from coursekit.notebooks.student import without_solutions

HERE = Path(__file__).parent
GENERATOR = "coursekit slides"  # marks a file as one of our decks
COURSE = "Deep Learning: A Statistical Perspective"
LONGEST = 18  # lines of code or of text that a slide can hold at a readable size

HEADING = re.compile(r"\A(#{1,3}) +(?:(\d+) · )?(.+)\n*")
OBJECTIVES = re.compile(r"\A(\S.*)\n\n(?=- )")  # the line above a list
CAPTION = re.compile(r"\*(Figure \d+\.) (.*)\*", re.DOTALL)  # as `show` writes it
# What a cell does to the lecture's records. Slides show these as outputs, or not at all, and never as code.
RECORDING = re.compile(r"(\w+ = )?(guess|exercise)\(|(claim|claims_table|check|exercise\.score)\(|\w+\.reveal\(")
UNSEEN = {"exercise", "score", "checks", "setup"}  # records of outputs that are for the reader of the notebook


@dataclass
class Block:
    """A piece of what a cell shows; a claim is a line at the foot of the slide, several are a table."""

    kind: Literal["prose", "caption", "html", "code", "text", "figure", "claim", "claims", "guess", "answer"]
    html: Markup = field(default_factory=Markup)
    lines: list[str] = field(default_factory=list)  # of code and text, before they become HTML
    claims: list[Claim] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)  # of a guess or its answer
    figure: Figure | None = None
    cell: str = ""  # the id of the cell
    fragment: bool = False  # appears after a key press


@dataclass
class Slide:
    """A heading with the blocks below it, before the browser divides them into pages."""

    heading: Markup
    level: int  # of the heading, 1 to 3; 0 where the slide repeats the heading of its section
    number: str = ""
    section: Markup = field(default_factory=Markup)  # the heading above one of level 3
    question: Markup | None = None  # only the title slide of the lecture has one
    blocks: list[Block] = field(default_factory=list)
    notes: list[Markup] = field(default_factory=list)


class Text(markup.Renderer):
    """Markdown and HTML as safe, self-contained HTML: images are embedded, and links lead to other decks or to the web.

    Images come from the notebook's folder or from the attachments of the cell that is shown.
    """

    def __init__(self, folder: Path, decks: Collection[str]) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self.folder, self.decks = folder, decks
        self.markdown = MarkdownWithMath(renderer=self)

    def paragraphs(self, source: str) -> Markup:
        for name in self.attachments:  # JupyterLab shows them even if their names hold spaces
            source = source.replace(f"(attachment:{name})", f"(attachment:{quote(name)})")
        return self.html(self.markdown.render(source))

    def line(self, source: str) -> Markup:
        """One paragraph, without the tag around it."""
        return Markup(self.paragraphs(source).strip().removeprefix("<p>").removesuffix("</p>"))

    def html(self, source: str) -> Markup:
        return Markup(markup.clean(source, self.embedded))

    def embedded(self, address: str) -> str:
        """The address of an image that holds the image itself."""
        if address.startswith("data:"):
            return address
        name = unquote(address.removeprefix("attachment:"))
        if address.startswith("attachment:") and self.attachments.get(name):
            kind, content = next(iter(self.attachments[name].items()))
            return uri(kind, content)
        file = markup.image_file(self.folder, address)
        return markup.embedded(mimetypes.guess_type(file)[0] or "", file.read_bytes())

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith(("http://", "https://", "mailto:")):
            return super().link(text, url, title)
        name = url.removesuffix(".ipynb")
        return super().link(text, f"{name}.html", title) if name in self.decks else text


def check(nb: Any, path: Path) -> None:
    """Check that a notebook was executed without errors and has slides.

    Raises:
        CourseError: It cannot become a deck.
    """
    if problems := find_problems(nb):
        first = problems[0]
        raise CourseError(
            f"{path} failed in {first.place}: {first.name}: {first.message}. "
            f"Fix it, and execute it again: coursekit run {path.stem} --update"
        )
    if any(cell.execution_count is None for cell in files.code_cells(nb)):
        raise CourseError(f"{path} was not executed to its end: add --execute, or run it first.")
    if not any(_slide_type(cell) in ("slide", "subslide") for cell in nb.cells):
        raise CourseError(
            f"{path} has no slides: give its cells slide types (in JupyterLab: Property Inspector, Slide Type)."
        )


def render(nb: Any, path: Path, parts: Parts, decks: Collection[str]) -> str:
    """The deck as one self-contained HTML file.

    Args:
        path: The notebook's file; images in its text come from the same folder.
        decks: The names of the decks in the folder, to which links between notebooks lead.

    Raises:
        CourseError: Its text shows an image from elsewhere, or its solutions cannot be removed.
    """
    nb = without_solutions(nb, path)  # this also drops live widgets: a deck shows the image beside each
    order = list(dict.fromkeys(lecture.part for lecture in lectures()))
    part = next((lecture.part for lecture in lectures() if lecture.name == path.stem), "")
    environment = Environment(
        loader=FileSystemLoader([HERE, HERE.parent]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"value": report.value, "short": _short, "judged": _judged}
    try:
        stacks = _stacks(nb, Text(path.parent, decks))
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from error
    return environment.get_template("deck.html.jinja").render(
        name=files.title(nb) or path.stem,
        part=part,
        colour=order.index(part) if part else 0,
        stacks=stacks,
        frames=_script(json.dumps(_frames(stacks))),
        signs=SIGNS,
        course=COURSE,
        source=path.name,
        generator=f"{GENERATOR} {__version__}",
        packages=packages(),
        licences=Markup(parts.licences.replace("</", "<\\/")),
        style=Markup(parts.style + _here("deck.css")),
        libraries=_script(parts.script),
        layout=_script(_here("../sliders.js") + _here("deck.js")),
    )


def _here(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(text: str) -> Markup:
    """JavaScript that can stand in HTML, where a closing tag or a comment inside a string would end it."""
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _frames(stacks: list[list[Slide]]) -> list[list[str]]:
    """The pictures of all figures with sliders, in the order of the figures."""
    figures = [block.figure for stack in stacks for slide in stack for block in slide.blocks if block.figure]
    return [figure.frames.uris for figure in figures if figure.frames]


def _short(value: Any) -> str:
    """A claim's value in three significant digits, and at most three of many numbers."""
    if isinstance(value, list):
        return ", ".join(map(_short, value[:3])) + (", …" if len(value) > 3 else "")
    return f"{value:.3g}" if isinstance(value, float) else report.value(value)


def _judged(claim: Claim) -> str:
    """The value of a claim against its bound: ``0.93 ≥ 0.85``."""
    if claim.verdict == "not judged":
        return claim.verdict
    if not claim.bound:
        return "" if isinstance(claim.value, bool) else _short(claim.value)
    within = "within " if "±" in claim.bound else ""
    return f"{_short(claim.value)} {'not ' if claim.verdict == 'fails' else ''}{within}{claim.bound}"


def _slide_type(cell: Any) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type") or "-"


def _stacks(nb: Any, text: Text) -> list[list[Slide]]:
    """The slides of the notebook; a slide and its subslides form a stack."""
    stacks: list[list[Slide]] = []
    section = Slide(Markup(), 2)  # the last with a heading of level 1 or 2
    early: list[Markup] = []  # notes before the first slide
    claims = files.claims(nb)
    for number, cell in enumerate(nb.cells):
        kind, source = _slide_type(cell), cell.source
        text.attachments = cell.get("attachments", {})
        if kind == "skip":
            continue
        if kind == "notes":
            (stacks[-1][-1].notes if stacks else early).append(text.paragraphs(source))
            continue
        if kind in ("slide", "subslide") or not stacks:  # the first cell begins a slide in any case
            if kind != "subslide" or not stacks:
                stacks.append([])
            begun, source = _begin(cell, section, text)
            stacks[-1] += begun
            if begun[0].level in (1, 2):
                section = begun[0]
        for block in _blocks(cell, source, text, claims):
            block.cell, block.fragment = cell.get("id", str(number)), kind == "fragment"  # format 4.4 has no ids
            stacks[-1][-1].blocks.append(block)
    if stacks:
        stacks[0][0].notes[:0] = early
    return stacks


def _begin(cell: Any, section: Slide, text: Text) -> tuple[list[Slide], str]:
    """The slide that a cell begins, two at the title of the lecture, and what is left of the cell's source."""
    heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
    if heading is None:
        if "about" in files.tags(cell) and (objectives := OBJECTIVES.match(cell.source)):
            return [Slide(text.line(objectives[1]), 2)], cell.source[objectives.end() :]
        return [Slide(section.heading, 0, section.number)], cell.source
    slide, rest = Slide(text.line(heading[3]), len(heading[1]), heading[2] or ""), cell.source[heading.end() :]
    if slide.level == 3:
        slide.section = section.heading
    if slide.level > 1:
        return [slide], rest

    # The question stands on the title slide, the objectives on a slide of their own.
    question, _, rest = rest.partition("\n\n")
    slide.question = text.paragraphs(question)
    if objectives := OBJECTIVES.match(rest):
        return [slide, Slide(text.line(objectives[1]), 2, notes=slide.notes)], rest[objectives.end() :]
    return [slide, Slide(slide.heading, 2, notes=slide.notes)], rest


def _blocks(cell: Any, source: str, text: Text, claims: list[Claim]) -> Iterator[Block]:
    """What a cell shows, in pieces that a slide can hold; ``claims`` are all that the notebook makes."""
    if cell.cell_type == "markdown" and source:
        yield Block("prose", text.paragraphs(source))
    if cell.cell_type != "code":
        return
    # A caption joins its figure, and text the text before it.
    shown = [] if is_folded(cell) else [Block("code", lines=without_records(source))]
    seen = [it for it in cell.outputs if UNSEEN.isdisjoint(it.get("metadata", {}).get("coursekit", {}))]
    for block in (_output(output, text, claims) for output in seen):
        before = shown[-1] if shown else None
        if before and before.figure and block.kind == "caption":
            before.figure.caption = block.html
        elif before and before.kind == block.kind == "text":
            before.lines += block.lines
        else:
            shown.append(block)
    for block in shown:
        yield from _divided(block) if block.kind in ("code", "text") else [block]


def _divided(block: Block) -> Iterator[Block]:
    """Lines as HTML, in the fewest blocks that slides can hold, of about equal length."""
    lines, count = block.lines, -(-len(block.lines) // LONGEST)
    for k in range(count):
        piece = "\n".join(lines[k * len(lines) // count : (k + 1) * len(lines) // count])
        html = Highlight2HTML()(piece, language="python3") if block.kind == "code" else f"<pre>{ansi2html(piece)}</pre>"
        yield Block(block.kind, Markup(html))


def without_records(source: str) -> list[str]:
    """The lines of code without claims, guesses and the like: their outputs say the same in words."""
    source = source.strip("\n")
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic, and cells with magics make no records
        return source.splitlines()
    lines = source.encode().split(b"\n")  # bytes, because ast counts columns in them
    for it in reversed(statements):
        if RECORDING.match(ast.unparse(it)):
            # Other statements may stand before it and after it, with semicolons between.
            before = lines[it.lineno - 1][: it.col_offset].rstrip(b"; ")
            after = lines[(it.end_lineno or it.lineno) - 1][it.end_col_offset :].lstrip(b"; ")
            others = [code for code in (before, after) if code and not code.startswith(b"#")]
            lines[it.lineno - 1 : it.end_lineno] = [b"; ".join(others)] if others else []
    return b"\n".join(lines).decode().strip("\n").splitlines()


def _output(output: Any, text: Text, claims: list[Claim]) -> Block:
    """An output in the richest form that a slide can show."""
    data, metadata = output.get("data", {}), output.get("metadata", {})
    record = metadata.get("coursekit", {})
    if "claim" in record:
        return Block("claim", claims=[Claim.of(record["claim"])])
    if "guess" in record:
        return Block("guess", record=record["guess"])
    if "answer" in record:
        return Block("answer", record=record["answer"])
    if "table" in record:
        return Block("claims", claims=claims[: require_record(record["table"], "table")["claims"]])
    if figure := figure_of(data, metadata):
        return Block("figure", figure=figure)
    if caption := CAPTION.fullmatch(data.get("text/markdown", "")):
        return Block("caption", text.line(f"**{caption[1]}** {caption[2]}"))
    if written := data.get("text/markdown") or data.get("text/latex"):
        return Block("prose", text.paragraphs(written))
    html = text.html(data.get("text/html", ""))
    if re.sub(r"<(?!img)[^>]*>", "", html).strip():  # nothing is left of what a script would draw
        return Block("html", html)
    if output.output_type == "error":  # its cell is tagged raises-exception, or `check` would have refused it
        return Block("text", lines=[f"{output.ename}: {output.evalue}"])
    return Block("text", lines=_on_screen(output.get("text") or data.get("text/plain", "")).strip("\n").splitlines())


def _on_screen(text: str) -> str:
    """Text as a terminal shows it in the end: after a carriage return, a line is written anew."""
    return re.sub(r"[^\n]*\r(?=[^\r\n])", "", text).replace("\r", "")
