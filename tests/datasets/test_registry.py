from urllib.parse import urlparse

import pytest

from coursekit import files
from coursekit.datasets import registry
from coursekit.datasets.formats import READERS


def test_every_entry_of_the_registry_is_complete():
    for name, entry in registry.entries().items():
        assert entry.name == name
        assert all((entry.title, entry.about, entry.licence, entry.source)), name
        if not entry.files:
            continue
        assert entry.format in READERS
        assert len(entry.mirrors) >= 2
        assert all(urlparse(mirror).path.endswith("/") for mirror in entry.mirrors)
        assert all(file.shape and file.size for file in entry.files)
        for file in entry.downloads:
            assert len(file.sha256) == 64 or len(file.md5) == 32, file.name


def test_registry_in_a_wheel_comes_before_the_one_of_a_checkout(tmp_path, monkeypatch):
    for folder, title in (("coursekit/_data", "packaged"), ("data", "checkout")):
        path = tmp_path / folder / "registry.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f"[a]\ntitle='{title}'\nabout=''\nlicence=''\nsource=''")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "coursekit" / "files.py"))
    assert registry.find("a").title == "packaged"
    (tmp_path / "coursekit" / "_data" / "registry.toml").unlink()
    assert registry.find("a").title == "checkout"


def test_misspelt_key_in_a_registry_is_an_error():
    with pytest.raises(TypeError, match="lisence"):
        registry.parse("[a]\ntitle=''\nabout=''\nlicence=''\nsource=''\nlisence=''")


def test_unknown_set_names_what_may_have_been_meant():
    with pytest.raises(ValueError, match=r"unknown data set 'fashion-mnist': did you mean fashion_mnist"):
        registry.find("fashion-mnist")
    with pytest.raises(ValueError, match=r"unknown data set 'xyz': there are digits, photographs, mnist"):
        registry.find("xyz")
