"""Linear programs, solved by HiGHS."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def solve(costs: Float[Tensor, " n"], what: str, **constraints: Any) -> Float[Tensor, " n"]:
    """The x of least costs · x, in float64 on the CPU.

    HiGHS takes what is below 1e-7 for 0. So the costs are divided by the largest of them, which leaves x as it is.

    Args:
        costs: in float64, on any device.
        what: of the program, for the message if it is not solved.
        constraints: as `scipy.optimize.linprog` takes them.

    Raises:
        RuntimeError: the program was not solved.
    """
    from scipy.optimize import linprog

    costs = costs.detach().cpu()
    scale = costs.abs().max().clamp(min=torch.finfo(costs.dtype).tiny)
    found = linprog((costs / scale).numpy(), **constraints)
    if not found.success:
        raise RuntimeError(f"the linear program of the {what} was not solved: {found.message}")
    return torch.from_numpy(found.x)
