import base64
import io
import re
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from coursekit.notebooks import files, report
from coursekit.notebooks.run_record import Entry, Run, Settings

NASTY = "<script>alert('&')</script>"


def record(kind, content):
    return new_output("display_data", metadata={"coursekit": {kind: content}})


def claim(number, verdict, value=0.123456, bound="≤ 0.2", statement="It holds", source="E23", **beside):
    """The output of a claim; without ``beside`` it has the fields of a record from before controls and passes."""
    fields = {"number": number, "verdict": verdict, "value": value, "bound": bound}
    return record("claim", fields | {"statement": statement, "source": source} | beside)


def checks(*verdicts):
    fields = {"statement": "It is the same", "value": 1e-9, "bound": "≤ 1e-06"}
    return record("checks", [fields | {"number": n, "verdict": it} for n, it in enumerate(verdicts, start=1)])


def figure(alt, size=(1600, 800)):
    file = io.BytesIO()
    Image.new("RGB", size, "white").save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    return new_output("display_data", data={"image/png": png}, metadata={"image/png": {"alt": alt}})


def cell(source, *outputs, count=1, seconds=0.01):
    metadata = {"papermill": {"duration": seconds}}
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def executed(*cells, title="# Lecture"):
    setup = {"profile": "quick", "seed": 0, "device": "cpu", "threads": 1, "versions": {"torch": "2.13.0"}}
    first = cell("setup()", new_output("display_data", metadata={"coursekit": {"setup": setup}}))
    nb = new_notebook(cells=[new_markdown_cell(title), first, *cells])
    return nb


def raised(name, message="no"):
    return new_output("error", ename=name, evalue=message, traceback=["\x1b[31mline 1\x1b[0m", f"{name}: {message}"])


def entry(name, nb):
    source = Path(f"{name}.ipynb")
    entry = Entry(name, files.title(nb), source, fingerprint=files.fingerprint(nb), parameters={}, cells=0)
    entry.describe(nb)
    entry.status, entry.message = entry.verdict() if entry.cells_run else ("not run", "")
    entry.seconds, entry.peak_bytes = 61.4, 3 * 2**29
    return entry


@pytest.fixture
def page(tmp_path):
    """Write a run of these notebooks to a folder and return the page made of it."""

    def page(notebook_of, interrupted=False, **parameters):
        (tmp_path / "notebooks").mkdir()
        for name, nb in notebook_of.items():
            files.write(nb, tmp_path / "notebooks" / f"{name}.ipynb")
        run = Run(
            tmp_path,
            Settings("quick", device=None, seed=3, parameters=parameters),
            [entry(name, nb) for name, nb in notebook_of.items()],
            started=datetime.fromisoformat("2026-03-01T10:30:00+01:00"),
            seconds=75.2,
            interrupted=interrupted,
            jobs=2,
            timeout=600,
        )
        run.save()
        assert report.write(run) == tmp_path / "index.html"
        return (tmp_path / "index.html").read_text(encoding="utf-8")

    return page


class Elements(HTMLParser):
    """All elements of a page, and its text; fails where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.all, self.open, self.text = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.all.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ([cell("f", claim(1, "holds"), claim(2, "not judged"))], "ok"),
        ([cell("f", claim(1, "fails"), raised("ClaimFailed"))], "claim failed"),
        ([cell("f", claim(1, "fails"))], "claim failed"),
        ([cell("f", claim(1, "holds"), checks("holds", "fails"))], "claim failed"),
        ([cell("f", checks("holds")), cell("g", checks("holds"))], "ok"),
        ([cell("f", raised("ValueError"))], "error"),
        ([cell("f", raised("KernelDied"))], "kernel died"),
        ([cell("f", raised("NotebookTimeout"))], "timeout"),
    ],
)
def test_the_status_follows_from_what_the_notebook_says(cells, status):
    assert entry("a", executed(*cells)).status == status


def test_an_error_in_a_widget_is_not_ok():
    nb = executed(cell("interact(f)"))
    state = {"out": {"model_name": "OutputModel", "state": {"outputs": [raised("KeyError")]}}}
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": state}}
    assert entry("a", nb).status == "widget error"


def test_the_slowest_cells_come_first_and_quick_ones_not_at_all():
    cells = [cell(f"step({k})\nmore", count=k, seconds=k / 10) for k in range(9)]
    slowest = report.slowest(executed(*cells))
    assert [(seconds, cell.execution_count) for seconds, cell in slowest] == [(k / 10, k) for k in (8, 7, 6, 5, 4)]
    assert report.slowest(executed()) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (41.2, "41 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s")],
)
def test_a_duration_is_short(seconds, words):
    assert report.duration(seconds) == words


def test_the_summary_counts_notebooks_and_claims():
    good = entry("a", executed(cell("f", claim(1, "holds"), claim(2, "holds"))))
    bad = entry("b", executed(cell("f", claim(1, "fails"), claim(2, "not judged"))))
    run = Run(Path("out"), Settings(), [good, bad], seconds=75.2)
    words = "2 notebooks: 1 ok, 1 claim failed. 2 claims held, 1 failed, 1 not judged. 1 min 15 s"
    assert report.summary(run) == words
    bad = entry("b", executed(cell("f", checks("holds", "fails")), cell("g", checks("holds"))))
    done = entry("c", executed(cell("f", record("score", {"solved": 2, "exercises": 3}))))
    run = Run(Path("out"), Settings(), [good, bad, done], seconds=75.2)
    words = "2 ok, 1 claim failed. 2 claims held; 2 checks held, 1 failed; 2 of 3 exercises solved. 1 min 15 s"
    assert report.summary(run) == f"3 notebooks: {words}"
    silent = Run(Path("out"), Settings(), [entry("a", executed())], seconds=2)
    assert report.summary(silent) == "1 notebook: 1 ok. 2.0 s"


def test_the_summary_names_notebooks_that_took_more_memory_than_promised():
    run = Run(Path("unused"), Settings(), [entry("01_a", executed()), entry("02_b", executed())])
    for one, gigabytes in zip(run.notebooks, (1.9, 2.5), strict=True):
        one.setup, one.peak_bytes = {"profile": "quick", "device": "cpu"}, int(gigabytes * 2**30)
    assert "More memory than promised: 02_b took 2.5 GB. " in report.summary(run)
    run.notebooks[1].setup["profile"] = "full"  # 8 GB are promised there
    assert "promised" not in report.summary(run)
    run.notebooks[1].setup = {"profile": "quick", "device": "cuda"}  # whose libraries alone take more
    assert "promised" not in report.summary(run)


def test_the_page_shows_what_the_notebooks_found(page):
    nb = executed(
        cell("train()", claim(1, "holds"), claim(2, "not judged", value=[1, 2, 3, 4, 5, 6, 7]), seconds=3.2),
        cell(
            "look()",
            new_output("display_data", metadata={"coursekit": {"exercise": {"name": "tied", "verdict": "open"}}}),
        ),
        title="# 9 · Autoencoders",
    )
    elements = Elements(page({"09_autoencoders": nb}, EPOCHS=3))
    for words in (
        "Every notebook ran and every claim that was judged holds",
        "01 March 2026, 10:30",
        "9 · Autoencoders",
        "✓ held 1. It holds E23 0.1235 ≤ 0.2",
        "○ not judged 2. It holds E23 1, 2, 3, 4, 5, 6, … (7 in all) ≤ 0.2",
        "1 min 1 s at quick",
        "peak memory 1.5 GB",
        "on cpu, seed 0",
        "torch 2.13.0",
        "tied (open)",
        "3.2 s train()",
        "seed 3, EPOCHS = 3, at most 600 s for a notebook",
    ):
        assert words in elements.words
    assert ("a", {"href": "notebooks/09_autoencoders.ipynb"}) in elements.all


def test_controls_stand_beside_the_value_and_checks_apart(page):
    beside = {"controls": {"untrained net": 0.845, "centre blob": [0.8, 0.7]}, "passes": {"two good nets": 0.09}}
    score = record("score", {"solved": 1, "exercises": 3})
    open_exercise = record("exercise", {"name": "tied", "verdict": "open"})
    good = executed(cell("f", claim(1, "holds", **beside)), cell("g", checks("holds", "holds"), open_exercise, score))
    text = page({"a": good, "b": executed(cell("f", checks("fails", "holds")))})
    elements = Elements(text)
    for words in (
        "1. It holds controls: untrained net 0.845, centre blob 0.8, 0.7 passes: two good nets 0.09 E23 0.1235 ≤ 0.2",
        "Checks held 3 of 4",
        "1 claim held; 2 checks held; 1 of 3 exercises solved",
        "Checks 2 of 2 held ✓ It is the same 1e-09 (≤ 1e-06) ✓ It is the same",
        "Checks 1 of 2 held ✗ It is the same",
        "Exercises 1 of 3 exercises solved tied (open)",
    ):
        assert words in elements.words
    assert [attributes for tag, attributes in elements.all if tag == "details"] == [{}, {"open": None}]


def test_a_failing_cell_is_shown_with_its_traceback_without_colours(page):
    nb = executed(cell("f(0)", claim(1, "fails", value=None, bound=None), raised("ClaimFailed", "claim 1"), count=4))
    elements = Elements(page({"a": nb, "b": executed()}))
    assert "1 of 2 notebooks needs attention" in elements.words
    assert "cell [4] ClaimFailed: claim 1 f(0) line 1 ClaimFailed: claim 1" in elements.words
    assert "✗ failed 1. It holds" in elements.words


def test_a_notebook_that_never_ran_has_no_result_to_open(page):
    nb = new_notebook(cells=[cell("f", count=None)])
    elements = Elements(page({"a": nb}, interrupted=True))
    assert "Interrupted: 0 of 1 notebooks are done" in elements.words
    assert "○ not run" in elements.words
    assert [attributes["href"] for tag, attributes in elements.all if tag == "a"] == ["#a", "run.json"]


def test_all_text_is_escaped(page):
    nb = executed(
        cell(
            NASTY,
            claim(1, "holds", value=NASTY, bound=NASTY, statement=NASTY, source=NASTY),
            figure(f'"{NASTY}'),
        ),
        cell(NASTY, raised(NASTY, NASTY), seconds=1),
        title=f"# {NASTY}",
    )
    elements = Elements(page({"a": nb}, NAME=NASTY))
    assert "script" not in [tag for tag, _ in elements.all]
    assert elements.words.count(NASTY) >= 9
    assert [attributes["alt"] for tag, attributes in elements.all if tag == "img"] == [f'"{NASTY}']


def test_figures_are_small_and_keep_their_alternative_text(page):
    text = page({"a": executed(cell("plot()", figure("A curve"), figure("", size=(20, 10))))})
    images = [attributes for tag, attributes in Elements(text).all if tag == "img"]
    assert [image["alt"] for image in images] == ["A curve", "Figure without a description"]
    data = [base64.b64decode(image["src"].removeprefix("data:image/webp;base64,")) for image in images]
    assert [Image.open(io.BytesIO(one)).size for one in data] == [
        (report.THUMBNAIL, report.THUMBNAIL // 2),
        (20, 10),
    ]


@pytest.mark.parametrize("size", [7, 200])
def test_a_damaged_figure_is_shown_as_its_text(page, size):
    whole = figure("A curve")
    png = base64.b64decode(whole["data"]["image/png"])
    whole["data"]["image/png"] = base64.b64encode(png[:size]).decode()
    [image] = [a for tag, a in Elements(page({"a": executed(cell("plot()", whole))})).all if tag == "img"]
    assert image == {"src": "data:,", "alt": "A curve"}


def test_the_page_asks_nothing_of_any_other_place(page):
    text = page({"a": executed(cell("plot()", figure("A curve")))})
    elements = Elements(text)
    sources = [a[key] for _, a in elements.all for key in ("src", "href", "srcset", "data") if key in a]
    assert all(re.match(r"data:|#|notebooks/|run\.json$", source) for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)
    policies = [a["content"] for tag, a in elements.all if tag == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_colours_can_be_read_in_light_and_in_dark(page):
    """Contrast of text at least 4.5 (WCAG AA), from the colours in the style sheet."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    text = page({"a": executed()})
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)]
    for scheme in schemes[:2]:
        for ink in ("ink", "quiet", "link", "good", "bad", "open"):
            for paper in ("paper", "card", "bad-wash"):
                bright, dark = sorted(luminance(scheme[name]) for name in (ink, paper))[::-1]
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)
