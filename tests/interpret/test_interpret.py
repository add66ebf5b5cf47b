import pytest

from coursekit import interpret


def test_every_public_name_is_there_and_listed():
    for name in interpret.__all__:
        assert getattr(interpret, name).__name__ == name
    assert dir(interpret) == sorted(interpret.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"coursekit\.interpret.*no attribute 'tnse'"):
        _ = interpret.tnse
