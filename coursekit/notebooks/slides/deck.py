"""A notebook as a deck of slides: which cell goes on which slide, and in what form.

Every cell of slide type ``slide`` or ``subslide`` begins a slide, and the cells after it (``-``, ``fragment``)
continue it. What does not fit on one slide continues on the next. ``deck.js`` divides them, because only a browser
knows how high a formula is.
"""

import ast
import base64
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from coursekit import __version__
from coursekit.course.claims import SIGNS
from coursekit.course.display import FRAMES
from coursekit.course.lectures import lectures
from coursekit.errors import CourseError
from coursekit.notebooks import files, report
from coursekit.notebooks.problems import find_problems
from coursekit.notebooks.slides.parts import Parts, packages
from coursekit.notebooks.student import without_solutions

HERE = Path(__file__).parent
GENERATOR = "coursekit slides"  # marks a file as one of our decks
COURSE = "Deep Learning: A Statistical Perspective"
LONGEST = 18  # lines of code or of text that a slide can hold at a readable size

HEADING = re.compile(r"\A(#{1,3}) +(?:(\d+) · )?(.+)\n*")
OBJECTIVES = re.compile(r"\A(\S.*)\n\n(?=- )")  # the line above a list
NOT_ON_SLIDES = {"exercise", "score", "checks", "setup"}  # records of outputs that are for the reader of the notebook
CAPTION = re.compile(r"\*(Figure \d+\.) (.*)\*", re.DOTALL)  # as `show` writes it
IMAGES = ("image/png", "image/jpeg")
JUDGING = re.compile(r"(claim|claims_table|check|exercise\.score|\w+\.reveal|(\w+ = )?guess)\(")


@dataclass
class Figure:
    """An image, its size in CSS pixels, and its caption; a figure with controls also has its frames."""

    uri: str
    alt: str
    width: int
    height: int
    caption: Markup | None = None
    frames: dict[str, Any] | None = None  # as `explore` stores them
    frame_size: tuple[int, int] = (0, 0)


@dataclass
class Block:
    """A piece of what a cell shows; a claim is a line under what it is about, several are a table."""

    kind: Literal["prose", "caption", "html", "code", "text", "figure", "claim", "claims", "guess"]
    html: Markup = field(default_factory=Markup)
    lines: list[str] = field(default_factory=list)  # of code and text, before they become HTML
    claims: list[dict[str, Any]] = field(default_factory=list)  # their records
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


class Text(IPythonRenderer):
    """Markdown as self-contained HTML: images are embedded, and links lead to other decks or to the web."""

    def __init__(self, folder: Path, decks: Collection[str]) -> None:
        super().__init__(escape=False, embed_images=True, exclude_anchor_links=True, path=str(folder))
        self.decks = decks
        self.markdown = MarkdownWithMath(renderer=self)

    def paragraphs(self, source: str) -> Markup:
        return Markup(self.markdown.render(source))

    def line(self, source: str) -> Markup:
        """One paragraph, without the tag around it."""
        return Markup(self.paragraphs(source).strip().removeprefix("<p>").removesuffix("</p>"))

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith(("http://", "https://", "mailto:")):
            return super().link(text, url, title)
        name = url.removesuffix(".ipynb")
        return super().link(text, f"{name}.html", title) if name in self.decks else text

    def image(self, text: str, url: str, title: str | None = None) -> str:
        shown = super().image(text, url, title)
        if 'src="data:' not in shown:
            raise CourseError(f"the image {url} is not in the notebook's folder, and a deck can embed no other.")
        return shown


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
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["value"] = report.value
    return environment.get_template("deck.html.jinja").render(
        name=files.title(nb) or path.stem,
        part=part,
        colour=order.index(part) if part else 0,
        stacks=_stacks(nb, Text(path.parent, decks)),
        signs=SIGNS,
        course=COURSE,
        source=path.name,
        generator=f"{GENERATOR} {__version__}",
        packages=packages(),
        licences=Markup(parts.licences.replace("</", "<\\/")),
        style=Markup(parts.style + _here("deck.css")),
        libraries=_script(parts.script),
        layout=_script(_here("deck.js")),
    )


def _here(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(text: str) -> Markup:
    """JavaScript that can stand in HTML, where a closing tag or a comment inside a string would end it."""
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _slide_type(cell: Any) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def _stacks(nb: Any, text: Text) -> list[list[Slide]]:
    """The slides of the notebook; a slide and its subslides form a stack."""
    stacks: list[list[Slide]] = []
    section = Slide(Markup(), 2)  # the last with a heading of level 1 or 2
    claims = files.records(nb, "claim")
    for cell in nb.cells:
        kind, source = _slide_type(cell), cell.source
        if kind == "skip":
            continue
        if kind == "notes" and stacks:
            stacks[-1][-1].notes.append(text.paragraphs(source))
            continue
        if kind in ("slide", "subslide") or not stacks:  # the first cell begins a slide in any case
            if kind != "subslide" or not stacks:
                stacks.append([])
            begun, source = _begin(cell, section, text)
            stacks[-1] += begun
            if begun[0].level in (1, 2):
                section = begun[0]
        for block in _blocks(cell, source, text, claims):
            block.cell, block.fragment = cell.id, kind == "fragment"
            stacks[-1][-1].blocks.append(block)
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


def _blocks(cell: Any, source: str, text: Text, claims: list[dict[str, Any]]) -> Iterator[Block]:
    """What a cell shows, in pieces that a slide can hold; ``claims`` are all that the notebook makes."""
    if cell.cell_type == "markdown" and source:
        yield Block("prose", text.paragraphs(source))
    if cell.cell_type != "code":
        return
    # A caption joins its figure, and text the text before it. What is said of exercises and checks is left out.
    shown = [] if "hide-input" in cell.metadata.get("tags", ()) else [Block("code", lines=_without_claims(source))]
    outputs = [it for it in cell.outputs if not it.get("metadata", {}).get("coursekit", {}).keys() & NOT_ON_SLIDES]
    for block in (_output(output, text, claims) for output in outputs):
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


def _without_claims(source: str) -> list[str]:
    """The lines of code without claims, checks and guesses: their outputs say the same in words, or are left out."""
    lines = source.strip("\n").splitlines()
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic, and cells with magics make no claims
        return lines
    for it in reversed(statements):
        if JUDGING.match(ast.unparse(it)):
            del lines[it.lineno - 1 : it.end_lineno]
    return "\n".join(lines).strip("\n").splitlines()


def _output(output: Any, text: Text, claims: list[dict[str, Any]]) -> Block:
    """An output in the richest form that a slide can show."""
    data, metadata = output.get("data", {}), output.get("metadata", {})
    record = metadata.get("coursekit", {})
    if "claim" in record:
        return Block("claim", claims=[record["claim"]])
    if record.keys() & {"guess", "answer"}:
        return Block("guess", Markup(data["text/html"]))
    if "table" in record:
        return Block("claims", claims=claims[: record["table"]["claims"]])
    if mime := next((mime for mime in IMAGES if mime in data), None):
        size = [metadata.get(mime, {}).get(side) for side in ("width", "height")]
        width, height = size if all(size) else _size(data[mime])
        made = Figure(_uri(mime, data[mime]), files.alt(metadata), width, height)
        if frames := data.get(FRAMES):
            made.frames = frames | {"frames": [_uri(frames["mime"], frame) for frame in frames["frames"]]}
            made.frame_size = _size(frames["frames"][0])
        return Block("figure", figure=made)
    if caption := CAPTION.fullmatch(data.get("text/markdown", "")):
        return Block("caption", text.line(f"**{caption[1]}** {caption[2]}"))
    if written := data.get("text/markdown") or data.get("text/latex"):
        return Block("prose", text.paragraphs(written))
    if "text/html" in data:
        return Block("html", Markup(data["text/html"]))
    return Block("text", lines=(output.get("text") or data.get("text/plain", "")).strip("\n").splitlines())


def _uri(mime: str, image: str) -> str:
    return f"data:{mime};base64,{''.join(image.split())}"


def _size(image: str) -> tuple[int, int]:
    """Width and height in pixels of an image in base64."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        return opened.size
