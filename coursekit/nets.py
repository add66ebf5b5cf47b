"""The convolutional nets that several lectures look into, and their trained weights.

All of them take images in [0, 1] and return scores before the softmax. Their layers have names (``conv1``, ``stage2``),
by which ``coursekit.interpret`` asks for them.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.errors import CourseError, unknown
from coursekit.files import shipped

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)  # of the 50 000 training images, by channel
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # what the weights of torchvision expect
IMAGENET_STD = (0.229, 0.224, 0.225)


class Standardise(nn.Module):
    """(x − mean)/std by channel: the first layer, so that a net itself takes images in [0, 1]."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # (c, 1, 1)
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return (x - self.mean) / self.std


def convnet(channels: int, size: int, classes: int, widths: Sequence[int], kernel: int = 3) -> nn.Sequential:
    """Convolution, ReLU, 2×2 max pooling, once for each width, and a linear layer on what remains.

    The layers are ``conv1``, ``relu1``, ``pool1``, ``conv2``, … and ``output``; images are (N, channels, size, size),
    and ``size`` must be halved by every pooling.
    """
    if kernel % 2 == 0:
        raise ValueError(f"a convolution that keeps the size has an odd kernel, got {kernel}")
    if size % 2 ** len(widths):
        raise ValueError(f"{len(widths)} poolings halve the image: {2 ** len(widths)} must divide size, got {size}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, width in enumerate(widths, start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2)
        channels, size = width, size // 2
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels * size * size, classes)
    return nn.Sequential(layers)


def convnetjs() -> nn.Sequential:
    """The net of Karpathy's ConvNetJS demo for CIFAR-10: filters 16×5×5×3, 20×5×5×16, 20×5×5×20; 22 466 parameters."""
    net = convnet(3, 32, 10, widths=(16, 20, 20), kernel=5)
    return nn.Sequential(OrderedDict(standardise=Standardise(CIFAR10_MEAN, CIFAR10_STD), **dict(net.named_children())))


class ResidualNet(nn.Module):
    """A small residual net for 3×32×32 images whose first layer has 64 filters of 7×7, as ResNet-18's has.

    ``stem`` (64×32×32), pooled to 16×16; then ``stage1`` (64×16×16), ``stage2`` (128×8×8), ``stage3`` (192×4×4), each
    one residual block; the mean over places; ``output``. Sources: He et al., CVPR 2016; the blocks have the ReLU after
    the sum, as there.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.standardise = Standardise(CIFAR10_MEAN, CIFAR10_STD)
        self.stem = nn.Conv2d(3, 64, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.stage1 = ResidualBlock(64, 64, stride=1)
        self.stage2 = ResidualBlock(64, 128, stride=2)
        self.stage3 = ResidualBlock(128, 192, stride=2)
        self.output = nn.Linear(192, classes)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        h = F.relu(self.norm(self.stem(self.standardise(x))))  # (N, 64, 32, 32)
        h = F.max_pool2d(h, 2)
        h = self.stage3(self.stage2(self.stage1(h)))  # (N, 192, 4, 4)
        return self.output(h.mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """y = relu(x′ + norm(conv(relu(norm(conv(x)))))); x′ is x, or a 1×1 convolution of it where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        same = channels == width and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.skip(x) + self.norm2(self.conv2(h)))


NETS = {"convnetjs": convnetjs, "residual": ResidualNet}


def weights_folder() -> Path:
    """Where the trained weights of the course lie: in the wheel, else beside the package in a checkout."""
    return shipped("weights", "data/weights")


def pretrained(name: str, folder: Path | None = None) -> nn.Module:
    """A net with the weights that ``coursekit train NAME`` made, in evaluation mode, float32, on the CPU.

    ``name`` is one of ``NETS``; ``folder`` is where to look instead of the course's own weights. How the weights came
    about, and their accuracy, stand in the JSON file beside them (``card``).

    Raises:
        ValueError: the name is unknown.
        CourseError: the weights are not there, or their SHA-256 is not the one in the card.
    """
    described = card(name, folder)
    path = _here(name, "safetensors", folder)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise CourseError(
            f"{path} is not the file that {name}.json describes (its SHA-256 differs, {len(content)} bytes): "
            f"fetch it again, or make it anew with `coursekit train {name} --update`."
        )
    from safetensors.torch import load

    net = NETS[name]()
    net.load_state_dict(load(content))  # stored in half precision; copied into float32 parameters
    return net.eval()


def card(name: str, folder: Path | None = None) -> dict:
    """What is known of trained weights: net, recipe, seed, test accuracy, SHA-256."""
    if name not in NETS:
        raise ValueError(unknown("net", name, NETS))
    return json.loads(_here(name, "json", folder).read_text(encoding="utf-8"))


def _here(name: str, kind: str, folder: Path | None) -> Path:
    path = (folder or weights_folder()) / f"{name}.{kind}"
    if not path.is_file():
        raise CourseError(f"no trained weights at {path}: make them with `coursekit train {name}`.")
    return path


def torchvision_model(name: str) -> nn.Module:
    """A classifier of torchvision ("alexnet", "resnet18", "densenet121") with its default ImageNet weights.

    Like the course's own nets it takes images in [0, 1]: it is a sequence of ``standardise`` and ``net``, and a layer
    that torchvision calls ``features.0`` is ``net.features.0``. torchvision is not part of the course, and its weights
    are a download (AlexNet 233 MB, ResNet-18 45 MB).

    Raises:
        CourseError: torchvision is not installed or does not work, or the weights cannot be fetched.
        ValueError: torchvision knows no such classifier.
    """
    try:
        from torchvision import models
    except Exception as error:  # beside another build of torch the import fails with RuntimeError or OSError
        raise CourseError(
            f"{name} needs torchvision, which cannot be imported ({error}). Install the build that matches your "
            "torch: pip install torchvision. The course's own nets need nothing: coursekit.nets.pretrained('residual')."
        ) from error
    if name not in (known := models.list_models(models)):
        raise ValueError(unknown("torchvision model", name, known))
    try:
        net = models.get_model(name, weights="DEFAULT")
    except OSError as error:
        raise CourseError(f"the weights of {name} could not be downloaded: {error}. Are you online?") from error
    return nn.Sequential(OrderedDict(standardise=Standardise(IMAGENET_MEAN, IMAGENET_STD), net=net)).eval()
