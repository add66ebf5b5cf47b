"""Convolutional nets for images in [0, 1]: they return scores before the softmax.

Their layers have names (``conv1``, ``relu1``), by which ``coursekit.interpret`` asks for them.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from coursekit.nets.blocks import Standardize

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)  # of the 50 000 training images, by channel
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


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
    return nn.Sequential(OrderedDict(standardize=Standardize(CIFAR10_MEAN, CIFAR10_STD), **dict(net.named_children())))
