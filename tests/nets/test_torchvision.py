"""Models of torchvision, by a stand-in for it."""

import sys
import types

import pytest
import torch
from torch import nn

from coursekit import nets
from coursekit.errors import CourseError


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
