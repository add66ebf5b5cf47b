"""Building blocks that the nets of several lectures share."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x − mean)/std by channel: the first layer, so that a net itself takes images in [0, 1]."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # (c, 1, 1)
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return (x - self.mean) / self.std
