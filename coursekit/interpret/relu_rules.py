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

# Functions that are max(x, 0) for some of their arguments; nn.ReLU calls F.relu.
_CANDIDATES = {
    getattr(home, name + ending)
    for home in (torch, Tensor, F)
    for name in ("relu", "threshold", "hardtanh", "leaky_relu", "clamp", "clamp_min", "clip")
    for ending in ("", "_")
    if hasattr(home, name + ending)
}
_MAXIMA = {torch.maximum, torch.fmax, torch.max, Tensor.maximum, Tensor.fmax, Tensor.max}
_PROBE = torch.tensor([-3e38, -2.0, -1e-30, 0.0, 1e-30, 2.0, 3e38])


@contextmanager
def relu_rule(rule: Rule) -> Iterator[None]:
    """Give every ReLU whose forward pass runs inside the block this backward rule.

    The backward pass may come later. The rule holds in the thread that entered the block, and the innermost block
    wins. ``"gradient"`` changes nothing.

    A ReLU may be spelled ``nn.ReLU``, ``F.relu``, ``torch.relu``, ``x.relu()``, or as ``torch.maximum(x, 0)``, or as
    ``clamp``, ``clip``, ``threshold``, ``hardtanh`` or ``leaky_relu`` with the right numbers, in place or not. Other
    spellings, such as ``x * (x > 0)``, ``torch.where`` or scripted code, keep ordinary backpropagation.

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
    if func in _MAXIMA and len(args) == 2 and not kwargs and all(isinstance(x, Tensor) for x in args):
        x, floor = args if args[0].requires_grad else args[::-1]
        same = torch.broadcast_shapes(x.shape, floor.shape) == x.shape and torch.result_type(x, floor) == x.dtype
        return x if same and not (floor.requires_grad or floor.any()) else None
    if func not in _CANDIDATES or "out" in kwargs:
        return None
    x, numbers = args[0] if args else kwargs["input"], [*args[1:], *(v for k, v in kwargs.items() if k != "input")]
    if any(isinstance(number, Tensor) and number.ndim for number in numbers):
        return None
    # The call is a ReLU if it does to a few numbers what a ReLU does.
    probe = _PROBE.to(x.device)
    with torch.no_grad():
        done = func(probe.clone(), *args[1:], **{k: v for k, v in kwargs.items() if k != "input"})
    return x if torch.equal(done, probe.relu()) else None


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
