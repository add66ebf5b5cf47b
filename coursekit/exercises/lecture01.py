"""Exercises of lecture 1: the soft threshold, receptive fields, and the images of the largest activations."""

import copy
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_module, require_result

SIDE, WEIGHTS = 63, 200  # pixels that a unit must see, parameters that the net may have
FEW = 24  # enough: six filters of 2×2 with dilations 1, 2, 4, 8, 16 and 31; one such filter used 62 times has 4

VALUES = torch.tensor([[-3.0, -1.0, -0.2], [0.0, 0.7, 2.5]])
MAPS = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(1))  # (n, c, h, w)
MAPS[2, 0] += 10  # one image holds all the largest values of channel 0


def soft_threshold(u: Tensor, t: float | Tensor) -> Tensor:
    """The z that minimizes ½(z − u)² + t|z|, for every number u."""
    return u.sign() * (u.abs() - t).clamp_min(0)


def field_side(kernels: list[int], strides: list[int]) -> int:
    """The side of the receptive field of the last layer, in pixels.

    A step of one unit in layer l is a step of s₁ ⋯ sₗ₋₁ pixels (the jump), and each layer adds (kₗ − 1) jumps.
    """
    jumps = [1]
    for stride in strides:
        jumps.append(jumps[-1] * stride)
    return 1 + sum((kernel - 1) * jump for kernel, jump in zip(kernels, jumps, strict=False))


def top_images(maps: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each channel's k largest values in maps (n, c, h, w), one from each image, and their images: (c, k) each."""
    best = maps.flatten(2).max(dim=2).values.sort(dim=0, descending=True)  # (n, c): one value from each image
    return best.values[:k].T, best.indices[:k].T


def wide_view() -> nn.Module:
    """A net from (n, 1, h, w) to (n, 1, i, j) whose units see all of 63×63 pixels, with 200 weights at most."""
    return nn.Sequential(*(nn.Conv2d(1, 1, 3, dilation=2**i, bias=False) for i in range(5)))


def with_tensors(cases: Exercise, *arguments: Any) -> Exercise:
    """The exercise ``cases`` for answers with which the notebook can go on: they keep tensors and their precision."""

    def check(answer: Answer) -> str:
        praise = cases.check(answer)
        wanted, got = (f(*copy.deepcopy(arguments)) for f in (cases.solution, answer))
        for right, part in zip(wanted, got, strict=True) if isinstance(wanted, tuple) else [(wanted, got)]:
            if not isinstance(part, Tensor):
                kind = type(part).__name__
                raise Wrong(f"{praise}; but it returns {kind}, and the notebook goes on with tensors: use torch alone")
            if right.is_floating_point() and part.dtype != right.dtype:
                change = f"{right.dtype} into {part.dtype}"
                raise Wrong(f"{praise}; but it turns {change}; torch.zeros_like makes new tensors of the same type")
        return praise

    return Exercise(cases.solution, check)


def check_wide_view(answer: Answer) -> str:
    """Each unit of the answer sees all of 63×63 pixels and no other, one pixel apart, through few weights.

    What a unit sees is where its gradient is not 0, in copies of the net with weights of our own. With positive
    weights nothing cancels and no ReLU is shut, so the gradient shows every pixel, and every hole. With weights that
    are 0 except in the middle of each filter, a convolution sees one pixel, and only pooling still sees more.
    """
    model = require_module(answer())
    weights = sum(p.numel() for p in model.parameters())
    positive, middle = _with_weights(model, _positive), _with_weights(model, _middle_only)
    rows, columns = _map_size(positive)
    row, column = rows // 2, columns // 2
    seen = _seen(positive, row, column)  # (h, w)
    if not seen.any():
        raise Wrong("its units see no pixel: the output does not depend on the input")
    top, left, bottom, right = _box(seen)
    if int(_seen(middle, row, column).sum()) > 1:
        if any(p.ndim not in (0, 1, 4) for p in model.parameters()):
            raise Wrong(
                "it makes its filters of other parameters; give every convolution weights of its own, of 4 dimensions, "
                f"such as {SIDE}×1 and then 1×{SIDE}"
            )
        raise Wrong(
            "it joins pixels without weights of its own, as pooling or a shifted skip connection does; "
            "use convolutions only"
        )
    for axis, (r, c) in enumerate(((row + 1, column), (row, column + 1))):
        if r < rows and c < columns and (step := _box(_seen(positive, r, c))[axis] - (top, left)[axis]) != 1:
            raise Wrong(f"neighbouring units are {step} pixels apart; do without stride")
    if (bottom - top, right - left) != (SIDE, SIDE):
        raise Wrong(f"its units see {bottom - top}×{right - left} pixels, wanted {SIDE}×{SIDE}")
    if min(rows, columns) < SIDE:  # without stride, these images give a map of 67×67 units or more
        raise Wrong(f"its map has only {rows}×{columns} units; do without stride")
    if holes := int((~seen[top:bottom, left:right]).sum()):
        raise Wrong(f"its units see {SIDE}×{SIDE} pixels with holes: {holes} pixels in between are not seen")
    if weights > WEIGHTS:
        raise Wrong(f"it has {weights} weights, wanted at most {WEIGHTS}: what does dilation cost?")
    hint = f"; {FEW} are enough, and fewer if a filter is used again" if weights > FEW else ""
    return f"its units see all of {SIDE}×{SIDE} pixels with {weights} weights{hint}"


def _with_weights(model: nn.Module, fill: Answer) -> nn.Module:
    """A copy in double precision, in evaluation mode, whose filters are filled; offsets are 0 and factors 1."""
    changed = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for name, weight in changed.named_parameters():
            if weight.ndim > 1:
                weight.copy_(fill(weight))
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return changed


def _positive(weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Filters of positive numbers that sum to 1, so that a deep stack neither vanishes nor overflows."""
    return torch.ones_like(weight) * len(weight) / weight.numel()


def _middle_only(weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Filters of 0 but for one tap in the middle."""
    taps = torch.zeros(*weight.shape[:2], weight[0, 0].numel(), dtype=weight.dtype)
    taps[..., taps.shape[-1] // 2] = 1.0
    return taps.view(weight.shape)


def _images() -> Float[Tensor, "n 1 h w"]:
    """Bright images, large enough for the whole field of the middle unit and of its neighbours."""
    generator = torch.Generator().manual_seed(1)
    return 0.5 + torch.rand(2, 1, 2 * SIDE + 3, 2 * SIDE + 3, generator=generator, dtype=torch.float64)


def _map_size(model: nn.Module) -> tuple[int, int]:
    """Rows and columns of the model's map."""
    images = _images()
    with torch.no_grad():
        out = model(images)
    if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[:2] != (len(images), 1):
        got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise Wrong(f"expected one map from each image, (n, 1, h, w) → (n, 1, i, j), got {got}")
    require_result(out, tuple(out.shape), "one map from each image")
    return out.shape[2], out.shape[3]


def _seen(model: nn.Module, row: int, column: int) -> Bool[Tensor, "h w"]:
    """The pixels that the unit's value depends on, in any of the images."""
    images = _images().requires_grad_()
    units = model(images)[:, 0, row, column].sum()
    (gradient,) = torch.autograd.grad(units, images, allow_unused=True) if units.requires_grad else (None,)
    return (torch.zeros_like(images) if gradient is None else gradient).ne(0).any(dim=0)[0]


def _box(seen: Bool[Tensor, "h w"]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of the smallest rectangle around the pixels seen."""
    rows, columns = (seen.any(dim=dim).nonzero()[:, 0] for dim in (1, 0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


exercise = Exercises(
    with_tensors(
        by_cases(
            soft_threshold,
            {
                "numbers above t": (torch.tensor([1.5, 3.0]), 1.0),
                "negative numbers": (torch.tensor([-1.5, -3.0]), 1.0),
                "numbers below t": (torch.tensor([-0.4, 0.0, 0.9]), 1.0),
                "a matrix, t = 0.5": (VALUES, 0.5),
                "t = 0": (VALUES, 0.0),
            },
        ),
        VALUES.double(),
        torch.tensor(0.5, dtype=torch.float64),  # as in the notebook
    ),
    by_cases(
        field_side,
        {
            "one layer": ([7], [1]),
            "two layers without stride": ([3, 3], [1, 1]),
            "AlexNet's first three windows": ([11, 3, 5], [4, 2, 1]),
            "a stride in the last layer": ([5, 2], [1, 2]),
            "eight layers": ([7, 2, 3, 3, 3, 3, 1, 3], [1, 2, 1, 2, 1, 2, 1, 1]),
        },
    ),
    Exercise(wide_view, check_wide_view),
    with_tensors(
        by_cases(
            top_images,
            {
                "one image, k = 1": (MAPS[:1], 1),
                "an image that holds all the largest values": (MAPS, 3),
                "k = all": (MAPS, 6),
                "negative activations": (-MAPS.abs(), 2),
            },
        ),
        MAPS.double(),
        2,
    ),
)
