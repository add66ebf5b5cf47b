"""Gradients compared with closed forms, with finite differences, and with one image at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.interpret import activations, input_gradient, saliency, unit_gradient
from coursekit.nets import convnet

RULES = ("gradient", "deconvnet", "guided")


@pytest.fixture
def linear():
    """Scores Wx of images 2×8×8, 4 classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 4, bias=False)).double()


class Cut(nn.Module):
    def forward(self, x):
        return x.detach().flatten(1)


# --- scores


def test_the_gradient_of_a_linear_score_is_its_weights(linear, images):
    weights = linear[1].weight.detach().view(4, 2, 8, 8)
    torch.testing.assert_close(input_gradient(linear, images, 2), weights[2].expand(3, -1, -1, -1), rtol=0, atol=0)
    each = input_gradient(linear, images, torch.tensor([3, 0, 1]))
    torch.testing.assert_close(each, weights[[3, 0, 1]], rtol=0, atol=0)
    margin = input_gradient(linear, images, lambda output: output[:, 1] - output[:, 0])
    torch.testing.assert_close(margin, (weights[1] - weights[0]).expand(3, -1, -1, -1))


def test_saliency_is_the_largest_magnitude_over_the_channels(linear, images):
    w = linear[1].weight.detach()[1].view(2, 8, 8)
    expected = torch.maximum(w[0].abs(), w[1].abs())
    torch.testing.assert_close(saliency(linear, images, 1), expected.expand(3, 8, 8), rtol=0, atol=0)


def test_a_net_without_biases_is_the_product_of_its_gradient_and_the_image(images):
    """With ReLU and max pooling f(tx) = t f(x) for t > 0, so by Euler ⟨∇f(x), x⟩ = f(x)."""
    net = convnet(2, 8, 4, widths=(3, 4)).double()
    for module in net.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    product = (input_gradient(net, images, 3) * images).sum(dim=(1, 2, 3))
    torch.testing.assert_close(product, net(images)[:, 3].detach())


def test_the_gradient_predicts_small_changes(residual, images):
    step = 1e-6 * torch.randn_like(images)
    with torch.no_grad():
        change = (residual(images + step) - residual(images - step))[:, 2]
    predicted = 2 * (input_gradient(residual, images, 2) * step).sum(dim=(1, 2, 3))
    torch.testing.assert_close(predicted, change, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_equals_its_images_one_by_one(tiny, images, rule):
    classes = torch.tensor([1, 3, 0])
    together = input_gradient(tiny, images, classes, rule)
    alone = [input_gradient(tiny, image[None], int(k), rule) for image, k in zip(images, classes, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_it_works_without_gradient_mode_and_changes_nothing(tiny, images, unchanged):
    given = images.clone()
    with unchanged(tiny), torch.no_grad():
        found = [input_gradient(tiny, images, 0, rule) for rule in RULES]
        found += [saliency(tiny, images, 0), unit_gradient(tiny, images, "conv2", 0)]
    assert torch.equal(images, given)
    assert not images.requires_grad
    assert not any(gradient.requires_grad for gradient in found)


def test_images_that_belong_to_a_graph_stay_out_of_it(tiny, images):
    x = images.requires_grad_()
    input_gradient(tiny, x, 0)
    assert x.grad is None


def test_a_first_layer_in_place_does_not_change_the_images(images):
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(128, 2).double())
    given = images - 0.5
    before = given.clone()
    for rule in RULES:
        input_gradient(net, given, 0, rule)
    assert torch.equal(given, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_and_float64_are_kept(tiny, images, dtype):
    net, x = tiny.to(dtype), images.to(dtype)
    assert input_gradient(net, x, 0, "guided").dtype == dtype
    assert unit_gradient(net, x, "conv2", 0, (1, 1)).dtype == dtype


# --- units and channels


def test_a_unit_of_a_convolution_has_its_filter_as_gradient(images):
    net = nn.Sequential(nn.Conv2d(2, 3, 3).double())
    found = unit_gradient(net, images, "0", 2, (1, 4))
    expected = torch.zeros_like(images)
    expected[:, :, 1:4, 4:7] = net[0].weight[2].detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_each_image_may_have_its_own_position(tiny, images):
    places = torch.tensor([[0, 3], [2, 1], [1, 1]])
    together = unit_gradient(tiny, images, "relu2", 1, places, "deconvnet")
    for i, place in enumerate(places.tolist()):
        alone = unit_gradient(tiny, images[i : i + 1], "relu2", 1, tuple(place), "deconvnet")
        torch.testing.assert_close(together[i : i + 1], alone)


def test_without_a_position_it_is_the_mean_over_the_units_of_the_channel(tiny, images):
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    units = unit_gradient(tiny, images[:1].expand(16, -1, -1, -1), "conv2", 1, places)
    mean = unit_gradient(tiny, images[:1], "conv2", 1)
    torch.testing.assert_close(mean, units.mean(dim=0, keepdim=True))


def test_a_unit_of_a_fully_connected_layer_is_a_score(tiny, images):
    torch.testing.assert_close(unit_gradient(tiny, images, "output", 2), input_gradient(tiny, images, 2))


def test_an_in_place_relu_after_the_layer_does_not_disturb_it(images):
    conv = nn.Conv2d(2, 3, 3).double()
    plain = nn.Sequential(conv, nn.Identity())
    net = nn.Sequential(conv, nn.ReLU(inplace=True))
    assert (activations(plain, images, "0")[:, 0, 2, 2] != activations(net, images, "1")[:, 0, 2, 2]).any()
    expected = unit_gradient(plain, images, "0", 0, (2, 2))
    torch.testing.assert_close(unit_gradient(net, images, "0", 0, (2, 2), "guided"), expected)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv3"}, "unknown layer 'conv3': did you mean conv"),
        ({"channel": 4}, "channel of layer 'conv2': expected an integer from 0 to 3, got 4"),
        ({"channel": -1}, "channel of layer 'conv2': expected an integer from 0 to 3, got -1"),
        ({"position": (4, 0)}, r"position \(4, 0\) lies outside the 4×4 map of layer 'conv2'"),
        ({"position": (0, -1)}, r"position \(0, -1\) lies outside the 4×4 map"),
        ({"position": torch.tensor([[0, 0], [4, 0], [0, 0]])}, "lies outside the 4×4 map"),
        (
            {"position": torch.tensor([[0, 0], [1, 1]])},
            r"position: expected one .row, column., or one for each of the 3 images",
        ),
        ({"layer": "output", "position": (0, 0)}, "the units of layer 'output' have no position: leave out position"),
        ({"rule": "deconv"}, "unknown rule 'deconv'"),
    ],
)
def test_a_unit_that_does_not_exist_is_refused(without_annotations, tiny, images, unchanged, arguments, message):
    with unchanged(tiny), pytest.raises(ValueError, match=message):
        unit_gradient(tiny, images, **{"layer": "conv2", "channel": 0} | arguments)


def test_a_layer_with_outputs_of_another_kind_is_refused(images):
    net = nn.Sequential(nn.Flatten(2), nn.Flatten())
    with pytest.raises(ValueError, match=r"outputs .N, channels, h, w. or .N, units., '0' gives .3, 2, 64."):
        unit_gradient(net, images, "0", 0)


@pytest.mark.parametrize("function", [input_gradient, saliency])
def test_bad_images_and_targets_are_refused(tiny, images, function):
    for bad, target, message in [
        (images[:0], 0, "images: expected at least one element"),
        (images[:, :1], 0, r"cannot take images of shape \(3, 1, 8, 8\)"),
        (images * torch.nan, 0, "NaN or infinite"),
        (images, 4, "target: expected an integer from 0 to 3, got 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(tiny, bad, target)


def test_dropout_in_training_mode_is_refused(tiny, images):
    net = nn.Sequential(tiny, nn.Dropout()).train()
    with pytest.raises(ValueError, match=r"training mode, and with Dropout .* call model.eval\(\) first"):
        input_gradient(net, images, 0)


def test_a_score_without_a_graph_is_refused(tiny, images):
    with pytest.raises(ValueError, match="no gradient reaches the images"):
        input_gradient(Cut(), images, 0)
    with pytest.raises(ValueError, match="no gradient reaches the images"):
        input_gradient(nn.Sequential(Cut(), nn.Linear(128, 2).double()), images, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(3, 2, 8, 8).long()}, "images: expected float32 or float64, got int64"),
        ({"images": torch.zeros(3, 2, 8, 8).half()}, "images: expected float32 or float64, got float16"),
        ({"images": np.zeros((3, 2, 8, 8))}, "images: expected a tensor, got ndarray"),
        ({"target": [0, 1, 2]}, r"target: expected a tensor, got list; torch.as_tensor\(target\) makes one"),
        ({"target": np.array([0, 1, 2])}, r"target: expected a tensor, got ndarray; torch.as_tensor\(target\)"),
        ({"model": torch.relu}, "model: expected an nn.Module, got builtin_function_or_method"),
    ],
)
@pytest.mark.parametrize("function", [input_gradient, saliency])
def test_arguments_of_another_type_are_refused(without_annotations, tiny, images, function, arguments, message):
    with pytest.raises(TypeError, match=message):
        function(**{"model": tiny, "images": images, "target": 0} | arguments)


def test_a_model_that_returns_a_tuple_needs_a_function_as_target(tiny, images):
    class Pair(nn.Module):
        def forward(self, x):
            return tiny(x), x

    with pytest.raises(TypeError, match=r"Pair returns a tuple, .*pass as target a function that picks N scores"):
        saliency(Pair(), images, 1)
    assert torch.equal(saliency(Pair(), images, lambda output: output[0][:, 1]), saliency(tiny, images, 1))
