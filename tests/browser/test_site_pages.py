"""The site of the course as a reader sees it, served from this machine, in a browser that can reach nothing else."""

import functools
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import expect

from coursekit.course.lectures import lectures

LECTURES = [it.name for it in lectures() if it.seconds]
KINDS = [
    "index",
    "04_fooling",
    "claims",
    "errata",
    "results",
    "glossary",
    "works",
    "api/interpret",
    "search",
]
HEAVIEST = 1_500_000  # bytes of a page with all its still images


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server of files, without a line for every request."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def folder(tmp_path_factory, lacking):
    """The site, built once by its command."""
    out = tmp_path_factory.mktemp("built") / "site"
    # In a process of its own: Sphinx and its extensions warn of their own future, and warnings are errors here.
    made = subprocess.run([sys.executable, "-m", "coursekit", "site", "--out", out], capture_output=True, text=True)
    if made.returncode and ("npm" in made.stderr or "Node" in made.stderr):
        lacking(made.stderr)
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="session")
def address(folder):
    """The address at which the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def visit(opening, address, request):
    """Opens pages; at the end, none may have asked another host for anything or logged a complaint."""
    said = []

    def watch(page):
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda it: it.url.startswith((address, "data:")) or said.append(it.url))
        return page

    with opening(request.node.name.replace("/", "-"), reduced_motion="reduce") as page:
        watch(page)

        def visit(name, scheme="light", width=1280):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{address}{name}.html")
            return page

        yield visit
    assert said == []


class Addresses(HTMLParser):
    """The names in a page, and the addresses to which it refers."""

    def __init__(self, text):
        super().__init__()
        self.names, self.addresses = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.names.add(value)
            elif name in ("href", "src", "data-animation") and value:
                self.addresses.add(value)


def test_no_internal_link_is_broken(folder):
    pages = {path: Addresses(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages[target].names if target in pages else set()
            if not target.is_file() or (parts.fragment and target in pages and unquote(parts.fragment) not in known):
                broken.append(f"{path.relative_to(folder)}: {address}")
    assert len(pages) > 40
    assert broken == []


@pytest.mark.parametrize(
    ("name", "scheme"),
    [*((name, "light") for name in KINDS), *((name, "dark") for name in ("index", "04_fooling", "claims", "search"))],
)
def test_a_page_is_accessible(visit, audit, name, scheme):
    page = visit(name, scheme)
    # axe judges the colours of text only where it can see it: in the window, and not in a box that scrolls.
    page.add_style_tag(
        content="""
        pre { white-space: pre-wrap !important }
        .sidebar-sticky, .toc-sticky { height: auto !important }
        """
    )
    page.set_viewport_size({"width": 1280, "height": page.evaluate("document.documentElement.scrollHeight")})
    found = audit(page)
    assert not found, found


@pytest.mark.parametrize("name", KINDS)
def test_a_page_fits_a_telephone(visit, name):
    page = visit(name, width=390)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", [*LECTURES, "index", "claims", "errata"])
def test_a_page_is_light(visit, name):
    page = visit(name)
    page.evaluate("document.querySelectorAll('img').forEach((it) => it.loading = 'eager')")
    page.wait_for_function("[...document.images].every((it) => it.complete)")
    assert page.evaluate("[...document.images].every((it) => it.naturalWidth > 0)")
    weight = page.evaluate(
        "performance.getEntries().reduce((sum, it) => sum + (it.encodedBodySize || 0), 0)",
    )
    assert 20_000 < weight <= HEAVIEST


def test_a_slider_moves_its_figure_by_keyboard(visit):
    page = visit("04_fooling")
    figure = page.locator(".figure[data-frames]").first
    picture, slider = figure.locator("img"), figure.get_by_role("slider").first
    before, said = picture.get_attribute("src"), figure.locator("output").first.inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(picture).not_to_have_attribute("src", before)
    assert figure.locator("output").first.inner_text() != said
    assert slider.get_attribute("aria-valuetext") == figure.locator("output").first.inner_text()
    assert picture.evaluate("(it) => it.decode().then(() => it.naturalWidth)") > 100
    moved = picture.get_attribute("src")
    page.keyboard.press("Home")
    expect(picture).not_to_have_attribute("src", moved)


@pytest.mark.parametrize(
    ("name", "width"), [("12_expectation_propagation", 1280), ("04_fooling", 1280), ("04_fooling", 390)]
)
def test_a_slider_keeps_its_place_when_its_figure_changes_height(visit, name, width):
    page = visit(name, width=width)
    slider = page.locator(".figure[data-frames] input").first
    page.evaluate("document.querySelectorAll('img').forEach((it) => it.loading = 'eager')")
    page.wait_for_function("[...document.images].every((it) => it.complete)")
    slider.evaluate("(it) => scrollBy(0, it.getBoundingClientRect().top - 500)")
    before = slider.bounding_box()["y"]
    slider.evaluate("(it) => { it.value = it.min; it.dispatchEvent(new Event('input', { bubbles: true })); }")
    page.wait_for_timeout(300)
    assert abs(before - 500) < 2
    assert abs(slider.bounding_box()["y"] - before) < 2


@pytest.mark.parametrize("name", ["errata", "02_neighbours", "06_lstm_gru", "14_gan"])
def test_no_formula_is_cut_on_a_telephone(visit, name):
    page = visit(name, width=390)
    page.wait_for_timeout(300)
    cut = """(it) => it.filter((it) => it.getBoundingClientRect().right > 391
        && !it.closest(".formula, .wide, .table-wrapper, pre, .toc-drawer, .sidebar-drawer")).length"""
    assert page.locator("mjx-container").evaluate_all(cut) == 0
    long = page.locator("mjx-container.long")
    assert long.count()
    assert long.evaluate_all("(it) => it.every((it) => it.tabIndex === 0)")


def test_a_guess_is_told_again_when_the_answer_is_revealed_by_keyboard(visit):
    page = visit("04_fooling")
    page.locator("form.guess input").first.focus()
    page.keyboard.type("3")
    page.keyboard.press("Enter")  # must not send the form
    answer = page.locator("details.answer").first
    expect(answer.locator("b")).to_be_hidden()
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(answer.locator("p")).to_be_visible()
    expect(answer).to_contain_text("You said 3. The answer: ")


def test_folded_code_opens_by_keyboard(visit):
    page = visit("04_fooling")
    fold = page.locator("details.hide").first
    expect(fold.locator("pre")).to_be_hidden()
    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(fold.locator("pre")).to_be_visible()


def test_the_search_puts_lectures_before_functions_and_shows_prose(visit):
    page = visit("search")
    expect(page.get_by_role("heading", level=1)).to_have_text("Search")
    page.locator(".seek input").fill("KL divergence")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results li a").first).to_have_text("10 · Variational inference")
    expect(page.locator("#search-results p.context").first).not_to_contain_text("import")


def test_the_search_finds_a_word_without_another_server(visit):
    page = visit("index")
    page.locator("input[name=q]").first.fill("perplexity")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results a", has_text="Neighbours and t-SNE").first).to_be_visible()


def test_the_start_page_leads_to_every_lecture(visit):
    page = visit("index")
    links = page.eval_on_selector_all(".cards a", "all => all.map((it) => it.getAttribute('href'))")
    assert links == [f"{name}.html" for name in LECTURES]


def test_formulas_need_no_script(opening, address):
    with opening("without-script", java_script_enabled=False) as page:
        page.goto(f"{address}05_rnn.html")
        formula = page.locator("mjx-container").first
        assert formula.bounding_box()["width"] > 5
        assert page.locator("mjx-assistive-mml math").count() > 50


def test_a_term_leads_to_the_glossary(visit):
    page = visit("10_variational")
    page.locator("a.term").first.click()
    assert "glossary.html#term-" in page.url
