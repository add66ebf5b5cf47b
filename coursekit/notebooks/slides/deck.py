"""A notebook as a deck of slides: which cell goes on which slide, and as what.

Every cell whose slide type is ``slide`` or ``subslide`` begins a slide, and the cells after it (``-``, ``fragment``)
go on with it. What does not fit on one slide goes on to the next: ``deck.js`` sees to that, for only a browser knows
how high a formula is.
"""

import ast
import base64
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from coursekit import __version__
from coursekit.course.claims import SIGNS
from coursekit.course.lectures import lectures
from coursekit.errors import CourseError
from coursekit.notebooks import files, report
from coursekit.notebooks.slides import GENERATOR
from coursekit.notebooks.slides.parts import Parts, packages
from coursekit.notebooks.student import without_solutions

HERE = Path(__file__).parent
COURSE = "Deep Learning: A Statistical Perspective"
LONGEST = 18  # lines of code or of text that a slide can hold in a size for a room

HEADING = re.compile(r"\A(#{1,3}) +(.+)\n*")
NUMBERED = re.compile(r"(\d+) · (.+)")
OBJECTIVES = re.compile(r"\A(\S.*)\n\n(?=- )")  # the line above a list
CAPTION = re.compile(r"\*(Figure \d+\.) (.*)\*", re.DOTALL)  # as `show` writes it
PICTURES = ("image/png", "image/jpeg")


@dataclass
class Slide:
    """A heading and what stands under it, before the browser divides it where it is too much for one."""

    heading: Markup
    number: str = ""
    section: str = ""  # to which a slide with a heading of its own belongs
    title: bool = False  # of the lecture
    below: bool = True  # the slide before, not beside it
    continued: bool = False  # it has the heading of the slide before
    blocks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[Markup] = field(default_factory=list)


class Text(IPythonRenderer):
    """Markdown as HTML that stands alone: pictures are in it, and links lead to other decks or into the world."""

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
            raise CourseError(f"the picture {url} is not beside the notebook, and a deck takes none from elsewhere.")
        return shown


def check(nb: Any, path: Path) -> None:
    """``CourseError`` unless the notebook was executed to a good end and can be shown as slides."""
    if problems := files.errors(nb):
        first = problems[0]
        raise CourseError(
            f"{path} failed in {report.where(first)}: {first['name']}: {first['message']}. "
            f"Mend it, and execute it again: coursekit run {path.stem} --update"
        )
    if any(cell.execution_count is None for cell in files.code_cells(nb)):
        raise CourseError(f"{path} was not executed, or not to its end: add --execute, or run it first.")
    if not any(_slide_type(cell) in ("slide", "subslide") for cell in nb.cells):
        raise CourseError(
            f"{path} has no slides: give its cells slide types (in JupyterLab: Property Inspector, Slide Type)."
        )


def render(nb: Any, path: Path, parts: Parts, decks: Collection[str]) -> str:
    """The deck as one HTML file that asks for no other; it links to the ``decks`` of these names beside it."""
    nb = without_solutions(nb, path)  # nor live widgets: the picture beside each is what a deck shows
    order = list(dict.fromkeys(lecture.part for lecture in lectures()))
    part = next((lecture.part for lecture in lectures() if lecture.name == path.stem), "")
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["value"] = report.value
    return environment.get_template("deck.html.jinja").render(
        name=files.title(nb) or path.stem,
        part=part,
        colour=order.index(part) if part else 0,
        slides=_slides(nb, Text(path.parent, decks)),
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
    """JavaScript as it may stand in HTML, where a closing tag or a comment inside a string would end it."""
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def _slide_type(cell: Any) -> str:
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def _slides(nb: Any, text: Text) -> list[Slide]:
    slides: list[Slide] = []
    section = Slide(Markup())
    claims = files.records(nb, "claim")
    for cell in nb.cells:
        kind, source = _slide_type(cell), cell.source
        if kind == "skip":
            continue
        if kind == "notes" and slides:
            slides[-1].notes.append(text.paragraphs(source))
            continue
        if kind in ("slide", "subslide") or not slides:
            heading = HEADING.match(source) if cell.cell_type == "markdown" else None
            slide = _headed(heading[2], text) if heading else Slide(section.heading, section.number, continued=True)
            slide.below = kind == "subslide"
            slides.append(slide)
            if heading:
                source = source[heading.end() :]
                if heading[1] == "###":
                    slide.section = section.heading
                else:
                    section = slide
                if heading[1] == "#":
                    second, source = _opening(slide, source, text)
                    slides.append(second)
        more = {"cell": cell.id, "fragment": kind == "fragment"}
        slides[-1].blocks += [block | more for block in _blocks(cell, source, text, claims)]
    return slides


def _headed(heading: str, text: Text) -> Slide:
    numbered = NUMBERED.fullmatch(heading)
    number, words = numbered.groups() if numbered else ("", heading)
    return Slide(text.line(words), number=number)


def _opening(slide: Slide, source: str, text: Text) -> tuple[Slide, str]:
    """Make ``slide`` the title, with the question on it; the slide of what one will learn, and the rest for it."""
    question, _, rest = source.partition("\n\n")
    slide.title = True
    slide.blocks.append({"kind": "prose", "html": text.paragraphs(question)})
    if objectives := OBJECTIVES.match(rest):
        return Slide(text.line(objectives[1]), notes=slide.notes), rest[objectives.end() :]
    return Slide(slide.heading, notes=slide.notes), rest


def _blocks(cell: Any, source: str, text: Text, claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a cell shows, in pieces that a slide can hold; ``claims`` are all that the notebook makes."""
    if cell.cell_type != "code":
        return [{"kind": "prose", "html": text.paragraphs(source)}] if cell.cell_type == "markdown" and source else []
    blocks = []
    if "hide-input" not in cell.metadata.get("tags", ()):
        blocks.append({"kind": "code", "lines": _without_claims(source)})
    for block in (_output(output, text, claims) for output in cell.outputs):
        before = blocks[-1]["kind"] if blocks else ""
        if (before, block["kind"]) == ("figure", "caption"):
            blocks[-1]["caption"] = block["html"]
        elif (before, block["kind"]) == ("text", "text"):
            blocks[-1]["lines"] += block["lines"]
        else:
            blocks.append(block)
    return [piece for block in blocks for piece in (_divided(block) if "lines" in block else [block])]


def _without_claims(source: str) -> list[str]:
    """The lines of code without the claims: their outputs, which stand on the slide as well, say the same in words."""
    lines = source.strip("\n").splitlines()
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic; no claim stands beside one
        return lines
    for it in reversed(statements):
        if isinstance(it, ast.Expr) and ast.unparse(it).startswith(("claim(", "claims_table(")):
            del lines[it.lineno - 1 : it.end_lineno]
    return "\n".join(lines).strip("\n").splitlines()


def _output(output: Any, text: Text, claims: list[dict[str, Any]]) -> dict[str, Any]:
    """An output in the richest form that a slide can show."""
    data, metadata = output.get("data", {}), output.get("metadata", {})
    record = metadata.get("coursekit", {})
    if "claim" in record:
        return {"kind": "claim", "claim": record["claim"]}
    if "table" in record:
        return {"kind": "claims", "claims": claims[: record["table"]["claims"]]}
    if picture := next((kind for kind in PICTURES if kind in data), None):
        shown = metadata.get(picture, {})
        size = shown.get("width"), shown.get("height")
        width, height = size if all(size) else _size(data[picture])
        uri = f"data:{picture};base64,{''.join(data[picture].split())}"
        return {"kind": "figure", "uri": uri, "alt": files.alt(metadata), "width": width, "height": height}
    if caption := CAPTION.fullmatch(data.get("text/markdown", "")):
        return {"kind": "caption", "html": text.line(f"**{caption[1]}** {caption[2]}")}
    if written := data.get("text/markdown") or data.get("text/latex"):
        return {"kind": "prose", "html": text.paragraphs(written)}
    if "text/html" in data:
        return {"kind": "html", "html": Markup(data["text/html"])}
    return {"kind": "text", "lines": (output.get("text") or data.get("text/plain", "")).strip("\n").splitlines()}


def _size(picture: str) -> tuple[int, int]:
    """Width and height in pixels of a picture in base64."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return image.size


def _divided(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lines as HTML, in as few blocks of about equal length as there must be."""
    lines = block["lines"]
    count = -(-len(lines) // LONGEST)
    for k in range(count):
        piece = lines[k * len(lines) // count : (k + 1) * len(lines) // count]
        joined = "\n".join(piece)
        html = Highlight2HTML()(joined, language="python3") if block["kind"] == "code" else ansi2html(joined)
        yield {"kind": block["kind"], "html": Markup(html)}
