"""The README says what the notebooks hold."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from coursekit.errors import CourseError
from coursekit.notebooks.links import address
from tools import readme

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_up_to_date():
    assert readme.update(README, ROOT) == README, "run `make readme`"


def test_every_existing_lecture_has_its_number_of_claims_and_checks_and_a_link_to_colab():
    part = README.split("<!-- lectures: begin")[1].split("<!-- lectures: end")[0]
    rows = {row.split("|")[1].strip(): row for row in part.splitlines() if row.startswith("|")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        *_, claims, checks, opens, _ = rows[path.name[:2]].split("|")
        assert int(claims) + int(checks.strip() or 0) == path.read_text(encoding="utf-8").count('"verdict": "holds"')
        assert opens.strip() == f"[Colab]({_at('https://colab.research.google.com/github/', path.name)})"


def _at(service, name):
    return f"{service}{address(ROOT).removeprefix('https://github.com/')}/blob/main/notebooks/{name}"


def test_images_and_links_of_the_readme_lead_to_files():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_citation_names_the_same_address():
    assert f"repository-code: {address(ROOT)}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_make_readme_updates_what_is_old(monkeypatch, tmp_path):
    for name in ("pyproject.toml", "notebooks", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    file = tmp_path / "README.md"
    file.write_text(README.replace("[Start here]", "[An old title]"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["readme", str(file)])
    monkeypatch.delitem(sys.modules, "tools.readme")  # as with python -m, which has not imported it yet
    runpy.run_module("tools.readme", run_name="__main__")
    assert file.read_text(encoding="utf-8") == README


def test_a_readme_without_its_marks_is_refused():
    with pytest.raises(CourseError, match="no single place for its lectures"):
        readme.update(README.replace("<!-- lectures: end -->", ""), ROOT)
