import numpy as np
import pytest
import torch
from torch import nn

from coursekit.nets import ResidualBlock, Standardize, convolutional_decoder, convolutional_encoder, fully_connected


def kinds(net):
    return [type(layer) for layer in net]


# --- standardize


def test_standardize_gives_each_channel_mean_0_and_spread_1():
    x = torch.randn(500, 2, 3, 3) * torch.tensor([2.0, 0.1])[:, None, None] + torch.tensor([5.0, -1.0])[:, None, None]
    mean, std = x.mean(dim=(0, 2, 3)), x.std(dim=(0, 2, 3))
    y = Standardize(mean.tolist(), std.tolist())(x)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(dim=(0, 2, 3)), torch.ones(2))


def test_whole_numbers_standardize_like_any():
    x = torch.rand(2, 1, 2, 2)
    torch.testing.assert_close(Standardize([1], [2])(x), (x - 1) / 2, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mean", "std", "error", "message"),
    [
        ([0.5] * 3, [1.0], ValueError, "mean, std: expected one number per channel in each, got 3 and 1"),
        ([], [], ValueError, "mean, std: expected one number per channel in each, got 0 and 0"),
        ([0.5], [0.0], ValueError, "std: expected a number > 0, got 0.0"),
        ([float("nan")], [1.0], ValueError, "mean: expected a finite number, got nan"),
        (["0.5"], [1.0], TypeError, "mean: expected a number, got str '0.5'"),
    ],
)
def test_standardize_refuses_what_is_no_scale(without_annotations, mean, std, error, message):
    with pytest.raises(error, match=message):
        Standardize(mean, std)


# --- fully connected


def test_a_fully_connected_net_has_its_activation_between_the_layers_only():
    net = fully_connected([4, 7, 5, 2], activation=nn.Tanh)
    assert kinds(net) == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in net[::2]] == [(7, 4), (5, 7), (2, 5)]
    assert kinds(fully_connected([4, 2])) == [nn.Linear]


def test_a_fully_connected_net_equals_its_formula():
    net = fully_connected([3, 5, 2]).double()
    x = torch.randn(4, 3, dtype=torch.double)
    expected = (x @ net[0].weight.T + net[0].bias).clamp_min(0) @ net[2].weight.T + net[2].bias
    torch.testing.assert_close(net(x), expected)


def test_the_last_layer_follows_the_output():
    net = fully_connected([4, 7, 2], last=nn.Sigmoid())
    assert kinds(net) == [nn.Linear, nn.ReLU, nn.Linear, nn.Sigmoid]


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        ([], ValueError, "widths: expected at least 2, got 0"),
        ([5], ValueError, "widths: expected at least 2, got 1"),
        ([5, 0, 2], ValueError, "widths: expected an integer from 1 on, got 0"),
        ([5, True, 2], TypeError, "widths: expected an integer, got bool True"),
        ([5, 2.5], TypeError, "widths: expected an integer, got float 2.5"),
    ],
)
def test_widths_that_make_no_net_are_refused(without_annotations, widths, error, message):
    with pytest.raises(error, match=message):
        fully_connected(widths)


# --- encoder and decoder


@pytest.mark.parametrize(
    ("channels", "size", "widths"), [(1, 8, (3, 5)), (3, 28, (4, 6)), (2, 6, (3,)), (1, 16, (2, 3, 4))]
)
def test_a_decoder_gives_back_the_sizes_that_its_encoder_takes(channels, size, widths):
    images = torch.rand(3, channels, size, size)
    code = convolutional_encoder(channels, size, widths, 7)(images)
    assert code.shape == (3, 7)
    assert convolutional_decoder(channels, size, widths, 7)(code).shape == images.shape


def test_a_decoder_is_the_mirror_image_of_its_encoder():
    encoder, decoder = (build(1, 8, (3, 5), 2) for build in (convolutional_encoder, convolutional_decoder))
    assert kinds(encoder) == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    assert kinds(decoder) == [nn.Linear, nn.ReLU, nn.Unflatten, nn.ConvTranspose2d, nn.ReLU, nn.ConvTranspose2d]
    shapes = [[tuple(layer.weight.shape) for layer in net if hasattr(layer, "weight")] for net in (encoder, decoder)]
    assert shapes[0][:-1] == shapes[1][:0:-1]  # a convolution and its transpose have weights of one shape
    assert shapes[0][-1] == shapes[1][0][::-1] == (2, 5 * 2 * 2)


@pytest.mark.parametrize("build", [convolutional_encoder, convolutional_decoder])
def test_encoder_and_decoder_have_the_activation_that_one_names(build):
    net = build(1, 8, (3, 5), 2, activation=lambda: nn.LeakyReLU(0.2))
    assert [layer.negative_slope for layer in net if isinstance(layer, nn.LeakyReLU)] == [0.2, 0.2]
    assert nn.ReLU not in kinds(net)


@pytest.mark.parametrize("build", [convolutional_encoder, convolutional_decoder])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, 30, (4, 6), 2), ValueError, "size: expected a multiple of 4, got 30; each convolution halves the image"),
        ((1, 0, (4, 6), 2), ValueError, "size: expected an integer from 1 on, got 0"),
        ((0, 8, (4, 6), 2), ValueError, "channels: expected an integer from 1 on, got 0"),
        ((1, 8, (4, 0), 2), ValueError, "widths: expected an integer from 1 on, got 0"),
        ((1, 8, (), 2), ValueError, "widths: expected at least 1, got 0"),
        ((1, 8, (4, 6), 0), ValueError, "features: expected an integer from 1 on, got 0"),
        ((1, 8, (4, 6), True), TypeError, "features: expected an integer, got bool True"),
        ((1, 8.0, (4, 6), 2), TypeError, "size: expected an integer, got float 8.0"),
    ],
)
def test_sizes_that_make_no_encoder_are_refused(without_annotations, build, arguments, error, message):
    with pytest.raises(error, match=message):
        build(*arguments)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize("widths", [5, "64", None])
def test_widths_that_are_no_list_are_refused(widths):
    with pytest.raises(TypeError, match="widths: expected a list of integers, got"):
        fully_connected(widths)


def test_grey_images_do_not_become_coloured_ones():
    layer = Standardize([0.5, 0.4, 0.3], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"x: expected shape \(n, 3, h, w\), got \(2, 1, 4, 4\)"):
        layer(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"abc",), "widths: expected a list of integers, got bytes"),
        (([4, 3, 2], "relu"), "activation: expected a function, got str 'relu'"),
        (([4, 3, 2], lambda: torch.relu), r"activation\(\): expected Module"),
        (([4, 3, 2], lambda: None), r"activation\(\): expected Module, got NoneType"),
    ],
)
def test_widths_are_numbers_and_activations_make_layers(arguments, message, without_annotations):
    with pytest.raises(TypeError, match=message):
        fully_connected(*arguments)


def test_sizes_may_come_from_numpy_and_torch(without_annotations):
    decoder = convolutional_decoder(1, np.int64(8), (torch.tensor(3),), 2)
    assert decoder(torch.rand(5, 2)).shape == (5, 1, 8, 8)
    assert ResidualBlock(2, 3, torch.tensor(2))(torch.rand(1, 2, 4, 4)).shape == (1, 3, 2, 2)
