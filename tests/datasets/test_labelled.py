from dataclasses import FrozenInstanceError

import pytest
import torch

from coursekit import datasets
from coursekit.datasets import ImageDataset, LabelledImages, SegmentedImages

CLASSES = ("cat", "dog", "horse")


@pytest.fixture
def data():
    """Five segmented images that are told apart by every part."""
    n = torch.arange(5)
    images = (n / 10).view(5, 1, 1, 1).expand(5, 2, 3, 4).clone()
    masks = torch.arange(12).view(3, 4) <= n[:, None, None]
    return SegmentedImages(images, n % 3, CLASSES, masks, n[:, None] + torch.arange(4))


def numbers(data):
    """Which of the five images these are, read off each part on its own."""
    by_part = {
        "images": (10 * data.images[:, 0, 0, 0]).round().long().tolist(),
        "masks": (data.masks.sum(dim=(1, 2)) - 1).tolist(),
        "boxes": data.boxes[:, 0].tolist(),
    }
    assert len(set(map(tuple, by_part.values()))) == 1, by_part
    assert data.labels.tolist() == [i % 3 for i in by_part["images"]]
    return by_part["images"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, 2), [0, 2, 4]),
        (slice(9, None), []),
        (torch.tensor([4, 0, 4]), [4, 0, 4]),
        (torch.tensor([-1], dtype=torch.int32), [4]),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
        (torch.zeros(5, dtype=torch.bool), []),
    ],
    ids=["slice", "stride", "empty slice", "numbers", "int32", "truth values", "none"],
)
def test_an_index_selects_every_part_of_the_same_images(data, index, expected):
    selected = data[index]
    assert type(selected) is SegmentedImages
    assert selected.classes == CLASSES
    assert len(selected) == len(expected)
    assert numbers(selected) == expected


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (2, TypeError, r"index: expected a slice or a tensor, got int; data\[i : i \+ 1\] is one item"),
        ([0, 1], TypeError, "index: expected a slice or a tensor, got list"),
        (torch.tensor([0, 1], dtype=torch.uint8), TypeError, "expected integers or truth values, got uint8"),
        (torch.tensor([0.0]), TypeError, "expected integers or truth values, got float32"),
        (torch.tensor(2), ValueError, r"index: expected shape \(m,\), got \(\)"),
        (torch.zeros(1, 2, dtype=torch.long), ValueError, r"index: expected shape \(m,\), got \(1, 2\)"),
        (torch.tensor([5]), IndexError, "out of bounds"),
        (torch.ones(4, dtype=torch.bool), IndexError, "does not match"),
    ],
)
def test_another_index_is_refused(without_annotations, data, index, error, message):
    with pytest.raises(error, match=message):
        data[index]


def test_images_are_not_iterated_one_by_one(without_annotations, data):
    with pytest.raises(TypeError, match="index: expected a slice"):
        list(data)


@pytest.fixture
def moved(monkeypatch):
    """The shapes of the tensors that are moved, and where to; nothing is moved, so no such device is needed."""
    shapes = []

    def to(part, device):
        shapes.append((tuple(part.shape), device))
        return part

    monkeypatch.setattr(torch.Tensor, "to", to)
    return shapes


def test_to_moves_every_part(data, moved):
    assert numbers(data.to("cuda")) == [0, 1, 2, 3, 4]
    assert moved == [((5, 2, 3, 4), "cuda"), ((5,), "cuda"), ((5, 3, 4), "cuda"), ((5, 4), "cuda")]


def test_what_is_made_is_not_changed_by_accident(data):
    with pytest.raises(FrozenInstanceError):
        data.images = data.images[:2]


IMAGES, LABELS = torch.linspace(0, 1, 24).view(2, 1, 3, 4), torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (IMAGES.numpy(), LABELS, TypeError, "images: expected a tensor, got ndarray"),
        ((255 * IMAGES).byte(), LABELS, TypeError, "images: expected float32 or float64, got uint8"),
        (IMAGES.half(), LABELS, TypeError, "images: expected float32 or float64, got float16"),
        (IMAGES[0], LABELS, ValueError, r"images: expected shape \(n, c, h, w\), got \(1, 3, 4\)"),
        (IMAGES + 1, LABELS, ValueError, r"images: expected numbers in \[0, 1\]"),
        (IMAGES * torch.nan, LABELS, ValueError, "images: 24 of 24 numbers are NaN or infinite"),
        (IMAGES, LABELS.float(), TypeError, "labels: expected integers, got float32"),
        (IMAGES, LABELS == 0, TypeError, "labels: expected integers, got bool"),
        (IMAGES, LABELS[:1], ValueError, r"labels: expected one class for each item, shape \(2,\), got \(1,\)"),
        (IMAGES, LABELS + 1, ValueError, r"labels: expected classes from 0 to 2, got \[3\]"),
        (IMAGES, LABELS - 1, ValueError, r"labels: expected classes from 0 to 2, got \[-1\]"),
    ],
)
def test_parts_that_are_not_labelled_images_are_refused(without_annotations, images, labels, error, message):
    with pytest.raises(error, match=message):
        LabelledImages(images, labels, CLASSES)


MASKS, BOXES = torch.ones(2, 3, 4, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.long)


@pytest.mark.parametrize(
    ("masks", "boxes", "error", "message"),
    [
        (MASKS.float(), BOXES, TypeError, r"masks: expected truth values \(torch.bool\), got float32"),
        (MASKS[:1], BOXES, ValueError, r"masks: expected shape \(2, 3, 4\), got \(1, 3, 4\)"),
        (MASKS.mT, BOXES, ValueError, r"masks: expected shape \(2, 3, 4\), got \(2, 4, 3\)"),
        (MASKS, BOXES.float(), TypeError, "boxes: expected a tensor of int64"),
        (MASKS, BOXES[:, :2], ValueError, r"boxes: expected shape \(2, 4\), got \(2, 2\)"),
    ],
)
def test_masks_and_boxes_that_do_not_fit_are_refused(without_annotations, masks, boxes, error, message):
    with pytest.raises(error, match=message):
        SegmentedImages(IMAGES, LABELS, CLASSES, masks, boxes)


# The two parts of a data set


def test_a_dataset_says_in_a_line_what_it_is():
    assert repr(datasets.digits()) == "digits: 1437 + 360 test images of 1×8×8, 10 classes"


def test_both_parts_of_a_dataset_move(moved):
    there = datasets.digits().to("cuda")
    assert [shape for shape, _ in moved] == [(1437, 1, 8, 8), (1437,), (360, 1, 8, 8), (360,)]
    assert (there.name, there.classes) == ("digits", datasets.DIGIT_CLASSES)


def test_parts_of_different_data_are_refused(data):
    other_size = LabelledImages(IMAGES[..., :2], LABELS, CLASSES)
    with pytest.raises(ValueError, match="expected images of one size, got 2×3×4, 1×3×2"):
        ImageDataset("mixed", data, other_size)
    other_classes = LabelledImages(IMAGES, LABELS, ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"expected the same classes, got \('cat'.*'a'"):
        ImageDataset("mixed", data, other_classes)


def test_a_word_is_no_tuple_of_classes(without_annotations):
    with pytest.raises(TypeError, match="classes: expected a tuple of names, got str"):
        LabelledImages(torch.rand(2, 1, 3, 3), torch.tensor([0, 1]), "cat")
