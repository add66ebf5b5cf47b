"""Checkpoints: one safetensors file that is replaced as a whole, without pickle.

The file holds each tensor under its path in the nested states (``state/model/0.weight``). Everything else (step
sizes, settings, history) is JSON in the file's header, together with the nesting.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from coursekit.errors import CourseError
from coursekit.files import atomic_path

FORMAT = 2


@runtime_checkable
class Stateful(Protocol):
    """What a checkpoint can save: modules, optimizers, learning-rate schedules, and anything with these methods."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint: by name, the states of the things saved and their classes, and the extra values."""

    state: dict[str, Any]
    kinds: dict[str, str]
    extra: dict[str, Any]


def save_checkpoint(path: Path | str, state: Mapping[str, Stateful], **extra: Any) -> None:
    """Write the states of the things in ``state`` and the ``extra`` values to ``path``.

    The file is written beside ``path`` and then takes its place, so that an error or a kill leaves the old checkpoint.

    Args:
        path: a safetensors file; missing folders are made.
        state: modules, optimizers and schedules, by name.
        extra: tensors, numbers, strings, None, and dicts, lists and tuples of them.

    Raises:
        CourseError: the file cannot be written.
        TypeError: a value is of another type.

    >>> import tempfile
    >>> model, twin = nn.Linear(3, 1), nn.Linear(3, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(Path(folder, "model.safetensors"), {"model": model}, accuracy=0.75)
    ...     load_checkpoint(Path(folder, "model.safetensors"), {"model": twin})
    {'accuracy': 0.75}
    >>> bool((twin.weight == model.weight).all())
    True
    """
    path = Path(path)
    states = {name: thing.state_dict() for name, thing in state.items()}
    kinds = {name: type(thing).__name__ for name, thing in state.items()}
    content = _to_bytes(Checkpoint(states, kinds, extra))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, sync=True) as part:
            part.write_bytes(content)
    except OSError as error:
        raise CourseError(
            f"the checkpoint {path} could not be written ({error.strerror}); "
            "an earlier one is intact. Free some space or choose another place."
        ) from error


def load_checkpoint(path: Path | str, state: Mapping[str, Stateful]) -> dict[str, Any]:
    """Load the states saved in ``path`` into the things in ``state``, and return the extra values.

    ``state`` may name fewer things than were saved, for example the model alone.

    Raises:
        CourseError: the file is missing, damaged or no checkpoint, or a state does not fit. Nothing is changed then.
    """
    saved = read_checkpoint(path)
    restore(path, saved, state)
    return saved.extra


def read_checkpoint(path: Path | str) -> Checkpoint:
    """All that `save_checkpoint` wrote, with the tensors on the CPU."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # A copy each: the tensors must not depend on a file that will be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a mapping
    except FileNotFoundError as error:
        raise CourseError(f"there is no checkpoint {path}") from error
    except (OSError, SafetensorError) as error:
        raise CourseError(
            f"{path} is damaged or not a safetensors file ({error}). Delete it and train again."
        ) from error
    if "coursekit" not in header:
        raise CourseError(f"{path} is a safetensors file, but not a checkpoint of coursekit.training")
    try:
        version = json.loads(header["coursekit"])["format"]
        if version != FORMAT:
            raise CourseError(f"{path} has checkpoint format {version}, but this version of coursekit reads {FORMAT}")
        return Checkpoint(**_from_json(header["content"], tensors))
    except (KeyError, TypeError, ValueError) as error:
        raise CourseError(f"{path} is damaged ({error!r} in its header). Delete it and train again.") from error


# Comparing and restoring


def restore(path: Path | str, saved: Checkpoint, state: Mapping[str, Stateful]) -> None:
    """Load the states of ``saved``, read from ``path``, into the things in ``state``: all of them or none."""
    if differences := [text for name, thing in state.items() for text in _differences(name, thing, saved)]:
        raise CourseError(f"the checkpoint {path} does not fit: {'; '.join(differences)}")
    before = {name: copy.deepcopy(thing.state_dict()) for name, thing in state.items()}
    try:
        for name, thing in state.items():
            thing.load_state_dict(saved.state[name])
    except Exception as error:  # whatever a class of the user's raises
        for name, thing in state.items():
            thing.load_state_dict(before[name])
        raise CourseError(f"the checkpoint {path} does not fit {name}: {error}") from error
    for thing in state.values():
        if isinstance(thing, Optimizer):
            _match_memory_layout(thing)


def _differences(name: str, thing: Stateful, saved: Checkpoint) -> Iterator[str]:
    """In words, where the saved state of ``name`` does not fit ``thing``."""
    kind = type(thing).__name__
    if name not in saved.state:
        yield f"it holds {sorted(saved.state)}, not {name!r}"
    elif isinstance(thing, nn.Module):
        yield from _module_differences(name, thing.state_dict(), saved.state[name])
    elif kind != saved.kinds[name]:
        yield f"{name} is of class {saved.kinds[name]} there, {kind} here"
    elif isinstance(thing, Optimizer):
        yield from _optimizer_differences(name, thing, saved.state[name])


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
                    yield f"{name} {key} of parameter {number} is {_describe(tensor)} there, for {_describe(parameter)}"


def _belongs(tensor: Tensor, key: str, parameter: Tensor, fused: bool) -> bool:
    """Whether an optimizer can keep this ``tensor`` for a parameter.

    It has the parameter's dtype and shape, or is a scalar such as the number of steps. Adafactor also keeps means over
    an axis, which broadcast to the parameter's shape. Fused kernels check nothing: for them only ``step`` is a scalar.
    """
    if tensor.ndim == 0 and (key == "step" or not fused):
        return True
    if key == "step" or tensor.dtype != parameter.dtype:
        return False
    if fused or tensor.ndim != parameter.ndim:
        return tensor.shape == parameter.shape
    return all(length in (1, whole) for length, whole in zip(tensor.shape, parameter.shape, strict=True))


def _match_memory_layout(optimizer: Optimizer) -> None:
    """Store an optimizer's tensors in the order in which their parameters are stored.

    Fused kernels walk through a parameter and its moments side by side in memory. The file holds all tensors row by
    row, but the parameters can have another order: ``channels_last``.
    """
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _describe(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"no tensor but {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


# Writing nested values as tensors and JSON


def _to_bytes(checkpoint: Checkpoint) -> bytes:
    tensors: dict[str, Tensor] = {}
    content = {name: _to_json(value, name, tensors) for name, value in vars(checkpoint).items()}
    header = {"coursekit": json.dumps({"format": FORMAT}), "content": json.dumps(content)}
    return save(tensors, header)


def _to_json(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` for JSON: tensors become their names in ``tensors``; dicts become lists of pairs, for any keys."""
    match value:
        case Tensor():
            if path in tensors:
                raise ValueError(f"two tensors are called {path}: rename one of them")
            # A copy each: safetensors refuses weights that share memory, as tied ones do.
            tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": path}
        case dict():
            pairs = [
                [_to_json(key, path, tensors), _to_json(item, f"{path}/{key}", tensors)] for key, item in value.items()
            ]
            return {"counter" if isinstance(value, Counter) else "dict": pairs}
        case list() | tuple():
            items = [_to_json(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
            return {"tuple": items} if isinstance(value, tuple) else items
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(
        f"{path} cannot be saved: expected tensors, numbers, strings, None or containers of them, "
        f"got {type(value).__name__}"
    )


def _from_json(text: str, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `_to_json` wrote as ``text``."""

    def restored(node: dict[str, Any]) -> Any:  # JSON objects come here from the inside out
        match node:
            case {"tensor": path}:
                return tensors[path]
            case {"dict": pairs}:
                return dict(pairs)
            case {"counter": pairs}:
                return Counter(dict(pairs))
            case {"tuple": items}:
                return tuple(items)
        return node

    return json.loads(text, object_hook=restored)
