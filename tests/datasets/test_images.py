from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mirrors import RECORDS, idx_arrays, tar
from sklearn.datasets import load_digits

from coursekit import datasets
from coursekit.datasets import CIFAR10_CLASSES, DIGIT_CLASSES, FASHION_MNIST_CLASSES, registry, store
from coursekit.datasets.checksums import verify


def assert_well_formed(data: datasets.ImageDataset) -> None:
    for part in (data.train, data.test):
        assert part.images.dtype == torch.float32
        assert part.images.is_contiguous()
        assert (part.images.min(), part.images.max()) == (0, 1)
        assert part.labels.dtype == torch.int64
        assert part.labels.unique().tolist() == list(range(len(data.classes)))


# Digits


def test_digits_are_all_of_scikit_learns_and_none_twice():
    data = datasets.digits()
    assert_well_formed(data)
    assert (len(data.train), len(data.test)) == (1437, 360)
    rows = torch.cat([data.train.images, data.test.images]).reshape(-1, 64)
    labels = torch.cat([data.train.labels, data.test.labels])
    ours = torch.cat([16 * rows, labels[:, None]], dim=1).numpy()
    images, targets = load_digits(return_X_y=True)
    theirs = np.column_stack([images, targets])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_digits_are_split_with_the_fraction_of_each_class():
    data = datasets.digits()
    fraction = data.train.labels.bincount() / len(data.train)
    test_fraction = data.test.labels.bincount() / len(data.test)
    assert (fraction - test_fraction).abs().max() < 1 / len(data.test)


def test_digits_depend_on_the_seed_and_on_nothing_else():
    first, again, other = datasets.digits(), datasets.digits(seed=0), datasets.digits(seed=1)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.labels, again.test.labels)
    assert not torch.equal(first.test.images, other.test.images)


# What is downloaded


@pytest.mark.parametrize(("load", "classes"), [("mnist", DIGIT_CLASSES), ("fashion_mnist", FASHION_MNIST_CLASSES)])
def test_idx_set_is_scaled_to_one_and_keeps_its_order(tiny_set, monkeypatch, load, classes):
    monkeypatch.setattr(registry, "entries", lambda: {load: tiny_set("good")})
    data = getattr(datasets, load)()
    images, labels, test_images, test_labels = map(torch.tensor, idx_arrays())
    torch.testing.assert_close(data.train.images, images[:, None] / 255, rtol=0, atol=0)
    torch.testing.assert_close(data.test.images, test_images[:, None] / 255, rtol=0, atol=0)
    assert data.train.labels.tolist() == labels.tolist()
    assert data.test.labels.tolist() == test_labels.tolist()
    assert (data.name, data.classes, len(data.classes)) == (load, classes, 10)
    assert data.train.labels.dtype == torch.int64


def test_cifar10_joins_its_batches_and_keeps_the_last_file_for_the_test(tiny_archive, monkeypatch):
    second = bytes([3, *range(100, 112), 0, *range(120, 132)])
    entry = tiny_archive(tar(("bin/more.bin", second), *RECORDS.items()))
    more = replace(entry.files[0], name="bin/more.bin")
    entry = replace(entry, files=(entry.files[0], more, entry.files[1]))
    monkeypatch.setattr(registry, "entries", lambda: {"cifar10": entry})
    data = datasets.cifar10()
    assert data.train.labels.tolist() == [7, 2, 3, 0]
    assert data.test.labels.tolist() == [1, 9]
    values = [*range(24), *range(100, 112), *range(120, 132)]
    expected = torch.tensor(values).reshape(4, 3, 2, 2) / 255
    torch.testing.assert_close(data.train.images, expected, rtol=0, atol=0)
    assert data.test.images[1, 0, 0, 1] == np.float32(71 / 255)
    assert data.classes == CIFAR10_CLASSES


def mnist_folder() -> Path | None:
    """A folder with the real MNIST: where the course keeps its data, or beside the checkout."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    return next((folder for folder in (store.home(), beside) if (folder / "mnist").is_dir()), None)


@pytest.mark.skipif(mnist_folder() is None, reason="no real MNIST here: coursekit data get mnist")
def test_real_mnist_is_the_one_of_the_registry(monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(mnist_folder()))
    assert {finding.message for finding in verify(registry.find("mnist"))} == {"checksum right"}
    data = datasets.mnist()
    assert_well_formed(data)
    assert data.train.images.shape == (60_000, 1, 28, 28)
    assert data.test.images.shape == (10_000, 1, 28, 28)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.images.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert data.train.images.std().item() == pytest.approx(0.3081, abs=5e-5)
