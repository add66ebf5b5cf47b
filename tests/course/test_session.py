"""Set-up: profile, seed, device."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from coursekit.course import session as session_module
from coursekit.course import setup


def test_pick_takes_the_value_of_the_profile_and_falls_back_to_quick():
    picked = {name: setup(name, device="cpu").pick(smoke=1, quick=2, full=3) for name in ("smoke", "quick", "full")}
    assert picked == {"smoke": 1, "quick": 2, "full": 3}
    assert setup("full", device="cpu").pick(quick=2) == 2
    assert setup("smoke", device="cpu").pick(quick=2, full=3) == 2
    assert setup("smoke", device="cpu").pick(quick=2, smoke=0) == 0


def test_set_up_prints_one_stable_line(capsys):
    setup("quick", seed=3, device="cpu")
    assert capsys.readouterr().out == "profile quick · seed 3 · device cpu\n"


def test_the_environment_wins_over_the_notebook(monkeypatch):
    monkeypatch.setenv("COURSEKIT_PROFILE", "smoke")
    assert setup("full", device="cpu").profile == "smoke"


def test_an_unknown_profile_is_answered_with_the_near_one():
    with pytest.raises(ValueError, match=r"unknown profile 'quik': did you mean quick\?"):
        setup("quik")
    with pytest.raises(ValueError, match="unknown profile 'xyz': there are smoke, quick, full"):
        setup("xyz")


def test_the_seed_reaches_every_generator():
    def draw():
        setup("quick", seed=7, device="cpu")
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002, the generator that is seeded

    assert draw() == draw()


def test_each_set_up_makes_a_session_of_its_own():
    first, second = setup(device="cpu"), setup(device="cpu")
    assert first == second
    first.claims.append("made")
    assert (next(first.figure_numbers), next(first.figure_numbers), next(second.figure_numbers)) == (1, 2, 1)
    assert second.claims == []
    first.solved.add("one")
    assert second.solved == set()


def test_full_takes_all_threads_again_after_quick(monkeypatch):
    monkeypatch.setattr(session_module, "_threads_at_start", lambda: 2)
    threads = torch.get_num_threads()
    try:
        seen = [setup(profile, device="cpu") and torch.get_num_threads() for profile in ("quick", "full", "smoke")]
    finally:
        torch.set_num_threads(threads)
    assert seen == [1, 2, 1]


def test_asking_for_the_session_before_set_up_says_what_to_do(monkeypatch):
    monkeypatch.setattr(session_module, "_current", None)
    with pytest.raises(RuntimeError, match=r"run the cell with `course = setup\(PROFILE, SEED, DEVICE\)`"):
        session_module.current()


def test_a_seed_of_numpy_is_a_python_number_afterwards(without_annotations):
    seed = setup("quick", np.int64(3), "cpu").seed
    assert (seed, type(seed)) == (3, int)


def test_in_a_notebook_lack_of_memory_names_what_to_lower():
    """Both kinds of error that PyTorch raises, and Python's own; other errors stay as they are."""
    cells = [
        "import torch\nfrom coursekit.course import setup\ncourse = setup('full', device='cpu')",
        "torch.empty(10**15)",
        "raise torch.OutOfMemoryError('CUDA out of memory')",
        "bytearray(10**18)",
        "raise RuntimeError('shapes differ')",
    ]
    program = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(colors='nocolor', history_length=0)\n"
        f"for source in {cells!r}:\n"
        "    print('>>>', source)\n"
        "    shell.run_cell(source)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    _, _, *answers = done.stdout.split(">>> ")
    told = (
        "CourseError: not enough memory for profile full on cpu: choose a smaller PROFILE or another DEVICE "
        "in the notebook's parameters, and restart the kernel."
    )
    assert [told in answer for answer in answers] == [True, True, True, False], done.stdout
    assert "can't allocate memory" in answers[0]  # the cause is shown, too
    assert "RuntimeError: shapes differ" in answers[3]
    assert "Custom TB" not in done.stdout
