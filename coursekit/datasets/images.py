"""Labelled images: the digits, MNIST, Fashion-MNIST, CIFAR-10."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from . import store

DIGITS = tuple("0123456789")
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


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Labelled images in two parts: one to learn from, one to test on.

    Images are float32 in [0, 1], labels int64 in 0 … ``len(classes)`` − 1, both on the CPU.
    """

    name: str
    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "m c h w"]
    test_labels: Int[Tensor, " m"]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        n, *shape = self.images.shape
        size = "×".join(map(str, shape))
        return f"{self.name}: {n} + {len(self.test_images)} test images of {size}, {len(self.classes)} classes"


def digits(seed: int = 0) -> ImageSet:
    """The 1797 handwritten digits that ship with scikit-learn, 8×8 pixels of 17 grey levels.

    1437 are for training and 360 for testing, a random split that keeps the share of each class; another
    ``seed`` gives another split. Pixels, 0 to 16 in the source, are divided by 16.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998,
    doi:10.24432/C50P49 (the test part of it).
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)  # (1797, 64), (1797,)
    train, test = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=seed)
    pixels = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    targets = torch.tensor(labels, dtype=torch.int64)
    return ImageSet("digits", pixels[train], targets[train], pixels[test], targets[test], DIGITS)


def mnist() -> ImageSet:
    """MNIST: 60 000 + 10 000 handwritten digits, 1×28×28, in the original order.

    Downloaded (12 MB) when first asked for; see ``coursekit data``.

    Raises:
        DataUnavailable: it is not on this machine and cannot be downloaded.
        CourseError: a file is damaged, or the data folder cannot be written.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document
    recognition, Proceedings of the IEEE 86, 1998.
    """
    return _idx_set("mnist", DIGITS)


def fashion_mnist() -> ImageSet:
    """Fashion-MNIST: 60 000 + 10 000 pictures of clothing, 1×28×28; downloaded (31 MB) like ``mnist``.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms, arXiv:1708.07747, 2017.
    """
    return _idx_set("fashion_mnist", FASHION_MNIST_CLASSES)


def cifar10() -> ImageSet:
    """CIFAR-10: 50 000 + 10 000 colour photographs of ten kinds, 3×32×32; downloaded (170 MB) like ``mnist``.

    In memory it takes 740 MB.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    entry = store.find("cifar10")
    store.fetch(entry)
    *batches, (test_labels, test_images) = (store.read(entry, file) for file in entry.files)
    labels, images = zip(*batches, strict=True)
    return ImageSet(
        "cifar10",
        _unit(np.concatenate(images)),
        _labels(np.concatenate(labels)),
        _unit(test_images),
        _labels(test_labels),
        CIFAR10_CLASSES,
    )


def _idx_set(name: str, classes: tuple[str, ...]) -> ImageSet:
    """A set of four IDX files: training images and labels, test images and labels."""
    entry = store.find(name)
    store.fetch(entry)
    images, labels, test_images, test_labels = (store.read(entry, file) for file in entry.files)
    return ImageSet(
        name,
        _unit(images[:, None]),
        _labels(labels),
        _unit(test_images[:, None]),
        _labels(test_labels),
        classes,
    )


def _unit(pixels: UInt8[np.ndarray, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return torch.from_numpy(np.divide(pixels, 255, dtype=np.float32))


def _labels(labels: UInt8[np.ndarray, " n"]) -> Int[Tensor, " n"]:
    return torch.from_numpy(labels.astype(np.int64))
