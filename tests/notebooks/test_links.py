"""The pieces that every notebook carries and a program writes."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from coursekit.course.lectures import lectures
from coursekit.notebooks import files, links
from coursekit.notebooks.links import address, bring_up_to_date, colab_lines, neighbours

ROOT = Path(__file__).parents[2]


def test_a_lecture_links_to_its_neighbours_that_exist(monkeypatch):
    written = {it.name for it in links.lectures()} - {"17_wgan"}
    course = [it if it.name in written else replace(it, seconds={}) for it in links.lectures()]
    with monkeypatch.context() as patch:
        patch.setattr(links, "lectures", lambda: course)
        assert neighbours("16_distances") == (
            "**Previous:** [15 · GAN failures](15_gan_failures.ipynb) · **Next:** 17 · WGAN (to come)"
        )
    assert neighbours("01_filters") == (
        "**Previous:** [00 · Start here](00_start_here.ipynb) · **Next:** "
        "[02 · Neighbours and t-SNE](02_neighbours.ipynb)"
    )


def test_the_ends_of_the_course_say_so():
    assert neighbours("00_start_here").startswith("**Previous:** none, you are at the start · ")
    assert neighbours(lectures()[-1].name).endswith("**Next:** none, this is the end")


def test_colab_installs_the_course_from_its_address():
    assert f"%pip install -q --no-deps git+{address(ROOT)} jaxtyping" in colab_lines(ROOT)


def cell(make, source, tag):
    return make(source, metadata={"tags": [tag]})


def old_notebook():
    running = "**Reading** takes long. **Running**, on one CPU core: smoke 1 s. **Data**: none."
    return new_notebook(
        cells=[
            cell(new_markdown_cell, running, "opening"),
            cell(new_code_cell, "%pip install elsewhere", "colab"),
            cell(new_code_cell, "import torch", "imports"),
            cell(new_markdown_cell, "**Previous:** nobody", "links"),
        ]
    )


def test_generated_pieces_are_brought_up_to_date_and_nothing_else():
    old = old_notebook()
    running, colab, imports, links = (it.source for it in bring_up_to_date(old, "00_start_here", ROOT).cells)
    expected = "**Running**, on one CPU core: smoke 5 s, quick 10 s, full 10 s."
    assert running == f"**Reading** takes long. {expected} **Data**: none."
    assert colab == colab_lines(ROOT)
    assert imports == "import torch"
    assert links == neighbours("00_start_here")
    assert [it.source for it in old.cells] == [it.source for it in old_notebook().cells]


def test_bringing_up_to_date_twice_changes_nothing_more():
    once = bring_up_to_date(old_notebook(), "09_autoencoders", ROOT)
    assert bring_up_to_date(once, "09_autoencoders", ROOT) == once


def test_run_times_are_found_in_the_cell_about_the_notebook():
    about = new_markdown_cell("**Running**, on one CPU core: smoke 1 s.", metadata={"tags": ["about"]})
    [made] = bring_up_to_date(new_notebook(cells=[about]), "00_start_here", ROOT).cells
    assert made.source == "**Running**, on one CPU core: smoke 5 s, quick 10 s, full 10 s."


def test_what_is_no_lecture_of_the_checkout_stays_as_it_is(tmp_path):
    old = old_notebook()
    assert bring_up_to_date(old, "00_mine", ROOT) == old
    assert bring_up_to_date(old, "00_start_here", tmp_path) == old


def test_a_run_with_update_writes_the_generated_pieces(tmp_path):
    for name in ("pyproject.toml", "coursekit/course/lectures.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    old = old_notebook()
    old.cells = [it for it in old.cells if "colab" not in it.metadata.tags]  # it would install something
    path = tmp_path / "notebooks" / "09_autoencoders.ipynb"
    path.parent.mkdir()
    files.write(old, path)
    command = [sys.executable, "-m", "coursekit", "run", path, "--update", "--out", tmp_path / "out", "--jobs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    opening, _, links = files.read(path).cells
    assert re.search(r"on one CPU core: smoke \d+ s, quick \d+ s, full \d+ min\.", opening.source)
    assert links.source == neighbours("09_autoencoders")
