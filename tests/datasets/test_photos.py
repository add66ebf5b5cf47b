import numpy as np
import pytest
import skimage.data
import torch
from sklearn.datasets import load_sample_image

from coursekit.datasets import photos
from coursekit.datasets.photos import PHOTOGRAPHS, photographs
from coursekit.errors import CourseError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a photograph asked for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)


def test_every_photograph_is_there_without_a_network(no_network):
    found = photographs()
    assert list(found) == list(PHOTOGRAPHS)
    for name, picture in found.items():
        assert picture.dtype == torch.float32, name
        assert picture.shape[0] == 3
        assert min(picture.shape) == 3
        assert picture.is_contiguous()
        assert 0 <= picture.min() < 0.1
        assert 0.9 < picture.max() <= 1


def test_photographs_are_those_of_the_packages(no_network):
    found = photographs("coffee", "china", "camera")
    assert list(found) == ["coffee", "china", "camera"]
    for name, original in (("coffee", skimage.data.coffee()), ("china", load_sample_image("china.jpg"))):
        np.testing.assert_array_equal(np.rint(255 * found[name].movedim(0, -1).numpy()), original)
    np.testing.assert_array_equal(
        np.rint(255 * found["camera"].numpy()), np.broadcast_to(skimage.data.camera(), (3, 512, 512))
    )


def test_unknown_photograph_names_what_may_have_been_meant():
    with pytest.raises(ValueError, match=r"unknown photograph 'cofee': did you mean coffee"):
        photographs("astronaut", "cofee")


def test_photograph_that_a_package_no_longer_ships_is_named(monkeypatch):
    monkeypatch.setitem(photos.PHOTOGRAPHS, "coffee", ("skimage.data", "tea.png"))
    with pytest.raises(CourseError, match=r"installed skimage holds no tea.png"):
        photographs("coffee")
