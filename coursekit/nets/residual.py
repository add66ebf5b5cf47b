"""A residual net for CIFAR-10."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.nets.blocks import Standardize
from coursekit.nets.convolutional import CIFAR10_MEAN, CIFAR10_STD
from coursekit.validation import require_integer


class ResidualNet(nn.Module):
    """A small residual net for images (n, 3, 32, 32) in [0, 1]; it returns scores before the softmax.

    Its first layer has 64 filters of 7×7, as that of ResNet-18. Each stage is one residual block, and the blocks have
    the ReLU after the sum, as in the source.

    Source: K. He, X. Zhang, S. Ren and J. Sun, Deep residual learning for image recognition, CVPR 2016.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        classes = require_integer(classes, "classes", low=1)
        self.standardize = Standardize(CIFAR10_MEAN, CIFAR10_STD)
        self.stem = nn.Conv2d(3, 64, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.stage1 = ResidualBlock(64, 64, stride=1)
        self.stage2 = ResidualBlock(64, 128, stride=2)
        self.stage3 = ResidualBlock(128, 192, stride=2)
        self.output = nn.Linear(192, classes)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        h = F.relu(self.norm(self.stem(self.standardize(x))))  # (n, 64, 32, 32)
        h = F.max_pool2d(h, 2)  # (n, 64, 16, 16)
        h = self.stage1(h)  # (n, 64, 16, 16)
        h = self.stage2(h)  # (n, 128, 8, 8)
        h = self.stage3(h)  # (n, 192, 4, 4)
        return self.output(h.mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """y = relu(x′ + norm(conv(relu(norm(conv(x)))))); x′ is x, or a 1×1 convolution of it where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        channels = require_integer(channels, "channels", low=1)
        width = require_integer(width, "width", low=1)
        stride = require_integer(stride, "stride", low=1)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        same_shape = channels == width and stride == 1
        self.skip = nn.Identity() if same_shape else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.skip(x) + self.norm2(self.conv2(h)))
