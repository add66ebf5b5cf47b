"""The whole site: its sources in a scratch folder, Sphinx over them, and the result in place of an earlier site."""

import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import coursekit
from coursekit.course.lectures import Lecture, lectures
from coursekit.errors import CourseError
from coursekit.files import write_text
from coursekit.notebooks import files, links, runs
from coursekit.notebooks.normalize import cleared
from coursekit.notebooks.output import require_folder
from coursekit.notebooks.site import api, parts, tables
from coursekit.notebooks.site.lectures import Page

HERE = Path(__file__).parent
MARK = ".coursekit-site"  # a file by which a folder is known as a site of ours
LOOK_UP, TAKE_PART = ("notation", "glossary", "works"), ("teaching", "lecture", "release", "licences")  # pages of docs/
NEEDED = ("sphinx", "myst_nb", "furo")
COLOURS = {
    "light": {"brand-primary": "#1c4f80", "brand-content": "#1c4f80", "foreground-primary": "#22262b"},
    "dark": {"brand-primary": "#93c1ea", "brand-content": "#93c1ea", "foreground-primary": "#e7e4de"},
}
FONTS = {
    "font-stack": '"Source Sans 3 Variable", "Segoe UI", "DejaVu Sans", sans-serif',
    "font-stack--headings": '"Source Serif 4 Variable", Georgia, serif',
    "font-stack--monospace": '"Source Code Pro Variable", "DejaVu Sans Mono", monospace',
}


def build_site(out: Path, *, decks: Path | None, report: Callable[[str], None]) -> None:
    """Build the site of the checkout in which this package lies.

    Args:
        out: The folder; an earlier site in it is replaced.
        decks: A folder of decks, made by ``coursekit slides``, to which the lectures link.
        report: Is told of each step that takes time, in a line.

    Raises:
        CourseError: This is no checkout, a package or a part is missing, Sphinx complained, or the folder holds
            something else. The folder is as it was before.
    """
    root = _checkout()
    require_folder(out)
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise CourseError(f"{out} holds other files: choose another folder with --out.")
    inside = parts.parts(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".coursekit-site-", dir=out.resolve().parent) as scratch:
        source, made = Path(scratch, "source"), Path(scratch, "site")
        report("Site: reading the notebooks")
        _write_sources(root, source, inside, decks)
        report("Site: building the pages")
        _run_sphinx(source, made, Path(scratch, "doctrees"), inside)
        for name in (".nojekyll", MARK):  # the first keeps GitHub from leaving out folders that begin with _
            (made / name).touch()
        if out.is_dir():
            shutil.rmtree(out)
        shutil.move(made, out)


def check_links(report: Callable[[str], None]) -> list[str]:
    """Ask every external address in the site whether it is there; return a line for each that is not.

    Raises:
        CourseError: As in `build_site`.
    """
    root = _checkout()
    inside = parts.parts(report)
    with tempfile.TemporaryDirectory(prefix="coursekit-") as scratch:
        source, made = Path(scratch, "source"), Path(scratch, "links")
        _write_sources(root, source, inside, None)
        report("Site: asking every external address, which takes minutes")
        said = _sphinx(source, made, Path(scratch, "doctrees"), inside, "linkcheck")
        return [line for line in said if "broken" in line]


def _checkout() -> Path:
    """The folder of the clone in which this package lies; ``CourseError`` if no site can be built there."""
    root = Path(coursekit.__file__).parents[1]
    if not (root / "docs" / "glossary.md").is_file():
        raise CourseError("the site is built from a clone of the course, and this package is not in one.")
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        raise CourseError(
            f"the site needs {', '.join(lacking)}: pip install -c constraints.txt -e '.[site]' in the clone."
        )
    return root


def _write_sources(root: Path, source: Path, inside: Path, decks: Path | None) -> None:
    """Everything that Sphinx reads."""
    static = source / "_static"
    (static / "figures").mkdir(parents=True)
    for name in ("mathjax-fonts", "fonts"):
        shutil.copytree(inside / name, static / name)
    shutil.copy(inside / "LICENCES.txt", static)
    for name in ("../sliders.js", "site.js", "site.css", "icon.svg"):
        shutil.copy(HERE / name, static)
    (static / "formulas.css").touch()  # until the formulas are typeset
    for document in (root / "docs").glob("*.md"):
        shutil.copy(document, source)

    extra = source / "_extra"
    (extra / "notebooks").mkdir(parents=True)
    course = [tables.Source(it, files.read(root / "notebooks" / f"{it.name}.ipynb")) for it in lectures() if it.seconds]
    if decks:
        shutil.copytree(decks, extra / "slides")

    def write(it: tables.Source) -> tuple[str, str]:
        """The page of a lecture, and the notebook to be downloaded; return its reading time and its picture."""
        name = it.lecture.name
        page = Page(it.nb, name, static / "figures", _offers(root, it.lecture, decks))
        write_text(source / f"{name}.ipynb", files.to_text(page.notebook()))
        write_text(extra / "notebooks" / f"{name}.ipynb", files.to_text(cleared(page.nb)))
        return page.reading, page.save(it.picture, f"{name}-small")

    with ThreadPoolExecutor(runs.cores()) as threads:  # most of the time goes into the compression of images
        written = dict(zip((it.lecture.name for it in course), threads.map(write, course), strict=True))

    newest = tables.results(root / "docs" / "results.json")

    def full(name: str, statement: str) -> dict[str, Any] | None:
        """The record of a claim in the newest run at full."""
        claims = newest.get(name, {}).get("full", {}).get("claims", [])
        return next((claim for claim in claims if claim["statement"] == statement), None)

    claims = {it.lecture.name: files.claims(it.nb) for it in course}
    errata = tables.errata(course)
    environment = tables.environment()
    values = {
        "sources": course,
        "parts": tables.parts_of(course),
        "reading": {name: reading for name, (reading, _) in written.items()},
        "pictures": {name: picture for name, (_, picture) in written.items()},
        "claims": claims,
        "errata": errata,
        "results": newest,
        "full": full,
        "works": tables.works(course),
        "notation": tables.notation(course),
        "look_up": LOOK_UP,
        "take_part": [name for name in TAKE_PART if (source / f"{name}.md").is_file()],
    }
    number = sum(map(len, claims.values()))
    values["measured"] = [it for name, made in claims.items() for claim in made if (it := full(name, claim.statement))]
    counts = {"start": len(course), "claims": number, "results": number}
    for name in ("start", "claims", "errata", "results", "notation", "works"):
        text = environment.get_template(f"{name}.md.jinja").render(values, count=counts.get(name))
        write_text(source / f"{name.replace('start', 'index')}.md", text)
    api.write(source / "api")


def _offers(root: Path, lecture: Lecture, decks: Path | None) -> dict[str, str]:
    """What a lecture's page links to: other forms of the lecture."""
    repository = links.address(root).removeprefix("https://github.com/")
    offers = {
        "Notebook without solutions": f"notebooks/{lecture.name}.ipynb",
        "Open in Colab": f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{lecture.name}.ipynb",
    }
    for suffix, name in {"html": "Slides", "pdf": "Slides as PDF"}.items():
        if decks and (decks / f"{lecture.name}.{suffix}").is_file():
            offers[name] = f"slides/{lecture.name}.{suffix}"
    return offers


def _run_sphinx(source: Path, made: Path, doctrees: Path, inside: Path) -> None:
    """Build the pages; every complaint is an error."""
    if said := _sphinx(source, made, doctrees, inside, "html"):
        raise CourseError("Sphinx complains:\n  " + "\n  ".join(said[:20]))


def _sphinx(source: Path, made: Path, doctrees: Path, inside: Path, builder: str) -> list[str]:
    """Run a builder of Sphinx; return the lines of its complaints."""
    from sphinx.application import Sphinx
    from sphinx.util.console import strip_escape_sequences
    from sphinx.util.docutils import docutils_namespace

    # A file, because Sphinx refuses what it does not know yet, as options of the theme, elsewhere.
    settings = _settings(source, inside)
    write_text(source / "conf.py", "".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    complaints = io.StringIO()
    with docutils_namespace(), redirect_stderr(complaints):
        app = Sphinx(
            source,
            source,
            made,
            doctrees,
            builder,
            status=None,
            warning=complaints,
            freshenv=True,
            parallel=runs.cores(),
        )
        app.build()
    said = [line for line in strip_escape_sequences(complaints.getvalue()).splitlines() if line.strip()]
    return said or (["it failed and does not say why"] if app.statuscode else [])


def _settings(source: Path, inside: Path) -> dict[str, Any]:
    """The configuration of Sphinx; see the manuals of Sphinx, myst-nb and furo."""
    return {
        "project": "Deep Learning: A Statistical Perspective",
        "html_title": "Deep Learning: A Statistical Perspective",
        "author": "The authors of the course",
        "copyright": "2026, the authors of the course. Text and figures CC BY 4.0, code BSD-3-Clause",
        "version": coursekit.__version__,
        "extensions": [
            "myst_nb",
            "sphinx.ext.autodoc",
            "sphinx.ext.napoleon",
            "sphinx.ext.viewcode",
            "coursekit.notebooks.site.extension",
        ],
        "html_theme": "furo",
        "html_theme_options": {
            "light_css_variables": FONTS | {f"color-{name}": it for name, it in COLOURS["light"].items()},
            "dark_css_variables": {f"color-{name}": it for name, it in COLOURS["dark"].items()},
            "top_of_page_buttons": [],
        },
        "templates_path": [str(HERE / "templates")],
        "html_static_path": ["_static"],
        "html_extra_path": ["_extra"],
        "html_css_files": ["fonts/fonts.css", "formulas.css", "site.css"],
        "html_js_files": [("sliders.js", {"defer": "defer"}), ("site.js", {"defer": "defer"})],
        "html_show_sourcelink": False,
        "html_copy_source": False,
        "html_show_sphinx": False,
        "html_math_renderer": "static",
        "html_favicon": "_static/icon.svg",
        "pygments_style": "a11y-high-contrast-light",
        "pygments_dark_style": "a11y-high-contrast-dark",
        "exclude_patterns": ["_extra/**", "_static/**"],
        "default_role": "py:obj",
        "nb_execution_mode": "off",
        "nb_render_markdown_format": "myst",
        "nb_code_prompt_show": "Show the code",
        "nb_code_prompt_hide": "Hide the code",
        "nb_merge_streams": True,
        "myst_enable_extensions": ["amsmath", "attrs_block", "colon_fence", "dollarmath"],
        "myst_heading_anchors": 3,
        "napoleon_attr_annotations": False,  # shapes such as " n *d" are not RST
        "autodoc_member_order": "bysource",
        "autodoc_typehints_format": "short",
        "autodoc_use_type_comments": False,  # there are none, and to look for them takes long
        "python_use_unqualified_type_names": True,
        "mathjax_folder": str(inside / "mathjax"),
        "glossary_terms": _terms(source),
    }


def patterns(terms: Iterable[str]) -> dict[str, str]:
    """Each term of the glossary with the pattern by which texts use it, the longest first."""
    return {term: rf"\b{re.escape(term)}(?:s|es)?\b" for term in sorted(terms, key=len, reverse=True)}


def _terms(source: Path) -> dict[str, str]:
    from coursekit.notebooks.site.extension import terms

    return patterns(terms((source / "glossary.md").read_text(encoding="utf-8")))
