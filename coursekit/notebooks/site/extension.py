"""Our extension of Sphinx: formulas without a script, terms linked to the glossary, search of prose, lighter pages."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform

from coursekit.notebooks.site import api, formulas

TERM = re.compile(r"^(?=\S)(?!:)(.+)\n(?=[ ]{2,}\S)", re.MULTILINE)  # a line above an indented one
UNCOLOURED = re.compile(r'<span class="(?:n|nn|p|w)">([^<]*)</span>')  # names, points and blanks in code
UNLINKED = (nodes.title, nodes.reference, nodes.literal, nodes.math, addnodes.pending_xref, nodes.target, nodes.table)


def terms(glossary: str) -> list[str]:
    """The terms that a glossary explains.

    >>> terms("```{glossary}\\nposterior\\n  What data say.\\n\\nprior\\n  Before them.\\n```")
    ['posterior', 'prior']
    """
    block = re.search(r"```+\{glossary\}\n(.*?)```", glossary, re.DOTALL)
    return [term.strip() for term in TERM.findall(block[1])] if block else []


class LinkTerms(SphinxTransform):
    """Links the first use of each term in a lecture to the glossary."""

    default_priority = 600  # before references are resolved

    def apply(self, **kwargs: Any) -> None:
        left = dict(self.config.glossary_terms)  # term: pattern
        if not re.match(r"\d\d_", self.env.docname):
            return
        for text in list(self.document.findall(nodes.Text)):
            parents = list(_ancestors(text))
            inside = any(isinstance(it, nodes.paragraph) for it in parents)
            if left and inside and not any(isinstance(it, UNLINKED) for it in parents):
                self.link(text, left)

    def link(self, text: nodes.Text, left: dict[str, str]) -> None:
        """Link the terms in a text that are left, each once, and take them from ``left``."""
        pieces: list[nodes.Node] = [text]
        for term, pattern in list(left.items()):
            for index, piece in enumerate(pieces):
                if isinstance(piece, nodes.Text) and (found := re.search(pattern, piece, re.IGNORECASE)):
                    around = [
                        nodes.Text(piece[: found.start()]),
                        _reference(found[0], term),
                        nodes.Text(piece[found.end() :]),
                    ]
                    pieces[index : index + 1] = around
                    del left[term]
                    break
        if len(pieces) > 1:
            text.parent.replace(text, pieces)


def _ancestors(node: nodes.Node) -> Any:
    while node.parent is not None:
        node = node.parent
        yield node


def _reference(words: str, term: str) -> addnodes.pending_xref:
    reference = addnodes.pending_xref(
        "", nodes.inline("", words), refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True
    )
    reference["classes"].append("term")
    return reference


class LeaveCodeOut(SphinxTransform):
    """Keeps the code of notebooks out of the search, which is for what they say."""

    default_priority = 900

    def apply(self, **kwargs: Any) -> None:
        for cell in self.document.findall(nodes.container):
            if "cell_input" in cell["classes"]:
                cell["classes"].append("no-search")


def _share_reading(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Reading is shared among processes: do once what all need, to import the package and to analyse its source."""
    for module in api.modules():
        import_module(module)
        ModuleAnalyzer.for_module(module).analyze()
    names[:] = mixed(names, 2 * app.parallel)


def mixed(names: list[str], shares: int) -> list[str]:
    """The names in an order in which each share holds pages of all kinds: those of the reference take longest.

    >>> mixed(["a", "api", "b", "bpi"], 2)
    ['a', 'b', 'api', 'bpi']
    """
    return [name for share in range(shares) for name in names[share::shares]]


def _plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take ``|`` and a single ``*`` in a docstring as they stand: there they are norms, absolute values and stars."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", ".. ", ":type", ":rtype", ":vartype")):
            pieces = line.split("``")  # every second piece is code
            pieces[::2] = [re.sub(r"(?<!\\)\|", r"\\|", piece) for piece in pieces[::2]]
            if line.count("*") - 2 * line.count("**") == 1:
                pieces[::2] = [piece.replace("*", "\\*") for piece in pieces[::2]]
            lines[number] = "``".join(pieces)


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """A fold is called what it shows: myst-nb gives all of them one name that is not to be seen."""
    context["body"] = without_idle_marks(context.get("body", "").replace(' aria-label="Toggle hidden content"', ""))


def without_idle_marks(body: str) -> str:
    """A page without the marks around code that has the colour of all code, which are a third of many pages.

    >>> without_idle_marks('<span class="n">f</span><span class="p">(</span><span class="mi">1</span>')
    'f(<span class="mi">1</span>'
    """
    return UNCOLOURED.sub(r"\1", body)


def _sharing_contents() -> Callable[..., None]:
    """Gives pages of source code in one folder one table of contents: making it takes longer than their text."""
    made: dict[str, str] = {}

    def share(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
        if page.startswith("_modules/"):
            folder, make = page.rpartition("/")[0], context["toctree"]

            def once(**options: Any) -> str:
                if folder not in made:
                    made[folder] = make(**options)
                return made[folder]

            context["toctree"] = once

    return share


def _typeset(app: Sphinx, error: Exception | None) -> None:
    """When all pages are written, put the formulas in."""
    if error is None and app.builder.format == "html":
        css = formulas.fill_in(Path(app.outdir), Path(app.config.mathjax_folder))
        (Path(app.outdir) / "_static" / "formulas.css").write_text(css, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("mathjax_folder", "", "html")
    app.add_config_value("glossary_terms", {}, "env")
    app.add_html_math_renderer("static", (formulas.visit_inline, None), (formulas.visit_display, None))
    app.add_transform(LinkTerms)
    app.add_transform(LeaveCodeOut)
    app.connect("env-before-read-docs", _share_reading)
    app.connect("autodoc-process-docstring", _plain, priority=900)  # after napoleon
    app.connect("html-page-context", _sharing_contents(), priority=400)  # before the theme asks for it
    app.connect("html-page-context", _mend)
    app.connect("build-finished", _typeset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
