"""Small nets of several seeds, trained at once: the nets are stacked, and each matrix product serves all of them.

A batch has the shape (s, n, d): n points for each of s seeds. Sum a loss over the seeds and average it over the points.
Then each seed has its own gradient, and Adam, which treats every weight alone, trains seed 3 among ten as it trains
seed 3 alone:

>>> net, draws = stacked([2, 16, 1], range(10)), Draws(range(10))
>>> optimizer = torch.optim.Adam(net.parameters())
>>> x = draws.normal(64, 2)
>>> loss = (net(x) - x.sum(dim=2, keepdim=True)).square().mean(dim=(1, 2)).sum()
>>> loss.backward()
>>> optimizer.step()
>>> net(x).shape
torch.Size([10, 64, 1])
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.nets.blocks import Activation, fully_connected
from coursekit.validation import require_floating, require_integer, require_tensor


class StackedLinear(nn.Module):
    """Linear layers of equal size, one for each seed: y[s] = x[s] W[s] + b[s]."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([it.weight.detach().T for it in layers]))  # (s, d, k)
        self.bias = nn.Parameter(torch.stack([it.bias.detach()[None] for it in layers]))  # (s, 1, k)

    def forward(self, x: Float[Tensor, "s n d"]) -> Float[Tensor, "s n k"]:
        require_floating(x, "x", f"{len(self.weight)} n {self.weight.shape[1]}")
        return torch.baddbmm(self.bias, x, self.weight)


def stacked(widths: Sequence[int], seeds: Sequence[int], activation: Activation = nn.ReLU) -> nn.Sequential:
    """Fully connected nets, one for each seed, as one module that maps (s, n, widths[0]) to (s, n, widths[-1]).

    Slice s starts with the weights that ``fully_connected(widths)`` has after ``torch.manual_seed(seeds[s])``. The
    state of the global generator stays as it is.

    Raises:
        TypeError: a width or a seed is not an integer.
        ValueError: there is no seed, or a seed is out of range; there are fewer than two widths, or one is below 1.

    >>> pair = stacked([2, 3], [7, 8])
    >>> alone = stacked([2, 3], [8])
    >>> torch.equal(pair[0].weight[1], alone[0].weight[0])
    True
    """
    nets = []
    with torch.random.fork_rng(devices=[]):
        for seed in _require_seeds(seeds):
            torch.manual_seed(seed)
            nets.append(fully_connected(widths, activation))
    # The k-th layers of all nets become one layer.
    layers = [
        StackedLinear([it for it in of_all if isinstance(it, nn.Linear)])
        if isinstance(of_all[0], nn.Linear)
        else of_all[0]
        for of_all in zip(*nets, strict=True)
    ]
    return nn.Sequential(*layers)


class Draws:
    """Random numbers for several seeds: each seed has a generator of its own, so it draws the same in any company.

    Args:
        seeds: one for each slice.
        device: where the numbers are drawn. A GPU's are others than the CPU's.

    Raises:
        TypeError: a seed is not an integer.
        ValueError: there is no seed, or a seed is out of range.

    >>> torch.equal(Draws([1, 2]).normal(5, 2)[1], Draws([2]).normal(5, 2)[0])
    True
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generators = [torch.Generator(device).manual_seed(it) for it in _require_seeds(seeds)]

    def normal(self, n: int, d: int) -> Float[Tensor, "s n d"]:
        """Noise N(0, I)."""
        n = require_integer(n, "n", low=1)
        d = require_integer(d, "d", low=1)
        return torch.stack([torch.randn(n, d, generator=it, device=self.device) for it in self.generators])

    def uniform(self, n: int, d: int) -> Float[Tensor, "s n d"]:
        """Numbers from 0 to 1."""
        n = require_integer(n, "n", low=1)
        d = require_integer(d, "d", low=1)
        return torch.stack([torch.rand(n, d, generator=it, device=self.device) for it in self.generators])

    def rows(self, points: Float[Tensor, "m d"], n: int) -> Float[Tensor, "s n d"]:
        """Points of a data set, drawn with replacement."""
        require_tensor(points, "points", "m d")
        n = require_integer(n, "n", low=1)
        index = [torch.randint(len(points), (n,), generator=it, device=self.device) for it in self.generators]
        return points[torch.stack(index)]


def _require_seeds(seeds: Sequence[int]) -> list[int]:
    found = [require_integer(it, "seeds", low=0) for it in seeds]
    if not found:
        raise ValueError("seeds: expected at least one seed, got none")
    return found
