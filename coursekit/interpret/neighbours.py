"""Exact nearest neighbours of images: in pixels, or in the features of a layer."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from coursekit.validation import require_integer, require_tensor

BLOCK = 2**23  # numbers in the largest temporary matrix: 64 MB in double precision


class Neighbours(NamedTuple):
    """The k nearest rows of the bank for every query, nearest first."""

    distances: Float[Tensor, "n k"]
    indices: Int[Tensor, "n k"]


def nearest_neighbours(queries: Float[Tensor, " n *d"], bank: Float[Tensor, " m *e"], k: int) -> Neighbours:
    """Find the k rows of ``bank`` with the smallest Euclidean distance ‖query − row‖ to each query.

    The answer is exact. A matrix product finds the candidates, and their distances are then computed from differences
    in double precision. Rows at equal distance keep the order of the bank. A query that is itself in the bank finds
    itself, at distance 0.

    Args:
        queries: rows (n, …) of any shape: images, activations.
        bank: rows (m, …) of the same shape.
        k: how many neighbours to find, from 1 to m.

    Raises:
        TypeError: the rows are not tensors of float32 or float64, or k is not an integer.
        ValueError: the rows have different shapes, are empty, or hold NaN or infinity; k is out of range.

    Source: Krizhevsky, Sutskever and Hinton, NeurIPS 2012, figure 4, compares images in this way.

    >>> bank = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    >>> nearest_neighbours(torch.zeros(1, 2), bank, k=2)
    Neighbours(distances=tensor([[1., 5.]]), indices=tensor([[1, 0]]))
    """
    q, b = as_vectors(queries, "queries"), as_vectors(bank, "bank")  # (n, d), (m, d)
    if queries.shape[1:] != bank.shape[1:]:
        shapes = f"{tuple(queries.shape[1:])} and {tuple(bank.shape[1:])}"
        raise ValueError(f"queries and bank: expected rows of one shape, got {shapes}")
    k = require_integer(k, "k", low=1, high=len(b))

    parts = [_nearest(part, b, k) for part in q.split(max(1, BLOCK // len(b)))]
    distances = torch.cat([part.distances for part in parts])
    indices = torch.cat([part.indices for part in parts])
    return Neighbours(distances.to(queries), indices.to(queries.device))


def as_vectors(x: Float[Tensor, " n *d"], name: str) -> Float64[Tensor, "n d"]:
    """Check rows of any shape, and flatten each to a vector in double precision."""
    require_tensor(x, name, "n d ...")
    if x.device.type == "mps":  # Apple's GPUs have no double precision
        x = x.cpu()
    return x.detach().flatten(1).double()


def squared_distances(a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
    """Compute ‖aᵢ − bⱼ‖² = ‖aᵢ‖² + ‖bⱼ‖² − 2aᵢ·bⱼ for all pairs with one matrix product.

    The subtraction of large numbers loses digits where two rows are close. The rows are therefore centred first: the
    error is then about 1e-16 of their squared spread. In single precision it would be 1e-7, which is too much.
    """
    centre = b.mean(dim=0)
    a, b = a - centre, b - centre
    squares = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)  # (n, m)
    return squares.add_(a.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def _nearest(q: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"], k: int) -> Neighbours:
    # Candidates are all rows whose squared distance is within rounding of the k-th smallest, so none is missed.
    squares = squared_distances(q, b)  # (n, m)
    kth = squares.kthvalue(k, dim=1, keepdim=True).values  # (n, 1)
    query, row = (squares <= kth + 1e-12 * squares.max()).nonzero(as_tuple=True)  # (c,) each, c ≥ nk

    # Their exact distances come from differences, a block of candidates at a time.
    blocks = zip(*(index.split(max(1, BLOCK // q.shape[1])) for index in (query, row)), strict=True)
    distances = torch.cat([(q[i] - b[j]).square().sum(dim=1).sqrt() for i, j in blocks])  # (c,)

    # Two stable sorts order them by query, then by distance; ties stay in the order of the bank.
    order = distances.sort(stable=True).indices
    order = order[query[order].sort(stable=True).indices]

    # The first k candidates of each query are its neighbours.
    counts = query.bincount(minlength=len(q))  # (n,)
    first = counts.cumsum(0) - counts
    best = order[first[:, None] + torch.arange(k, device=q.device)]  # (n, k)
    return Neighbours(distances[best], row[best])
