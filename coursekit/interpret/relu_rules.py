"""Three rules for what a ReLU does to the gradient: backpropagation, deconvnet and guided backpropagation.

Let f = max(x, 0), and let R be the signal that arrives at f in the backward pass. The ReLU passes on to x

- gradient    1(x > 0) R, ordinary backpropagation
- deconvnet   1(R > 0) R, which depends on the signal but not on the image
- guided      1(x > 0) 1(R > 0) R, both conditions

Everything else, including convolutions and the switches of max pooling, follows ordinary backpropagation.

Sources: M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014; J. T.
Springenberg et al., Striving for simplicity, ICLR workshop 2015. The deconvnet rule on the slides is erratum E03.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coursekit.validation import require_choice

Rule = Literal["gradient", "deconvnet", "guided"]
RULES: tuple[Rule, ...] = get_args(Rule)

_RELUS = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}  # nn.ReLU calls F.relu
_CLAMPS = {
    getattr(home, name + ending)
    for home in (torch, Tensor)
    for name in ("clamp", "clamp_min", "clip")
    for ending in ("", "_")
}


@contextmanager
def relu_rule(rule: Rule) -> Iterator[None]:
    """Give every ReLU whose forward pass runs inside the block this backward rule.

    The backward pass may come later. The rule holds in the thread that entered the block, and the innermost block
    wins. ``"gradient"`` changes nothing.

    A ReLU may be spelled ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``x.relu()``, or as ``clamp``, ``clamp_min`` or
    ``clip`` with lower bound 0, in place or not. Other spellings, such as ``torch.maximum(x, 0)`` or ``F.threshold``,
    keep ordinary backpropagation.

    Raises:
        ValueError: an unknown rule; or "deconvnet" or "guided" for a block without a ReLU that takes part in
            backpropagation, because the result would be the plain gradient under another name.

    >>> x = torch.tensor([1.0, 1.0, -1.0, -1.0], requires_grad=True)
    >>> R = torch.tensor([2.0, -2.0, 2.0, -2.0])
    >>> for rule in RULES:
    ...     with relu_rule(rule):
    ...         f = x.relu()
    ...     print(rule, torch.autograd.grad(f, x, R)[0].tolist())
    gradient [2.0, -2.0, 0.0, 0.0]
    deconvnet [2.0, 0.0, 2.0, 0.0]
    guided [2.0, 0.0, 0.0, 0.0]
    """
    require_choice(rule, "rule", RULES)
    if rule == "gradient":
        yield
        return
    mode = _ReplaceRelus(rule)
    with mode:
        yield
    if not mode.found_relu:
        raise ValueError(
            f"the rule {rule!r} changes the backward pass of ReLUs, but no ReLU took part in backpropagation: for a "
            'net of LeakyReLU, GELU and the like use the rule "gradient"'
        )


class _ReplaceRelus(TorchFunctionMode):
    """Replaces every ReLU that takes part in backpropagation by `_Rectify`.

    Hooks on modules would not do: they miss ``F.relu``, and cannot tell apart the branches that share a tensor.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.found_relu = False

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        x = _rectified(func, args, kwargs)
        if x is None or not (x.requires_grad and torch.is_grad_enabled()):
            return func(*args, **kwargs)
        self.found_relu = True
        inplace = func.__name__.endswith("_") or kwargs.get("inplace", False)
        return _Rectify.apply(x, self.rule, inplace)


def _rectified(func: Callable, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
    """The tensor to which this call applies max(x, 0), or None if the call does anything else."""

    # The parameters have PyTorch's names, so that positional and keyword arguments end up in the right place.
    def operand(input: Tensor, min: Any = 0, max: Any = None, *, inplace: bool = False) -> Tensor | None:
        zero = getattr(min, "ndim", 0) == 0 and min == 0  # the bound may be a tensor, but only of one number
        return input if zero and max is None else None

    if func in _RELUS or (func in _CLAMPS and "out" not in kwargs):
        return operand(*args, **kwargs)
    return None


class _Rectify(torch.autograd.Function):
    """max(x, 0) with the backward rule "deconvnet" or "guided"."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = x.relu_() if inplace else x.relu()
        ctx.rule = rule
        # "deconvnet" does not need y, but activation checkpointing expects as many saved tensors as F.relu saves.
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        if ctx.rule == "deconvnet":
            return r.relu(), None, None  # 1(R > 0) R
        plain = torch.ops.aten.threshold_backward(r, y, 0)  # 1(y > 0) R, as in the backward pass of F.relu
        return plain.relu_(), None, None
