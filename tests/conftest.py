"""Shape annotations of the package are checked at run time in every test."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# An int will do where a float is asked for, as everywhere in Python's type hints.
install_import_hook("coursekit", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


SLOWEST = ("tests/notebooks/test_student_edition.py", "tests/notebooks/test_execution.py")  # they run notebooks


def pytest_collection_modifyitems(items):
    """The slowest files come first, so that none keeps one process busy when all others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Every test draws the same numbers, whichever tests ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_profile_from_outside(monkeypatch):
    """The variable that tests of notebooks use must not reach the tests of the package."""
    monkeypatch.delenv("COURSEKIT_PROFILE", raising=False)


@pytest.fixture
def without_annotations():
    """Annotations are not checked, as for every user: wrong arguments meet the checks of the functions themselves."""
    from jaxtyping import config

    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture
def real_data(monkeypatch):
    """A function of a data set's name: the test reads the real one, in the user's cache or beside the checkout."""
    from coursekit.datasets import registry, store

    def read(name):
        entry = registry.find(name)
        for folder in (store.home(), Path(__file__).parents[2] / "shared" / "data"):
            monkeypatch.setenv("COURSEKIT_DATA", str(folder))
            if not store.missing(entry):
                return
        pytest.skip(f"{entry.title} is not on this machine: coursekit data get {name}")

    return read
