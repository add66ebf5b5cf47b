"""What a gradient does where it meets a ReLU on its way down: the three rules of the lecture.

Let f = max(x, 0) and let R be what arrives from above. Passed on to x is

- gradient    1(x > 0) R, ordinary backpropagation
- deconvnet   1(R > 0) R: the ReLU looks at the signal from above and not at the image
- guided      1(x > 0) 1(R > 0) R: both

Everything else on the way, convolutions and the switches of max pooling too, is treated as by the gradient. Sources:
Zeiler & Fergus, ECCV 2014; Springenberg et al., ICLR 2015 (workshop); the slides' deconvnet rule is erratum E03.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coursekit.errors import unknown

RULES = ("gradient", "deconvnet", "guided")

_RELUS = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}  # nn.ReLU calls F.relu
_CLAMPS = {
    getattr(home, name + ending)
    for home in (torch, Tensor)
    for name in ("clamp", "clamp_min", "clip")
    for ending in ("", "_")
}


@contextmanager
def relu_rule(rule: str) -> Iterator[None]:
    """Inside the block every ReLU, however it is spelled, gets this backward rule.

    What counts is where the forward pass runs; the backward pass may come later. ``nn.ReLU``, ``F.relu``,
    ``torch.relu``, ``x.relu()``, ``clamp`` or ``clip`` at 0 from below, and their in-place forms are all ReLUs. The
    rule belongs to the thread that entered the block, and the innermost block wins. ``"gradient"`` changes nothing.

    Raises:
        ValueError: the rule is unknown; or it is not "gradient" and the block ended without a ReLU that a gradient
            could pass, so that the plain gradient would have come out under another name.
    """
    if rule not in RULES:
        raise ValueError(unknown("rule", rule, RULES))
    if rule == "gradient":
        yield
        return
    mode = _Swap(rule)
    with mode:
        yield
    if not mode.met:
        raise ValueError(
            f"the rule {rule!r} changes the backward pass of ReLUs, and no ReLU was met on the way of a gradient: "
            'for a net of LeakyReLU, GELU and the like use "gradient", the only rule that it has'
        )


class _Swap(TorchFunctionMode):
    """Hands every ReLU that a gradient can pass to `_Rectify`.

    Hooks on modules would not do: they miss ``F.relu``, and cannot tell apart the branches that share a tensor.
    """

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.met = False

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        x = _rectified(func, args, kwargs)
        if x is None or not (x.requires_grad and torch.is_grad_enabled()):
            return func(*args, **kwargs)
        self.met = True
        return _Rectify.apply(x, self.rule, func.__name__.endswith("_") or kwargs.get("inplace", False))


def _rectified(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """The tensor whose negative entries this call sets to 0, if it does that and nothing else."""

    def operand(input: Tensor, min: Any = 0, max: Any = None, *, inplace: bool = False) -> Tensor | None:
        # Named as PyTorch names them. A bound may be a tensor, of which only a single 0 is a ReLU's.
        return input if max is None and getattr(min, "ndim", 0) == 0 and min == 0 else None

    if func in _RELUS or (func in _CLAMPS and "out" not in kwargs):
        return operand(*args, **kwargs)
    return None


class _Rectify(torch.autograd.Function):
    """max(x, 0) with the backward rule "deconvnet" or "guided"."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = x.relu_() if inplace else x.relu()
        ctx.rule = rule
        ctx.save_for_backward(y)  # also for "deconvnet": checkpointing wants as many saved tensors as F.relu's
        return y

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        if ctx.rule == "deconvnet":
            return r.relu(), None, None
        return torch.ops.aten.threshold_backward(r, y, 0).relu_(), None, None  # 1(y > 0) R is what F.relu's does
