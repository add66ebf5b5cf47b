"""A residual net for CIFAR-10."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.nets.blocks import Standardize
from coursekit.nets.convolutional import CIFAR10_MEAN, CIFAR10_STD


class ResidualNet(nn.Module):
    """A small residual net for 3×32×32 images whose first layer has 64 filters of 7×7, as ResNet-18's has.

    ``stem`` (64×32×32), pooled to 16×16; then ``stage1`` (64×16×16), ``stage2`` (128×8×8), ``stage3`` (192×4×4), each
    one residual block; the mean over places; ``output``. Sources: He et al., CVPR 2016; the blocks have the ReLU after
    the sum, as there.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.standardize = Standardize(CIFAR10_MEAN, CIFAR10_STD)
        self.stem = nn.Conv2d(3, 64, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.stage1 = ResidualBlock(64, 64, stride=1)
        self.stage2 = ResidualBlock(64, 128, stride=2)
        self.stage3 = ResidualBlock(128, 192, stride=2)
        self.output = nn.Linear(192, classes)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        h = F.relu(self.norm(self.stem(self.standardize(x))))  # (N, 64, 32, 32)
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
