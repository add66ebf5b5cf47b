"""The links that every notebook carries."""

from pathlib import Path

from coursekit.notebooks.links import address, colab_lines, neighbours

ROOT = Path(__file__).parents[2]


def test_a_lecture_links_to_its_neighbours_that_exist():
    assert neighbours("09_autoencoders") == (
        "**Previous:** 08 · Density and dimension (to come) · **Next:** 10 · Variational inference (to come)"
    )
    assert neighbours("01_filters") == (
        "**Previous:** [00 · Start here](00_start_here.ipynb) · **Next:** "
        "[02 · Neighbours and t-SNE](02_neighbours.ipynb)"
    )


def test_the_ends_of_the_course_say_so():
    assert neighbours("00_start_here").startswith("**Previous:** none, you are at the start · ")
    assert neighbours("18_wae").endswith("**Next:** none, this is the end")


def test_colab_installs_the_course_from_its_address():
    assert f"%pip install -q --no-deps git+{address(ROOT)} jaxtyping" in colab_lines(ROOT)
