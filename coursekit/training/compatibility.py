"""Whether a saved state fits the module or optimizer that is to load it, and whether a run is the one that was saved.

The differences are reported in words, where "there" means in the checkpoint.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer


def differences(name: str, thing: Any, kind: str, there: Any) -> Iterator[str]:
    """Where the state ``there``, of a thing of class ``kind``, does not fit ``thing``; nothing if it fits.

    >>> list(differences("model", nn.Linear(3, 2), "Linear", nn.Linear(3, 1).state_dict()))[0]
    'model weight is float32 (1, 3) there, float32 (2, 3) here'
    """
    if isinstance(thing, nn.Module):
        yield from _module_differences(name, thing.state_dict(), there)
    elif kind != type(thing).__name__:
        yield f"{name} is of class {kind} there, {type(thing).__name__} here"
    elif isinstance(thing, Optimizer):
        yield from _optimizer_differences(name, thing, there)


def listed(wrong: Sequence[str]) -> str:
    """The first five differences, and how many more there are."""
    return "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")


def settings_of(name: str, thing: Any) -> dict[str, str]:
    """What ``thing`` was built with: the layers of a module, the numbers of an optimizer or of a schedule.

    >>> settings_of("model", nn.Sequential(nn.Linear(3, 2), nn.Tanh()))["model 1"]
    'Tanh()'
    >>> settings_of("optimizer", LBFGS(nn.Linear(3, 2).parameters(), lr=0.1))["optimizer 0 lr"]
    '0.1'
    """
    if isinstance(thing, nn.Module):
        layers = {f"{name} {path}".strip(): layer for path, layer in thing.named_modules()}
        texts = {path: type(it).__name__ if any(it.children()) else repr(it) for path, it in layers.items()}
    elif isinstance(thing, Optimizer):
        # A schedule moves lr and keeps where it began.
        groups = [{**group, "lr": group.get("initial_lr", group.get("lr"))} for group in thing.param_groups]
        texts = _leaves(name, [{k: v for k, v in it.items() if k not in ("params", "initial_lr")} for it in groups])
    else:
        texts = _leaves(name, thing.state_dict())
    return {key: re.sub(r" at 0x[0-9a-f]+", "", text) for key, text in texts.items()}  # addresses differ by process


def _leaves(path: str, value: Any) -> dict[str, str]:
    """The numbers and words in nested dicts and lists, by path, without larger tensors."""
    if isinstance(value, Tensor):
        return {path: repr(value.item())} if value.numel() == 1 else {}
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {path: repr(value)}
    return {key: text for name, item in value.items() for key, text in _leaves(f"{path} {name}", item).items()}


def _module_differences(name: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    """A module's state is a flat dict of tensors: names, shapes and dtypes must agree."""
    for key in dict.fromkeys([*here, *there]):
        if key not in there:
            yield f"{name} lacks {key} there"
        elif key not in here:
            yield f"{name} has {key} only there"
        elif isinstance(here[key], Tensor) and _describe(there[key]) != _describe(here[key]):
            yield f"{name} {key} is {_describe(there[key])} there, {_describe(here[key])} here"


def _optimizer_differences(name: str, optimizer: Optimizer, there: Mapping[str, Any]) -> Iterator[str]:
    """An optimizer's state holds tensors for each parameter, numbered group by group.

    PyTorch accepts tensors of any shape here, and fused optimizers then write past the end of the smaller ones.
    """
    groups, saved_groups = optimizer.param_groups, there["param_groups"]
    sizes, saved_sizes = ([len(group["params"]) for group in each] for each in (groups, saved_groups))
    if sizes != saved_sizes:
        yield f"{name} has groups of {saved_sizes} parameters there, {sizes} here"
        return
    # Which parameter a number of the file stands for, and whether a fused kernel will update it.
    owners = {
        number: (parameter, bool(saved_group.get("fused")))
        for group, saved_group in zip(groups, saved_groups, strict=True)
        for number, parameter in zip(saved_group["params"], group["params"], strict=True)
    }
    if isinstance(optimizer, LBFGS):  # its tensors are vectors of all parameters together
        everything = nn.utils.parameters_to_vector(parameter for parameter, _ in owners.values())
        owners = dict.fromkeys(owners, (everything, False))
    for number, values in there["state"].items():
        if number not in owners:
            yield f"{name} has a state of parameter {number} only there"
            continue
        parameter, fused = owners[number]
        for key, value in values.items():
            for tensor in value if isinstance(value, list) else [value]:
                if isinstance(tensor, Tensor) and not _belongs(tensor, key, parameter, fused):
                    has, wants = _describe(tensor), _describe(parameter)
                    yield f"{name} {key} of parameter {number} is {has} there, but the parameter is {wants}"


def _belongs(tensor: Tensor, key: str, parameter: Tensor, fused: bool) -> bool:
    """Whether an optimizer can hold this ``tensor`` for a parameter: it has the same dtype and shape, or is a scalar.

    The fused kernels check nothing themselves, and their only scalar is ``step``.
    """
    if tensor.ndim == 0 and (key == "step" or not fused):
        return True
    shape = list(parameter.shape)
    if key in ("row_var", "col_var"):  # Adafactor's means over an axis, which is kept with length 1
        shape[-1 if key == "row_var" else -2] = 1
    return key != "step" and tensor.dtype == parameter.dtype and list(tensor.shape) == shape


def _describe(value: Any) -> str:
    """A tensor's dtype and shape, or the class of anything else."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
