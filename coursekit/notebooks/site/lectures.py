"""A lecture's notebook as the notebook from which myst-nb makes its page: what needs a kernel becomes plain HTML."""

import base64
import copy
import html
import io
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from nbformat.v4 import new_output

from coursekit.course.records import Claim, require_record
from coursekit.notebooks import files
from coursekit.notebooks.figures import Figure, figure_of
from coursekit.notebooks.normalize import is_folded
from coursekit.notebooks.slides.deck import CAPTION, without_records
from coursekit.notebooks.student import without_solutions

HERE = Path(__file__).parent
SMALL = 35_000  # bytes of a PNG
SETTING_UP = ("imports", "parameters", "setup")  # tags of cells that become one
ERRATUM = re.compile(r"^(> \*\*Erratum (E\d+)\.?\*\*)", re.MULTILINE)
READING = re.compile(r"\*\*Reading\*\* takes about (\d+ minutes)")
LIMITS = re.compile(r"\(a number from (\S+) to (\S+)(?: (.*))?\)$", re.MULTILINE)


class Page:
    """The page of one lecture.

    Args:
        nb: The executed notebook.
        name: The name of the page.
        figures: The folder for the images of all pages.
        links: What the page offers besides itself, by name: addresses.
    """

    def __init__(self, nb: files.Notebook, name: str, figures: Path, links: dict[str, str]) -> None:
        self.name, self.figures, self.links = name, figures, links
        self.nb = without_solutions(nb, Path(f"{name}.ipynb"))
        loader = FileSystemLoader([HERE, HERE.parent])
        self.templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self.guesses: list[str] = []  # questions
        self.pictures = 0

    @property
    def reading(self) -> str:
        """How long reading takes, in words; empty if the notebook does not say so."""
        found = (READING.search(cell.source) for cell in self.nb.cells)
        return next((it[1] for it in found if it), "")

    def notebook(self) -> Any:
        """The notebook for myst-nb."""
        nb = copy.deepcopy(self.nb)
        preparing = [cell.source for cell in nb.cells if set(files.tags(cell)) & set(SETTING_UP)]
        cells = []
        for cell in nb.cells:
            tags = set(files.tags(cell))
            if tags & {"colab", "links"} or cell.cell_type == "raw":
                continue
            if cell.cell_type == "markdown":
                cell.source = self.text(cell.source)
                if "opening" in tags:
                    cell.source = self.with_bar(cell.source)
            elif tags & set(SETTING_UP):
                if not preparing:
                    continue
                cell.source, preparing = "\n\n".join(preparing), []
                cell.outputs, cell.metadata["tags"] = [], ["hide-input"]
            else:
                cell.outputs = [made for it in cell.outputs if (made := self.output(it))]
                says = is_folded(cell) or "\n".join(without_records(cell.source)).strip()
                if not says and not cell.outputs:
                    continue
                cell.metadata["tags"] = ["hide-input"] if is_folded(cell) else [] if says else ["remove-input"]
            cells.append(cell)
        nb.cells = cells
        return nb

    def text(self, source: str) -> str:
        """Markdown, in which errata are boxes with a name."""
        return ERRATUM.sub(lambda it: f"{{#{anchor(self.name, it[2])} .erratum}}\n{it[1]}", source)

    def with_bar(self, source: str) -> str:
        """The opening with the links of the page below its title."""
        title, _, rest = source.partition("\n")
        return f"{title}\n\n{raw(self.render('bar.html.jinja', links=self.links, reading=self.reading))}\n{rest}"

    def render(self, template: str, **values: Any) -> str:
        return self.templates.get_template(template).render(**values).strip()

    def output(self, output: Any) -> Any | None:
        """An output that needs no kernel; None where it is for those who run the notebook."""
        data, metadata = output.get("data", {}), output.get("metadata", {})
        record = metadata.get("coursekit", {})
        if record.keys() & {"exercise", "score", "setup"}:
            return None
        if "guess" in record:
            return self.guess(record["guess"], data.get("text/plain", ""))
        if "answer" in record:
            number = self.guesses.index(record["answer"]["question"]) + 1
            return shown(self.render("answer.html.jinja", number=number, **record["answer"]))
        if "claim" in record:
            claim = Claim.of(record["claim"])
            return shown(f'<div class="claim" id="claim-{claim.number}">{data["text/html"]}</div>')
        if "checks" in record:
            checks = record["checks"] if isinstance(record["checks"], list) else [record["checks"]]
            verdicts = [require_record(it, "check")["verdict"] for it in checks]
            return shown(self.render("checks.html.jinja", verdicts=verdicts, table=data["text/html"]))
        if "table" in record:
            return shown(scrolling(data["text/html"], "the claims of this lecture"))
        if figure := figure_of(data, metadata):
            return shown(self.figure(figure))
        if caption := CAPTION.fullmatch(data.get("text/markdown", "")):
            return new_output("display_data", {"text/markdown": f"{{.caption}}\n**{caption[1]}** {caption[2]}"})
        return output

    def guess(self, record: dict[str, Any], words: str) -> Any:
        self.guesses.append(record["question"])
        limits = LIMITS.search(words)
        return shown(
            self.render(
                "guess.html.jinja",
                number=len(self.guesses),
                limits=limits.groups() if limits else None,
                **record,
            )
        )

    def figure(self, figure: Figure) -> str:
        """The figure with its images as files."""
        self.pictures += 1
        name = f"{self.name}-{self.pictures}"
        still = self.save(figure.uri, name)
        frames = [self.save(uri, f"{name}-{k}") for k, uri in enumerate(figure.frames.uris)] if figure.frames else []
        animation = self.save(figure.animation, f"{name}-moving") if figure.animation else ""
        return self.render(
            "figure.html.jinja", figure=figure, still=still, frames=json.dumps(frames), animation=animation
        )

    def save(self, uri: str, name: str) -> str:
        """Write the image in a data URI to a file; return its address from a page.

        A large PNG that stands still becomes a lossless WebP, which is a quarter smaller; for small ones that takes
        longer than it is worth.
        """
        kind, text = uri.removeprefix("data:").split(";base64,", 1)
        suffix, content = kind.rpartition("/")[2].removesuffix("+xml"), base64.b64decode(text)
        image = files.open_image(content) if suffix == "png" and len(content) > SMALL else None
        if image and not getattr(image, "is_animated", False):
            smaller = io.BytesIO()
            image.save(smaller, "WEBP", lossless=True)
            suffix, content = "webp", smaller.getvalue()
        (self.figures / f"{name}.{suffix}").write_bytes(content)
        return f"_static/figures/{name}.{suffix}"


def anchor(name: str, erratum: str) -> str:
    """The name of the box of an erratum on the page of a lecture; names are unique in the site."""
    return f"{erratum.lower()}-in-{name.replace('_', '-')}"


def raw(markup: str) -> str:
    """HTML in MyST's Markdown."""
    return f"``````{{raw}} html\n{markup}\n``````\n"


def shown(markup: str) -> Any:
    """HTML as the output of a cell."""
    return new_output("display_data", {"text/html": markup})


def scrolling(table: str, name: str) -> str:
    """A table that scrolls where it is wider than the page, also with the keyboard."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(name)}">{table}</div>'
