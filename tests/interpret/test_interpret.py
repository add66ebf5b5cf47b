from coursekit import interpret


def test_every_public_name_is_there_and_listed():
    for name in interpret.__all__:
        assert getattr(interpret, name).__name__ == name
    assert interpret.__all__ == sorted(interpret.__all__)
