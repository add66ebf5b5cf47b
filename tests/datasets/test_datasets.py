import subprocess
import sys

import pytest

from coursekit import datasets


def test_every_public_name_is_there_and_listed():
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    assert dir(datasets) == datasets.__all__ == sorted(datasets.__all__)


def test_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="minst"):
        _ = datasets.minst


def test_the_registry_is_read_without_waiting_for_torch():
    code = (
        "import sys; from coursekit.datasets import checksums, download, registry; "
        "registry.entries(); print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
