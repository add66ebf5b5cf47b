"""Convolutional classifiers of images in [0, 1]; they return scores before the softmax.

Their layers have names (``conv1``, ``relu1``), by which ``coursekit.interpret`` asks for them.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from coursekit.nets.blocks import Standardize, require_widths
from coursekit.validation import require_integer

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)  # of the 50 000 training images, by channel
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


def convnet(channels: int, size: int, classes: int, widths: Sequence[int], kernel: int = 3) -> nn.Sequential:
    """Convolution, ReLU and 2×2 max pooling for each width, then a linear layer on what remains.

    The layers are ``conv1``, ``relu1``, ``pool1``, ``conv2``, … and ``output``.

    Args:
        channels: 1 for grey images, 3 for colour.
        size: pixels per side. Each pooling halves it, so three widths need a multiple of 8.
        classes: the number of scores.
        widths: the channels after each convolution.
        kernel: pixels per side of a filter, an odd number.

    >>> net = convnet(1, 8, classes=10, widths=(16, 32))
    >>> [name for name, _ in net.named_children()]
    ['conv1', 'relu1', 'pool1', 'conv2', 'relu2', 'pool2', 'flatten', 'output']
    """
    channels = require_integer(channels, "channels", low=1)
    size = require_integer(size, "size", low=1)
    classes = require_integer(classes, "classes", low=1)
    kernel = require_integer(kernel, "kernel", low=1)
    widths = require_widths(widths, least=1)
    if kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd number, which keeps the size of the image, got {kernel}")
    if size % 2 ** len(widths):
        raise ValueError(f"size: expected a multiple of {2 ** len(widths)}, got {size}; each pooling halves the image")
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
