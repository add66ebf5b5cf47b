"""Segmentation of images in which the object is known."""

import pytest
import torch

from coursekit import datasets
from coursekit.interpret import segment


@pytest.fixture
def scene():
    """A red square on blue noise, and a saliency that is noisy but right on average."""
    mask = torch.zeros(24, 24, dtype=torch.bool)
    mask[6:15, 8:17] = True
    image = 0.1 * torch.rand(3, 24, 24)
    image[2] += 0.8 * ~mask
    image[0] += 0.8 * mask
    return image, torch.rand(24, 24) + 2 * mask * torch.rand(24, 24), mask


def test_an_object_with_a_colour_of_its_own_is_cut_out(scene):
    image, saliency, mask = scene
    assert torch.equal(segment(image, saliency), mask)


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grey_images_and_both_precisions_are_accepted(scene, components, dtype):
    image, saliency, mask = scene
    found = segment(image[:1].to(dtype), saliency.to(dtype), components)
    assert found.dtype == torch.bool
    assert (found & mask).sum() / (found | mask).sum() > 0.9


def test_only_the_largest_part_is_kept(scene):
    image, saliency, mask = scene
    image[:, 20:23, 1:4] = image[:, 7:10, 10:13]  # as red as the object
    assert torch.equal(segment(image, saliency), mask)


def test_only_the_order_of_the_saliency_matters(scene):
    image, saliency, _ = scene
    assert torch.equal(segment(image, saliency), segment(image, 1e3 * saliency.exp()))


def test_a_saliency_that_is_zero_almost_everywhere_is_enough(scene):
    image, _, mask = scene
    saliency = torch.zeros(24, 24)
    saliency[9:13, 10:14] = 1  # 16 pixels, fewer than 5 %
    assert torch.equal(segment(image, saliency), mask)


def test_a_background_of_one_colour_works():
    image = torch.zeros(3, 16, 16)
    image[:, 4:9, 4:9] = 1
    assert torch.equal(segment(image, image[0]), image[0] > 0)


def test_shapes_are_found_from_their_outlines():
    """The ideal saliency of a net that sees shape is the magnitude of the mask's gradient."""
    data = datasets.shapes(20)
    overlaps = []
    for image, mask in zip(data.images, data.masks, strict=True):
        edges = sum(gradient.abs() for gradient in torch.gradient(mask.float()))
        found = segment(image, edges)
        overlaps.append(((found & mask).sum() / (found | mask).sum()).item())
    assert sorted(overlaps)[10] > 0.6


def test_arguments_stay_as_they_were(scene):
    image, saliency, _ = scene
    image.requires_grad_()
    before = image.detach().clone(), saliency.clone()
    segment(image, saliency)
    assert torch.equal(image, before[0])
    assert torch.equal(saliency, before[1])


@pytest.mark.parametrize(
    ("image", "saliency", "message"),
    [
        (torch.rand(3, 8, 8), torch.rand(8, 6), r"saliency: expected shape \(8, 8\), got \(8, 6\)"),
        (torch.rand(3, 8, 8) * torch.nan, torch.rand(8, 8), "image: 192 of 192 numbers are NaN or infinite"),
        (torch.rand(3, 8, 8), torch.rand(8, 8) / 0, "saliency: 64 of 64 numbers are NaN or infinite"),
        (torch.rand(3, 8, 8), torch.ones(8, 8), "0 foreground and 64 background pixels are too few for 1 Gaussians"),
        (torch.rand(3, 4, 4), torch.rand(4, 4), "1 foreground and 5 background pixels are too few"),
    ],
)
def test_images_that_cannot_be_segmented_are_refused(image, saliency, message):
    with pytest.raises(ValueError, match=message):
        segment(image, saliency)


@pytest.mark.parametrize(
    ("image", "saliency", "components", "message"),
    [
        (torch.zeros(3, 8, 8).byte(), torch.rand(8, 8), 1, "image: expected float32 or float64, got uint8"),
        (torch.rand(3, 8, 8), torch.ones(8, 8).long(), 1, "saliency: expected float32 or float64, got int64"),
        (torch.rand(3, 8, 8).half(), torch.rand(8, 8), 1, "image: expected float32 or float64, got float16"),
        (torch.rand(3, 8, 8).numpy(), torch.rand(8, 8), 1, "image: expected a tensor, got ndarray"),
        (torch.rand(3, 8, 8), torch.rand(8, 8), 1.5, "components: expected an integer, got float 1.5"),
    ],
)
def test_arguments_of_another_type_are_refused(without_annotations, image, saliency, components, message):
    with pytest.raises(TypeError, match=message):
        segment(image, saliency, components)
