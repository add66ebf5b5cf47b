import math

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from coursekit import datasets
from coursekit.datasets.synthetic import BACKGROUND_LIMIT, SHAPE_CLASSES, SHAPE_LIMIT, signed_distance


def test_the_name_is_the_function_even_when_its_module_has_been_imported():
    from importlib import import_module

    import_module("coursekit.datasets.synthetic")
    from coursekit.datasets import shapes

    assert callable(shapes)
    assert datasets.shapes is shapes


def test_shapes_are_well_formed_and_say_what_they_are():
    data = datasets.shapes(300)
    assert repr(data) == "300 images of 3×32×32, 6 classes, with masks and boxes"
    assert data.images.dtype == torch.float32
    assert 0 <= data.images.min() < 0.01 < 0.99 < data.images.max() <= 1
    assert data.labels.unique().tolist() == list(range(len(data.classes)))


def test_an_image_depends_on_the_seed_and_its_number_alone():
    few, many, others = datasets.shapes(7), datasets.shapes(50), datasets.shapes(7, seed=1)
    assert torch.equal(few.images, many.images[:7])
    assert torch.equal(few.masks, many.masks[:7])
    assert not torch.equal(few.labels, others.labels)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    datasets.shapes(3)
    assert torch.equal(before, torch.get_rng_state())


def test_another_size_draws_the_same_scenes():
    small, large = datasets.shapes(100, size=24), datasets.shapes(100, size=72)
    assert torch.equal(small.labels, large.labels)
    assert (large.boxes - 3 * small.boxes).abs().max() <= 4  # of 72 pixels; a small pixel is 3 large ones
    blocks = large.images.unflatten(3, (24, 3)).unflatten(2, (24, 3)).mean(dim=(3, 5))  # (100, 3, 24, 24)
    assert (blocks - small.images).abs().mean() < 0.01


def test_the_radius_sets_the_size_of_the_shapes_and_leaves_the_centre_free():
    data = datasets.shapes(300, size=40, radius=(0.16, 0.24))
    sides = (data.boxes[:, 2:] - data.boxes[:, :2]).amax(dim=1)  # (n,)
    assert sides.max() <= 2 * 0.24 * 40 + 1
    assert data.masks[:, 20, 20].double().mean() < 0.35 < datasets.shapes(300).masks[:, 16, 16].double().mean()


@pytest.mark.parametrize(
    ("radius", "error", "message"),
    [
        (0.2, TypeError, "radius: expected the least and the greatest radius, got 0.2"),
        ((0.0, 0.2), ValueError, "radius: expected a number > 0 and ≤ 0.5, got 0.0"),
        ((0.3, 0.2), ValueError, "radius: expected a number ≥ 0.3 and ≤ 0.5, got 0.2"),
        ((0.2, 0.6), ValueError, "radius: expected a number ≥ 0.2 and ≤ 0.5, got 0.6"),
        ((0.2, "a"), TypeError, "radius: expected a number, got str 'a'"),
    ],
)
def test_a_radius_that_no_shape_can_have_is_refused(without_annotations, radius, error, message):
    with pytest.raises(error, match=message):
        datasets.shapes(3, radius=radius)


@pytest.mark.parametrize("size", [16, 33])
def test_boxes_frame_the_masks_as_slices_do(size):
    data = datasets.shapes(60, size=size, seed=2)
    for mask, box in zip(data.masks, data.boxes, strict=True):
        inside = mask.nonzero()
        assert box.tolist() == [*inside.amin(dim=0).tolist(), *(inside.amax(dim=0) + 1).tolist()]


def test_shapes_stand_out_from_their_background_by_a_quarter_in_two_channels():
    data = datasets.shapes(300, size=48)
    masks = data.masks[:, None].float()
    core = -max_pool2d(-masks, 3, stride=1, padding=1) > 0  # pixels whose neighbours are inside as well
    background = max_pool2d(masks, 5, stride=1, padding=2) == 0  # soft tips reach a second pixel
    assert data.images.masked_fill(~background, 0).max() <= BACKGROUND_LIMIT + 1e-6
    for image, inside in zip(data.images, core, strict=True):
        colour = image[:, inside[0]]  # (3, pixels)
        assert (colour - colour[:, :1]).abs().max() < 1e-6
        assert colour[:, 0].sort().values[1] >= SHAPE_LIMIT >= BACKGROUND_LIMIT + 0.25


def test_colours_of_shape_and_background_do_not_tell_the_class():
    """A linear guess from the colours' statistics is right about once in six, on 3000 other images."""

    def features(data):
        background = ~data.masks[:, None]
        fraction = background / background.sum(dim=(2, 3), keepdim=True)
        mean = (data.images * fraction).sum(dim=(2, 3), keepdim=True)
        variance = ((data.images - mean).square() * fraction).sum(dim=(2, 3))
        brightest = data.images.masked_fill(background, 0).amax(dim=(2, 3))
        return torch.cat([mean.flatten(1), variance.sqrt(), brightest, torch.ones(len(mean), 1)], dim=1)  # (n, 10)

    train, test = datasets.shapes(3000, seed=3), datasets.shapes(3000, seed=4)
    weights = torch.linalg.lstsq(features(train), torch.eye(6)[train.labels]).solution
    guess = (features(test) @ weights).argmax(dim=1)
    assert (guess == test.labels).float().mean() < 0.22


def sector(corners, circumradius):
    return corners / 2 * circumradius**2 * math.sin(2 * math.pi / corners)


AREAS = {
    "circle": math.pi * 0.9**2,
    "square": 1.4**2,
    "triangle": sector(3, 1),
    "cross": 2 * 1.9 * 0.56 - 0.56**2,
    "ring": math.pi * (0.95**2 - 0.51**2),
    "star": 10 * 0.42 * math.sin(math.pi / 5) / 2,
}


@pytest.mark.parametrize("name", SHAPE_CLASSES)
def test_areas_are_those_of_geometry_and_each_shape_fits_the_unit_circle(name):
    side = (torch.arange(-600, 600) + 0.5) / 500
    u, v = side.expand(1200, 1200), side[:, None].expand(1200, 1200)
    inside = signed_distance(name, u, v) <= 0
    assert float(inside.sum()) / 500**2 == pytest.approx(AREAS[name], rel=2e-3)
    assert torch.hypot(u, v)[inside].max() <= 1 + 1e-6


@pytest.mark.parametrize("name", SHAPE_CLASSES)
def test_distances_grow_by_one_per_unit_of_length(name):
    u, v = (4 * torch.rand(2, 500, dtype=torch.float64) - 2).requires_grad_()
    gradients = torch.autograd.grad(signed_distance(name, u, v).sum(), (u, v))
    torch.testing.assert_close(torch.hypot(*gradients), torch.ones_like(u))


def test_the_corners_of_the_star_lie_on_its_outline():
    angles = torch.arange(10, dtype=torch.float64) * math.pi / 5
    radii = torch.tensor([1, 0.42], dtype=torch.float64).repeat(5)
    outline = signed_distance("star", radii * angles.cos(), radii * angles.sin())
    torch.testing.assert_close(outline, torch.zeros_like(outline))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"n: expected an integer from 1 on, got 0"),
        ({"n": 3, "size": 15}, r"size: expected an integer from 16 on, got 15"),
        ({"n": 3, "seed": -1}, r"seed: expected an integer from 0 .*, got -1"),
    ],
)
def test_too_few_images_or_pixels_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.shapes(**arguments)


@pytest.mark.parametrize("name", ["n", "size", "seed"])
@pytest.mark.parametrize("value", [True, 20.0, "20", None])
def test_what_is_not_an_integer_is_refused(without_annotations, name, value):
    with pytest.raises(TypeError, match=f"{name}: expected an integer, got "):
        datasets.shapes(**{"n": 2, name: value})


def test_integers_of_numpy_count_as_integers(without_annotations):
    assert len(datasets.shapes(np.int64(3), size=np.int32(16))) == 3
