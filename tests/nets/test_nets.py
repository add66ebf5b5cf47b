import pytest
import torch
from torch import nn

from coursekit import nets


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_the_convnetjs_net_has_the_lectures_filters_and_22466_parameters():
    net = nets.convnetjs()
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["conv1.weight"] == (16, 3, 5, 5)
    assert shapes["conv2.weight"] == (20, 16, 5, 5)
    assert shapes["conv3.weight"] == (20, 20, 5, 5)
    assert parameters(net) == 22_466 == (75 * 16 + 16) + (400 * 20 + 20) + (500 * 20 + 20) + (320 * 10 + 10)


def test_layers_have_the_names_by_which_lectures_ask_for_them():
    names = [name for name, _ in nets.convnetjs().named_children()]
    stages = [f"{layer}{i}" for i in (1, 2, 3) for layer in ("conv", "relu", "pool")]
    assert names == ["standardize", *stages, "flatten", "output"]
    names = [name for name, _ in nets.ResidualNet().named_children()]
    assert names == ["standardize", "stem", "norm", "stage1", "stage2", "stage3", "output"]


def test_the_stem_of_the_residual_net_has_64_filters_of_7_by_7():
    net = nets.ResidualNet()
    assert net.stem.weight.shape == (64, 3, 7, 7)
    assert 0.8e6 < parameters(net) < 1.0e6


@pytest.mark.parametrize("build", [nets.convnetjs, nets.ResidualNet])
def test_a_net_gives_ten_scores_an_image_in_float32_and_float64(build):
    net = build().eval()
    x = torch.rand(2, 3, 32, 32)
    single = net(x)
    assert single.shape == (2, 10)
    torch.testing.assert_close(net.double()(x.double()).float(), single, rtol=1e-4, atol=1e-4)


def test_a_net_standardises_its_images_itself():
    mean, std = (torch.tensor(x)[:, None, None] for x in (nets.CIFAR10_MEAN, nets.CIFAR10_STD))
    layer = nets.convnetjs().standardize
    assert not list(layer.parameters())
    torch.testing.assert_close(layer(mean.expand(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2))
    torch.testing.assert_close(layer((mean - 2 * std).expand(1, 3, 2, 2)), torch.full((1, 3, 2, 2), -2.0))


@pytest.mark.parametrize(("channels", "width", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 6, 2)])
def test_a_residual_block_whose_convolutions_are_zero_is_the_relu_of_its_skip(channels, width, stride):
    block = nets.ResidualBlock(channels, width, stride).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, channels, 8, 8)
    assert isinstance(block.skip, nn.Identity) == ((channels, stride) == (width, 1))
    assert torch.equal(block(x), block.skip(x).relu())
    assert block(x).shape == (2, width, 8 // stride, 8 // stride)


def test_convnet_halves_the_image_once_a_width():
    net = nets.convnet(1, 8, 3, widths=(2, 5))
    assert net.pool2(torch.rand(1, 5, 4, 4)).shape == (1, 5, 2, 2)
    assert net.output.in_features == 5 * 2 * 2
    assert net(torch.rand(4, 1, 8, 8)).shape == (4, 3)


def test_convnet_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="size: expected a multiple of 8, got 28; each pooling halves the image"):
        nets.convnet(1, 28, 10, widths=(4, 4, 4))
    with pytest.raises(ValueError, match="kernel: expected an odd number, which keeps the size of the image, got 4"):
        nets.convnet(1, 8, 10, widths=(4,), kernel=4)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"channels": 0}, ValueError, "channels: expected an integer from 1 on, got 0"),
        ({"size": 0}, ValueError, "size: expected an integer from 1 on, got 0"),
        ({"classes": True}, TypeError, "classes: expected an integer, got bool True"),
        ({"widths": ()}, ValueError, "widths: expected at least 1, got 0"),
        ({"widths": (4, 0)}, ValueError, "widths: expected an integer from 1 on, got 0"),
        ({"widths": (4, 2.0)}, TypeError, "widths: expected an integer, got float 2.0"),
        ({"kernel": -1}, ValueError, "kernel: expected an integer from 1 on, got -1"),
    ],
)
def test_convnet_refuses_what_makes_no_net(without_annotations, wrong, error, message):
    arguments = {"channels": 1, "size": 8, "classes": 3, "widths": (2, 5)}
    with pytest.raises(error, match=message):
        nets.convnet(**arguments | wrong)


def test_residual_nets_refuse_what_makes_no_net(without_annotations):
    with pytest.raises(ValueError, match="classes: expected an integer from 1 on, got 0"):
        nets.ResidualNet(0)
    with pytest.raises(ValueError, match="stride: expected an integer from 1 on, got 0"):
        nets.ResidualBlock(4, 4, 0)
    with pytest.raises(TypeError, match=r"width: expected an integer, got float 4\.0"):
        nets.ResidualBlock(4, 4.0, 1)
