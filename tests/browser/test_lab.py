"""The student edition in JupyterLab, used as a student would, in a browser that can reach only this machine."""

import re
from contextlib import contextmanager

import psutil
import pytest
from lab import ROOT, Notebook, start
from playwright.sync_api import expect
from typer.testing import CliRunner

from coursekit import cli
from coursekit.notebooks import files

LECTURES = ["00_start_here", "02_neighbours", "09_autoencoders"]
SOLVED = {name: files.read(ROOT / "notebooks" / f"{name}.ipynb") for name in LECTURES}
# The outputs of the cells, except figures, without Lab around them: axe does not see what nested boxes scroll away.
ALONE = """() => {
  const shown = [...document.querySelectorAll(".jp-OutputArea-output:not(:has(img))")];
  const paper = document.createElement("main");
  paper.className = "jp-Notebook";
  paper.style = "position: static; height: auto; background: var(--jp-layout-color0)";
  paper.append(...shown.map((it) => it.cloneNode(true)));
  [...document.body.children].forEach((it) => it.style.display = "none");
  document.body.style = "position: static; height: auto; overflow: visible";
  document.body.append(paper);
  return shown.length;
}"""
ACTIVATE = "(index) => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = index; }"


def solutions(name):
    """The indices of the cells that hold a solution."""
    return [index for index, cell in enumerate(SOLVED[name].cells) if "### BEGIN SOLUTION" in cell.source]


def score(name):
    """The index of the cell that says how many exercises are solved."""
    (index,) = [index for index, cell in enumerate(SOLVED[name].cells) if cell.source == "exercise.score()"]
    return index


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab with the student edition of some lectures."""
    folder = tmp_path_factory.mktemp("lab")
    made = CliRunner().invoke(cli.app, ["student", *LECTURES, "--out", str(folder / "notebooks")])
    assert made.exit_code == 0, made.exception
    server = start(folder)
    yield server
    server.stop()


@contextmanager
def opened(opening, server, name):
    """A notebook with an idle kernel; at the end, it must have reached no other server and logged no complaint."""
    with opening(name, reduced_motion="reduce") as page:
        asked, said = [], []

        def gate(route):
            if route.request.url.startswith(server.url):
                route.continue_()
            else:
                asked.append(route.request.url)
                route.abort()

        page.context.route("**/*", gate)
        page.on("websocket", lambda it: it.url.startswith(server.url.replace("http", "ws")) or asked.append(it.url))
        page.on("console", lambda message: message.type in ("error", "warning") and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        notebook = Notebook(page, server, name)
        yield notebook
        notebook.command("notebook:shutdown-kernel")
        assert (asked, said) == ([], [])


@pytest.fixture(scope="module", params=LECTURES)
def ran(request, opening, server):
    """A notebook that was run from the top."""
    with opened(opening, server, request.param) as notebook:
        notebook.run_all()
        yield notebook


def showing(nb, what):
    """The indices of the cells with a certain kind of output."""
    return [index for index, cell in enumerate(nb.cells) if any(map(what, cell.get("outputs", [])))]


def is_figure(output):
    return "image/png" in output.get("data", {})


def claim_of(output):
    return output.get("metadata", {}).get("coursekit", {}).get("claim")


def test_lab_listens_on_this_machine_only(server):
    listening = [it.laddr.ip for it in server.process.net_connections("inet") if it.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_lab_answers_only_with_its_token(server):
    assert server.status("api/contents", token=server.token) == 200
    assert server.status("api/contents") == 403
    assert server.status("api/contents", token="") == 403
    assert server.status("api/kernels", token="guessed", method="POST") == 403
    assert len(server.token) >= 32


def test_a_notebook_runs_to_its_end(ran):
    cells = ran.cells()
    code = [index for index, cell in enumerate(SOLVED[ran.name].cells) if cell.cell_type == "code"]
    assert [cells[index]["count"] for index in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    assert [output for output in outputs if output["output_type"] == "error"] == []


def test_every_exercise_says_that_it_is_not_written_yet(ran):
    for index in solutions(ran.name):
        told = ran.cell(index + 1).locator(".jp-OutputArea")
        expect(told).to_contain_text(re.compile(r"○ \w+ is open: not written yet"))
        expect(told).to_contain_text("The notebook goes on with the course's own function.")
    count = len(solutions(ran.name))
    expect(ran.cell(score(ran.name)).locator(".jp-OutputArea")).to_contain_text(
        f"○ 0 of {count} exercises solved; open"
    )


def test_all_figures_are_visible(ran):
    figures = showing(SOLVED[ran.name], is_figure)
    assert [k for k, cell in enumerate(ran.cells()) if any(map(is_figure, cell["outputs"]))] == figures
    for index in figures:
        picture = ran.cell(index).locator(".jp-OutputArea-output img")
        expect(picture).to_be_visible()
        assert picture.evaluate("(it) => it.decode().then(() => it.naturalWidth)") > 300
        assert picture.bounding_box()["width"] > 150


def test_all_claims_are_shown_with_their_verdicts(ran):
    claims = showing(SOLVED[ran.name], claim_of)
    for number, index in enumerate(claims, start=1):
        verdict = re.compile(rf"✓ Claim {number} holds\.|○ Claim {number} not judged\.")
        expect(ran.cell(index).locator(".jp-OutputArea")).to_contain_text(verdict)
    assert len(claims) >= (1 if ran.name.startswith("00") else 2)


def test_a_slider_moved_with_the_keyboard_changes_its_figure(ran):
    index = next(k for k, cell in enumerate(SOLVED[ran.name].cells) if re.search(r"^explore\(", cell.source, re.M))
    cell = ran.cell(index)
    before = cell.locator("img").get_attribute("src")
    cell.get_by_role("slider").first.focus()
    ran.page.keyboard.press("ArrowRight")
    expect(cell.locator("img")).not_to_have_attribute("src", before)
    assert cell.locator("[data-mime-type$='stderr']").count() == 0


@pytest.mark.parametrize("ran", LECTURES[:1], indirect=True)
def test_a_guess_is_typed_and_told_again_beside_the_answer(ran):
    sources = [cell.source for cell in SOLVED[ran.name].cells]
    asked = next(k for k, source in enumerate(sources) if "how_many = guess(" in source)
    cell = ran.cell(asked)
    field = cell.get_by_role("textbox", name="your guess")
    expect(field).to_have_value("")
    field.focus()
    ran.page.keyboard.type("50")  # the middle of the limits
    ran.page.keyboard.press("Enter")
    expect(cell.locator(".jp-OutputArea")).to_contain_text("you said 50 %")
    answered = next(k for k, source in enumerate(sources) if "how_many.reveal(" in source)
    ran.page.evaluate(ACTIVATE, answered)  # its code is folded, so there is no editor to click into
    ran.command("notebook:run-cell")
    expect(ran.cell(answered).locator(".jp-OutputArea")).to_contain_text("You said 50 %. The answer: ")


@pytest.mark.parametrize("ran", LECTURES[:1], indirect=True)
def test_an_exercise_can_be_failed_and_solved(ran):
    exercise = solutions(ran.name)[0]
    right = SOLVED[ran.name].cells[exercise].source
    ran.write(exercise, right.replace(".mean(", ".sum("))
    ran.run(exercise)
    told = ran.run(exercise + 1)
    assert re.search(r"○ class_means is open: wrong on two classes: at index \(\d, \d\) expected \S+, got", told)
    ran.write(exercise, right)
    ran.run(exercise)
    assert ran.run(exercise + 1).strip() == "✓ class_means: right on two classes, labels in any order, three dimensions"


@pytest.mark.parametrize("ran", LECTURES[:1], indirect=True)
def test_a_solved_notebook_can_be_read_in_both_themes(ran, audit):
    for index in solutions(ran.name):
        ran.write(index, SOLVED[ran.name].cells[index].source)
    ran.run_all()
    cells = ran.cells()
    assert [cell["count"] is not None for cell in cells] == [it.cell_type == "code" for it in SOLVED[ran.name].cells]
    assert "error" not in [output["output_type"] for cell in cells for output in cell["outputs"]]
    count = len(solutions(ran.name))
    expect(ran.cell(score(ran.name)).locator(".jp-OutputArea")).to_contain_text(f"✓ {count} of {count} exercises")
    table = next(k for k, cell in enumerate(SOLVED[ran.name].cells) if "claims-table" in cell.metadata.get("tags", ()))
    expect(ran.cell(table).locator("table")).to_contain_text("✓ holds")
    assert ran.page.evaluate(ALONE) >= 10
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        ran.command("apputils:change-theme", theme=theme)
        ran.page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
        found = audit(ran.page, "main.jp-Notebook")
        assert not found, f"{theme}:\n{found}"


def test_nothing_of_lab_is_left_when_it_ends(tmp_path):
    (tmp_path / "notebooks").mkdir()
    server = start(tmp_path)
    try:
        assert server.status("api/kernels", token=server.token, method="POST") == 201
        assert server.process.children()
    finally:
        left = server.stop()
    assert left == []
