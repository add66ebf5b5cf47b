from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mirrors import RECORDS, idx_arrays, tar
from sklearn.datasets import load_digits

from coursekit import datasets
from coursekit.datasets import store
from coursekit.datasets.images import CIFAR10_CLASSES, DIGITS, FASHION_MNIST_CLASSES


def assert_well_formed(data: datasets.ImageSet) -> None:
    for images, labels in ((data.images, data.labels), (data.test_images, data.test_labels)):
        assert images.dtype == torch.float32
        assert images.is_contiguous()
        assert (images.min(), images.max()) == (0, 1)
        assert labels.dtype == torch.int64
        assert labels.unique().tolist() == list(range(len(data.classes)))


# Digits


def test_digits_are_all_of_scikit_learns_and_none_twice():
    data = datasets.digits()
    assert_well_formed(data)
    assert (len(data.images), len(data.test_images)) == (1437, 360)
    rows = torch.cat([data.images, data.test_images]).reshape(-1, 64)
    labels = torch.cat([data.labels, data.test_labels])
    ours = torch.cat([16 * rows, labels[:, None]], dim=1).numpy()
    images, targets = load_digits(return_X_y=True)
    theirs = np.column_stack([images, targets])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_are_split_with_the_share_of_each_class():
    data = datasets.digits()
    share = data.labels.bincount() / len(data.labels)
    test_share = data.test_labels.bincount() / len(data.test_labels)
    assert (share - test_share).abs().max() < 1 / len(data.test_labels)


def test_digits_depend_on_the_seed_and_on_nothing_else():
    first, again, other = datasets.digits(), datasets.digits(seed=0), datasets.digits(seed=1)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.test_labels, again.test_labels)
    assert not torch.equal(first.test_images, other.test_images)


# What is downloaded


@pytest.mark.parametrize(("load", "classes"), [("mnist", DIGITS), ("fashion_mnist", FASHION_MNIST_CLASSES)])
def test_idx_set_is_scaled_to_one_and_keeps_its_order(tiny_set, monkeypatch, load, classes):
    monkeypatch.setattr(store, "registry", lambda: {load: tiny_set("good")})
    data = getattr(datasets, load)()
    images, labels, test_images, test_labels = map(torch.tensor, idx_arrays())
    torch.testing.assert_close(data.images, images[:, None] / 255, rtol=0, atol=0)
    torch.testing.assert_close(data.test_images, test_images[:, None] / 255, rtol=0, atol=0)
    assert data.labels.tolist() == labels.tolist()
    assert data.test_labels.tolist() == test_labels.tolist()
    assert (data.name, data.classes, len(data.classes)) == (load, classes, 10)
    assert data.labels.dtype == torch.int64


def test_cifar10_joins_its_batches_and_keeps_the_last_file_for_the_test(tiny_archive, monkeypatch):
    second = bytes([3, *range(100, 112), 0, *range(120, 132)])
    entry = tiny_archive(tar(("bin/more.bin", second), *RECORDS.items()))
    more = replace(entry.files[0], name="bin/more.bin")
    entry = replace(entry, files=(entry.files[0], more, entry.files[1]))
    monkeypatch.setattr(store, "registry", lambda: {"cifar10": entry})
    data = datasets.cifar10()
    assert data.labels.tolist() == [7, 2, 3, 0]
    assert data.test_labels.tolist() == [1, 9]
    values = [*range(24), *range(100, 112), *range(120, 132)]
    expected = torch.tensor(values).reshape(4, 3, 2, 2) / 255
    torch.testing.assert_close(data.images, expected, rtol=0, atol=0)
    assert data.test_images[1, 0, 0, 1] == np.float32(71 / 255)
    assert data.classes == CIFAR10_CLASSES


def mnist_folder() -> Path | None:
    """A folder with the real MNIST: where the course keeps its data, or beside the checkout."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    return next((folder for folder in (store.home(), beside) if (folder / "mnist").is_dir()), None)


@pytest.mark.skipif(mnist_folder() is None, reason="no real MNIST here: coursekit data get mnist")
def test_real_mnist_is_the_one_of_the_registry(monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(mnist_folder()))
    assert {finding.message for finding in store.verify(store.find("mnist"))} == {"checksum right"}
    data = datasets.mnist()
    assert_well_formed(data)
    assert data.images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.images.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert data.images.std().item() == pytest.approx(0.3081, abs=5e-5)


# The value itself


def test_image_set_says_in_a_line_what_it_is():
    assert repr(datasets.digits()) == "digits: 1437 + 360 test images of 1×8×8, 10 classes"


def test_image_set_is_not_changed_by_accident():
    data = datasets.digits()
    with pytest.raises(FrozenInstanceError):
        data.images = data.test_images
