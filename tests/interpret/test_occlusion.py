import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from coursekit.interpret import activations, occluded_activation, occlusion, spread_over_pixels


@pytest.fixture
def linear(images):
    """A linear score, and what each pixel contributes to it, w·x, (3, 8, 8)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 4)).double()
    contributions = model[1].weight[2].detach().reshape(2, 8, 8) * images
    return model, contributions.sum(dim=1)


def first(output):
    return output.flatten(1)[:, 0]


def drop(model, images, **window):
    return model(images).detach()[:, 2, None, None] - occlusion(model, images, 2, **window)


# --- scores of covered images


def test_the_name_is_the_function_even_if_the_module_has_been_imported():
    import coursekit.interpret.occlusion  # noqa: F401
    from coursekit.interpret import occlusion

    assert callable(occlusion)


def test_drops_of_a_linear_score_are_the_block_sums_of_weight_times_pixel(linear, images):
    model, contributions = linear
    drops = drop(model, images, window=(2, 4), stride=(2, 4))
    torch.testing.assert_close(drops, 8 * avg_pool2d(contributions, (2, 4)))


def test_a_window_over_the_whole_image_leaves_the_score_of_the_fill(tiny, images):
    fill = torch.rand(2, 8, 8, dtype=torch.float64)
    values = occlusion(tiny, images, 1, window=8, stride=1, fill=fill)
    assert values.shape == (3, 1, 1)
    torch.testing.assert_close(values[:, 0, 0], tiny(fill[None]).detach()[:, 1].expand(3))


@pytest.mark.parametrize(("window", "stride"), [(3, 2), ((5, 2), (2, 1)), (8, 3), ((1, 8), 1), (1, 1)])
@pytest.mark.parametrize("fill", [0.5, torch.tensor([[[0.1]], [[0.9]]])], ids=["grey", "colour"])
def test_scores_are_those_of_images_covered_one_by_one(residual, images, window, stride, fill):
    values = occlusion(residual, images, 3, window, stride, fill, batch_size=7)
    height, width = window if isinstance(window, tuple) else (window, window)
    down, right = stride if isinstance(stride, tuple) else (stride, stride)
    for r in range(values.shape[1]):
        for c in range(values.shape[2]):
            top, left = min(r * down, 8 - height), min(c * right, 8 - width)
            covered = images.clone()
            covered[:, :, top : top + height, left : left + width] = fill
            torch.testing.assert_close(values[:, r, c], residual(covered).detach()[:, 3])
    assert top + height == left + width == 8  # the last windows end with the image


def test_the_batch_size_does_not_matter(tiny, images):
    values = [occlusion(tiny, images, 0, 3, 2, batch_size=b) for b in (1, 5, 1000)]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])


def test_each_image_may_ask_for_its_own_class(tiny, images):
    own = occlusion(tiny, images, torch.tensor([3, 0, 2]), 4, 2)
    for i, k in enumerate((3, 0, 2)):
        torch.testing.assert_close(own[i], occlusion(tiny, images, k, 4, 2)[i])


def test_the_target_may_be_a_function_of_the_output(tiny, images):
    torch.testing.assert_close(occlusion(tiny, images, first, 4, 2), occlusion(tiny, images, 0, 4, 2))


def test_float32_stays_float32(tiny, images):
    assert occlusion(tiny.float(), images.float(), 0, 4, 4).dtype == torch.float32


def test_occluded_activation_is_the_sum_of_the_map(tiny, images):
    values = occluded_activation(tiny, images, "relu2", 3, window=4, stride=4, fill=0.2)
    covered = images.clone()
    covered[:, :, 4:, :4] = 0.2
    torch.testing.assert_close(values[:, 1, 0], activations(tiny, covered, "relu2")[:, 3].sum(dim=(1, 2)))


def test_occluded_activation_of_a_layer_without_places_is_the_units_value(tiny, images):
    values = occluded_activation(tiny, images, "output", 1, window=4, stride=2)
    torch.testing.assert_close(values, occlusion(tiny, images, 1, window=4, stride=2))


# --- spreading over pixels


def test_a_window_of_one_pixel_gives_weight_times_pixel(linear, images):
    model, contributions = linear
    torch.testing.assert_close(spread_over_pixels(drop(model, images, window=1, stride=1), (8, 8), 1, 1), contributions)


@pytest.mark.parametrize(("window", "stride"), [((3, 5), (2, 1)), (4, 4), (8, 1)])
def test_each_pixel_gets_the_mean_of_the_windows_that_cover_it(window, stride):
    image_size = (9, 8)
    (height, width), (down, right) = ((x, x) if isinstance(x, int) else x for x in (window, stride))
    rows, cols = -((height - 9) // down) + 1, -((width - 8) // right) + 1
    values = torch.rand(2, rows, cols, dtype=torch.float64)
    total, count = torch.zeros(2, *image_size, dtype=torch.float64), torch.zeros(image_size, dtype=torch.float64)
    for r in range(rows):
        for c in range(cols):
            top, left = min(r * down, 9 - height), min(c * right, 8 - width)
            total[:, top : top + height, left : left + width] += values[:, r, c, None, None]
            count[top : top + height, left : left + width] += 1
    torch.testing.assert_close(spread_over_pixels(values, image_size, window, stride), total / count)


def test_values_of_another_window_are_refused():
    with pytest.raises(ValueError, match=r"window of 4×4 has 3×3 positions in an image of 8×8, got shape \(1, 2, 3\)"):
        spread_over_pixels(torch.zeros(1, 2, 3), (8, 8), 4, 2)


# --- the model and the images stay as they were


def test_model_and_images_are_unchanged_also_after_an_error(residual, images, unchanged):
    before = images.clone()
    with unchanged(residual):
        occlusion(residual, images, 0, 3, 2)
        occluded_activation(residual, images, "block", 0, 3, 2)
        with pytest.raises(ValueError, match="target: expected an integer from 0 to 3, got 4"):
            occlusion(residual, images, 4, 3, 2)
        with pytest.raises(ValueError, match="channel of layer 'block': expected an integer from 0 to 2, got 3"):
            occluded_activation(residual, images, "block", 3, 3, 2)
    assert torch.equal(images, before)


def test_a_model_that_works_in_place_does_not_spoil_the_next_window(images):
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(128, 4)).double()
    images = images - 0.5
    plain = nn.Sequential(nn.ReLU(), *model[1:])
    torch.testing.assert_close(occlusion(model, images, 0, 3, 1), occlusion(plain, images, 0, 3, 1))


# --- bad input


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (9, 1, "window: expected 1×1 up to the image's 8×8, got 9×9"),
        ((2, 9), 1, "window: expected 1×1 up to the image's 8×8, got 2×9"),
        (0, 1, "window: expected 1×1 up to the image's 8×8, got 0×0"),
        (3, 0, "stride: expected 1×1 up to the window's 3×3, beyond which pixels are never covered, got 0×0"),
        ((3, 2), (1, 3), "stride: expected 1×1 up to the window's 3×2, beyond which pixels are never covered, got 1×3"),
    ],
)
def test_windows_and_strides_that_do_not_cover_the_image_are_refused(tiny, images, window, stride, message):
    with pytest.raises(ValueError, match=message):
        occlusion(tiny, images, 0, window, stride)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (torch.zeros(8), r"a number, or shape \(2, 1, 1\) or \(2, 8, 8\), got shape \(8,\)"),
        (torch.zeros(2, 2, 8, 8), r"a number, .*, got shape \(2, 2, 8, 8\)"),
        (torch.full((2, 8, 8), torch.nan), "fill: 128 of 128 numbers are NaN or infinite"),
        (torch.zeros(3, 1, 1), r"a number, or shape \(2, 1, 1\) or \(2, 8, 8\), got shape \(3, 1, 1\)"),
        (float("nan"), "fill: expected a finite number, got nan"),
    ],
)
def test_fills_that_do_not_fit_are_refused(tiny, images, fill, message):
    with pytest.raises(ValueError, match=message):
        occlusion(tiny, images, 0, 3, 1, fill)


def test_a_target_for_other_images_is_refused(tiny, images):
    with pytest.raises(ValueError, match=r"target: expected one class for each item, shape \(3,\), got \(4,\)"):
        occlusion(tiny, images, torch.zeros(4, dtype=torch.int64), 3, 1)


@pytest.mark.parametrize("kind", [torch.Tensor.tolist, torch.Tensor.numpy, lambda y: y.float()])
def test_classes_must_be_an_integer_tensor_even_if_a_batch_has_as_many_images(without_annotations, kind):
    """Of 32 images in batches of 32: every batch holds as many covered images as there are images."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    with pytest.raises(TypeError, match=r"target: expected (a tensor, got (list|ndarray); torch.as_tensor|integers)"):
        occlusion(model, torch.rand(32, 1, 4, 4), kind(torch.arange(32) % 4), 2, 2)


def test_a_function_is_judged_by_the_length_of_each_batch(tiny, images):
    own = torch.tensor([3, 0, 2])
    message = r"target: expected one score per image, shape \(5,\), got \(3,\)"
    with pytest.raises(ValueError, match=message):
        occlusion(tiny, images, lambda output: output[torch.arange(3), own], 4, 2, batch_size=5)


def test_a_function_may_pick_the_scores_from_a_tuple(tiny, images):
    class Pair(nn.Module):
        def forward(self, x):
            return tiny(x), x

    values = occlusion(Pair(), images, lambda output: output[0][:, 2], 4, 2, batch_size=2)
    torch.testing.assert_close(values, occlusion(tiny, images, 2, 4, 2))
    with pytest.raises(TypeError, match=r"Pair returns a tuple, .*pass as target a function that picks N scores"):
        occlusion(Pair(), images, 2, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 2.0}, "window: expected an integer, got float 2.0"),
        ({"stride": (1, True)}, "stride: expected an integer, got bool True"),
        ({"fill": "grey"}, "fill: expected a number, got str 'grey'"),
        ({"fill": [0.1, 0.2]}, "fill: expected a number, got list"),
        ({"fill": torch.zeros(2, 8, 8).byte()}, "fill: expected float32 or float64, got uint8"),
        ({"batch_size": 2.5}, "batch_size: expected an integer, got float 2.5"),
        ({"images": torch.zeros(1, 2, 8, 8).long()}, "images: expected float32 or float64, got int64"),
        ({"images": np.zeros((1, 2, 8, 8))}, "images: expected a tensor, got ndarray"),
    ],
)
def test_arguments_of_another_type_are_refused(without_annotations, tiny, images, arguments, message):
    arguments = {"images": images, "window": 2, "stride": 1} | arguments
    with pytest.raises(TypeError, match=message):
        occlusion(tiny, target=0, **arguments)
    with pytest.raises(TypeError, match=message):
        occluded_activation(tiny, layer="relu1", channel=0, **arguments)


def test_a_window_of_three_numbers_a_batch_size_of_0_and_integer_values_are_refused(without_annotations, tiny, images):
    with pytest.raises(ValueError, match="window: expected one number or two, got 3"):
        occlusion(tiny, images, 0, (2, 2, 2), 1)
    with pytest.raises(ValueError, match="batch_size: expected an integer from 1 on, got 0"):
        occlusion(tiny, images, 0, 2, 1, batch_size=0)
    with pytest.raises(TypeError, match="values: expected float32 or float64, got int64"):
        spread_over_pixels(torch.zeros(1, 3, 3).long(), (8, 8), 4, 2)


def test_the_error_for_an_unknown_layer_suggests_similar_ones(tiny, images):
    with pytest.raises(ValueError, match="unknown layer 'conv3': did you mean conv"):
        occluded_activation(tiny, images, "conv3", 0, 3, 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:0], r"images: expected at least one element, got shape \(0, 2, 8, 8\)"),
        (lambda x: x[:, :1], r"Sequential cannot take images of shape \(\d+, 1, 8, 8\)"),
        (lambda x: x.masked_fill(x > 0.9, float("nan")), "images: .* numbers are NaN or infinite"),
    ],
)
def test_bad_images_are_refused(tiny, images, spoil, message):
    with pytest.raises(ValueError, match=message):
        occlusion(tiny, spoil(images), 0, 3, 1)


def test_a_net_in_training_mode_with_dropout_is_refused(images):
    with pytest.raises(ValueError, match=r"training mode, and with Dropout .* call model.eval\(\) first"):
        occlusion(nn.Sequential(nn.Dropout(), nn.Flatten()), images, 0, 3, 1)
