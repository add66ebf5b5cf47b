"""The spelling of documents and of the notebooks' texts: no common misspelling, except the words in docs/words.txt."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def misspelt(*paths):
    """What codespell finds, one line each."""
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words", ROOT / "docs" / "words.txt", *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def test_the_check_sees_a_misspelling(tmp_path):
    (tmp_path / "a.md").write_text("The gausian kernel\n", encoding="utf-8")
    assert len(misspelt(tmp_path / "a.md")) == 1


def test_documents_are_spelt_right():
    assert misspelt(*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) == []


def test_the_texts_of_the_notebooks_are_spelt_right(tmp_path):
    """Fenced blocks are left out: they show what a machine said."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        prose = re.sub(r"^```.*?^```", "", "\n".join(texts), flags=re.DOTALL | re.MULTILINE)
        (tmp_path / f"{path.stem}.md").write_text(prose, encoding="utf-8")
    assert misspelt(tmp_path) == []
