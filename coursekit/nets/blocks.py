"""Building blocks that the nets of several lectures share."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.validation import require_floating, require_function, require_instance, require_integer, require_number

Activation = Callable[[], nn.Module]


class Standardize(nn.Module):
    """(x − mean)/std by channel: the first layer, so that a net takes images in [0, 1].

    >>> layer = Standardize(mean=[0.5], std=[0.25])
    >>> layer(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)).flatten()
    tensor([-2.,  0.,  2.])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if not len(mean) == len(std) > 0:
            raise ValueError(f"mean, std: expected one number per channel in each, got {len(mean)} and {len(std)}")
        means = [require_number(value, "mean") for value in mean]
        stds = [require_number(value, "std", above=0) for value in std]
        self.register_buffer("mean", torch.tensor(means)[:, None, None])  # (c, 1, 1)
        self.register_buffer("std", torch.tensor(stds)[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        # Grey images would become coloured ones in silence.
        return (require_floating(x, "x", f"n {len(self.mean)} h w") - self.mean) / self.std


def fully_connected(
    widths: Sequence[int], activation: Activation = nn.ReLU, last: nn.Module | None = None
) -> nn.Sequential:
    """Linear layers from each width to the next with an activation between them, and none after the last.

    Args:
        widths: those of the input, of the hidden layers and of the output.
        activation: makes the layer that follows each hidden one.
        last: a layer that follows the output, such as ``nn.Sigmoid()`` for pixels in [0, 1].

    >>> fully_connected([784, 256, 10])
    Sequential(
      (0): Linear(in_features=784, out_features=256, bias=True)
      (1): ReLU()
      (2): Linear(in_features=256, out_features=10, bias=True)
    )
    """
    widths = require_widths(widths, least=2)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), made_by(activation)]
    layers.pop()  # no activation after the output
    return nn.Sequential(*layers, *([] if last is None else [last]))


def convolutional_encoder(
    channels: int, size: int, widths: Sequence[int], features: int, activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Images (n, channels, size, size) to vectors (n, features): strided convolutions, then a linear layer.

    Args:
        channels: 1 for grey images, 3 for colour.
        size: pixels per side. Each convolution halves it, so two widths need a multiple of 4.
        widths: the channels after each convolution.
        features: the length of the output.
        activation: makes the layer that follows each convolution.

    >>> encoder = convolutional_encoder(1, 28, widths=(32, 64), features=10)
    >>> encoder(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    """
    widths = require_widths(widths, least=1)
    side = _side_of_the_last_map(channels, size, widths, features)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([channels, *widths]):
        # (n, inputs, s, s) → (n, outputs, s/2, s/2)
        layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), made_by(activation)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * side**2, features))


def convolutional_decoder(
    channels: int, size: int, widths: Sequence[int], features: int, activation: Activation = nn.ReLU
) -> nn.Sequential:
    """Vectors (n, features) to images (n, channels, size, size): the mirror image of `convolutional_encoder`.

    It takes the same arguments. Its last layer is a transposed convolution, so pixels may have any value.

    >>> decoder = convolutional_decoder(1, 28, widths=(32, 64), features=10)
    >>> decoder(torch.rand(5, 10)).shape
    torch.Size([5, 1, 28, 28])
    """
    widths = require_widths(widths, least=1)
    side = _side_of_the_last_map(channels, size, widths, features)
    first, shape = nn.Linear(features, widths[-1] * side**2), (widths[-1], side, side)
    layers: list[nn.Module] = [first, made_by(activation), nn.Unflatten(1, shape)]
    for inputs, outputs in pairwise([*reversed(widths), channels]):
        # (n, inputs, s, s) → (n, outputs, 2s, 2s)
        layers += [nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1), made_by(activation)]
    layers.pop()  # no activation after the pixels
    return nn.Sequential(*layers)


def made_by(activation: Activation) -> nn.Module:
    """A new layer from ``activation``, which must make modules."""
    return require_instance(require_function(activation, "activation")(), "activation()", nn.Module)


def require_widths(widths: Sequence[int], least: int) -> list[int]:
    """At least ``least`` widths of layers, each 1 or more."""
    if not isinstance(widths, Sequence) or isinstance(widths, str | bytes):
        raise TypeError(f"widths: expected a list of integers, got {type(widths).__name__}")
    if len(widths) < least:
        raise ValueError(f"widths: expected at least {least}, got {len(widths)}")
    return [require_integer(width, "widths", low=1) for width in widths]


def _side_of_the_last_map(channels: int, size: int, widths: Sequence[int], features: int) -> int:
    """Check the arguments of encoder and decoder; pixels per side after the last strided convolution."""
    channels = require_integer(channels, "channels", low=1)
    features = require_integer(features, "features", low=1)
    size = require_integer(size, "size", low=1)
    factor = 2 ** len(widths)
    if size % factor:
        raise ValueError(f"size: expected a multiple of {factor}, got {size}; each convolution halves the image")
    return size // factor
