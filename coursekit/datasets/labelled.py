"""Labelled images: the type that every image set of the course has."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coursekit.validation import require_index, require_labels, require_mask, require_tensor, require_unit_range

Images = TypeVar("Images", bound="LabelledImages")


@dataclass(frozen=True, eq=False, repr=False)
class LabelledImages:
    """Images and their classes.

    A slice or a one-dimensional tensor of numbers or truth values selects images together with their labels.

    Attributes:
        images: (n, c, h, w), numbers in [0, 1].
        labels: (n,), integers from 0 to ``len(classes)`` − 1.
        classes: the names of the classes.

    Raises:
        TypeError: a part is not a tensor of the right type, or the index is neither a slice nor such a tensor.
        ValueError: the parts do not fit together, a pixel lies outside [0, 1], or a label is not a class.

    >>> data = LabelledImages(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 1, 0]), ("cat", "dog"))
    >>> data
    4 images of 1×8×8, 2 classes
    >>> data[:3]
    3 images of 1×8×8, 2 classes
    >>> data[data.labels == 1].labels
    tensor([1, 1])
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_tensor(self.images, "images", "n c h w", empty=True)
        if len(self):
            require_unit_range(self.images, "images")
        if not isinstance(self.classes, tuple):
            raise TypeError(f"classes: expected a tuple of names, got {type(self.classes).__name__}")
        require_labels(self.labels, "labels", count=len(self), classes=len(self.classes))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self: Images, index: slice | Tensor) -> Images:
        if not isinstance(index, slice):
            require_index(index)
        return self._with_each_part(lambda part: part[index])

    def __repr__(self) -> str:
        return f"{len(self)} images of {_size(self)}, {len(self.classes)} classes"

    def to(self: Images, device: str | torch.device) -> Images:
        """The same images, with all that belongs to them, on ``device``."""
        return self._with_each_part(lambda part: part.to(device))

    def _with_each_part(self: Images, change: Callable[[Tensor], Tensor]) -> Images:
        """A copy with every tensor changed."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            part = getattr(self, field.name)
            if isinstance(part, Tensor):
                changed[field.name] = change(part)
        return replace(self, **changed)


@dataclass(frozen=True, eq=False, repr=False)
class SegmentedImages(LabelledImages):
    """Labelled images of one object each, of which every pixel is known to belong to the object or not.

    Attributes:
        masks: (n, h, w), true where the centre of the pixel lies inside the object.
        boxes: (n, 4), ``top, left, bottom, right`` of each object: ``mask[top:bottom, left:right]`` holds the whole
            object and no empty margin.

    >>> from coursekit import datasets
    >>> data = datasets.shapes(100)[:5]
    >>> data
    5 images of 3×32×32, 6 classes, with masks and boxes
    >>> data.masks.shape, data.boxes.shape
    (torch.Size([5, 32, 32]), torch.Size([5, 4]))
    """

    masks: Bool[Tensor, "n h w"]
    boxes: Int[Tensor, "n 4"]

    def __post_init__(self) -> None:
        super().__post_init__()
        n, _, height, width = self.images.shape
        require_mask(self.masks, "masks", f"{n} {height} {width}")
        if not isinstance(self.boxes, Tensor) or self.boxes.dtype != torch.int64:
            raise TypeError("boxes: expected a tensor of int64")
        if self.boxes.shape != (n, 4):
            raise ValueError(f"boxes: expected shape ({n}, 4), got {tuple(self.boxes.shape)}")

    def __repr__(self) -> str:
        return f"{super().__repr__()}, with masks and boxes"


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """A data set in two parts: images to learn from and images to test on.

    Attributes:
        name: as the registry of data sets has it.
        train, test: images of one size with the same classes.

    >>> from coursekit import datasets
    >>> data = datasets.digits()
    >>> data
    digits: 1437 + 360 test images of 1×8×8, 10 classes
    >>> data.train.images.shape, data.test.labels.shape
    (torch.Size([1437, 1, 8, 8]), torch.Size([360]))
    """

    name: str
    train: LabelledImages
    test: LabelledImages

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise ValueError(f"train, test: expected the same classes, got {self.train.classes}, {self.test.classes}")
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(f"train, test: expected images of one size, got {_size(self.train)}, {_size(self.test)}")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.train.classes

    def __repr__(self) -> str:
        counts = f"{len(self.train)} + {len(self.test)} test images"
        return f"{self.name}: {counts} of {_size(self.train)}, {len(self.classes)} classes"

    def to(self, device: str | torch.device) -> "ImageDataset":
        """Both parts on ``device``."""
        return ImageDataset(self.name, self.train.to(device), self.test.to(device))


def _size(data: LabelledImages) -> str:
    """Channels, height and width of the images, for people."""
    return "×".join(map(str, data.images.shape[1:]))
