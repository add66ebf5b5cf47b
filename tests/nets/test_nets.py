import hashlib
import json
import sys
import types

import pytest
import torch
from safetensors.torch import save
from torch import nn

from coursekit import files, nets
from coursekit.errors import CourseError


def parameters(net):
    return sum(p.numel() for p in net.parameters())


# --- the nets


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


@pytest.mark.parametrize("name", nets.NETS)
def test_a_net_gives_ten_scores_an_image_in_float32_and_float64(name):
    net = nets.NETS[name]().eval()
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
    with pytest.raises(ValueError, match="3 poolings halve the image: 8 must divide size, got 28"):
        nets.convnet(1, 28, 10, widths=(4, 4, 4))
    with pytest.raises(ValueError, match="has an odd kernel, got 4"):
        nets.convnet(1, 8, 10, widths=(4,), kernel=4)


# --- trained weights


@pytest.fixture
def folder(tmp_path):
    """A folder with weights of ``convnetjs``, in half precision, and their card."""
    content = save({key: x.half() for key, x in nets.convnetjs().state_dict().items()})
    (tmp_path / "convnetjs.safetensors").write_bytes(content)
    card = {"net": "convnetjs", "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "convnetjs.json").write_text(json.dumps(card), encoding="utf-8")
    return tmp_path


def test_pretrained_is_in_evaluation_mode_in_float32_with_the_stored_weights(folder):
    net = nets.pretrained("convnetjs", folder)
    assert not any(module.training for module in net.modules())
    assert {x.dtype for x in net.state_dict().values()} == {torch.float32}
    again = nets.pretrained("convnetjs", folder)
    torch.testing.assert_close(again.state_dict(), net.state_dict(), rtol=0, atol=0)
    assert torch.equal(net.conv1.weight, net.conv1.weight.half().float())
    assert nets.card("convnetjs", folder)["net"] == "convnetjs"


def test_weights_that_are_not_those_of_the_card_are_refused(folder):
    path = folder / "convnetjs.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of one weight
    path.write_bytes(content)
    with pytest.raises(
        CourseError, match=r"(?s)is not the file that convnetjs.json describes.*train convnetjs --update"
    ):
        nets.pretrained("convnetjs", folder)
    path.write_bytes(b"")
    with pytest.raises(CourseError, match="differs, 0 bytes"):
        nets.pretrained("convnetjs", folder)


def test_missing_weights_are_told_with_the_command_that_makes_them(folder):
    (folder / "convnetjs.safetensors").unlink()
    with pytest.raises(
        CourseError, match=r"no trained weights at .*convnetjs.safetensors.*`coursekit train convnetjs`"
    ):
        nets.pretrained("convnetjs", folder)
    with pytest.raises(CourseError, match=r"no trained weights at .*residual.json.*`coursekit train residual`"):
        nets.card("residual", folder)


def test_an_unknown_net_is_told_with_near_names(folder):
    for look in (nets.pretrained, nets.card):
        with pytest.raises(ValueError, match="unknown net 'residal': did you mean residual"):
            look("residal", folder)


def test_the_weights_lie_in_the_wheel_or_beside_the_package(monkeypatch, tmp_path):
    beside = nets.weights_folder()
    assert beside.parts[-2:] == ("data", "weights")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "coursekit" / "files.py"))
    assert nets.weights_folder() == tmp_path / "data" / "weights"
    packaged = tmp_path / "coursekit" / "_data" / "weights"
    packaged.mkdir(parents=True)
    assert nets.weights_folder() == packaged


# --- torchvision, by a stand-in


@pytest.fixture
def torchvision(monkeypatch):
    """A module in torchvision's place that knows one model and notes what it was asked for."""
    asked = []

    def get_model(name, weights):
        asked.append((name, weights))
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())

    models = types.ModuleType("torchvision.models")
    models.asked, models.get_model = asked, get_model
    models.list_models = lambda module: ["alexnet", "resnet18"] if module is models else ["a_detector"]
    package = types.ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


def test_a_torchvision_model_has_its_default_weights_and_takes_images_in_0_1(torchvision):
    net = nets.torchvision_model("alexnet")
    assert torchvision.asked == [("alexnet", "DEFAULT")]
    assert not any(module.training for module in net.modules())
    x = torch.rand(1, 3, 8, 8)
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(net(x), net.get_submodule("net.0")((x - mean) / std))


def test_an_unknown_torchvision_model_is_told_with_near_names(torchvision):
    with pytest.raises(ValueError, match="unknown torchvision model 'alexnett': did you mean alexnet"):
        nets.torchvision_model("alexnett")
    assert torchvision.asked == []


def test_weights_that_cannot_be_fetched_are_told(torchvision, monkeypatch):
    def offline(name, weights):
        raise OSError("Name or service not known")  # urllib's URLError is one

    monkeypatch.setattr(torchvision, "get_model", offline)
    with pytest.raises(CourseError, match=r"weights of alexnet could not be downloaded: Name or .* Are you online\?"):
        nets.torchvision_model("alexnet")


def test_without_torchvision_the_message_says_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(CourseError, match=r"(?s)alexnet needs torchvision, .*pip install torchvision.*pretrained"):
        nets.torchvision_model("alexnet")


def test_a_torchvision_of_another_build_is_told_with_its_own_words(monkeypatch, tmp_path):
    (tmp_path / "torchvision").mkdir()
    words = "operator torchvision::nms does not exist"
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({words!r})", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(CourseError, match=f"cannot be imported .{words}.. Install the build that matches"):
        nets.torchvision_model("alexnet")
