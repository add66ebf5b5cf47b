"""Checkpoints: one safetensors file that is replaced as a whole, without pickle.

The file holds each tensor under its path in the nested states (``state/model/0.weight``). Everything else (step
sizes, settings, history) is JSON in the file's header, together with the nesting. A checksum there covers all of it.
"""

import copy
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.optim import Optimizer

from coursekit.errors import CourseError
from coursekit.files import atomic_path
from coursekit.training.compatibility import differences, listed

FORMAT = 3


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
    >>> from torch import nn
    >>> model, twin = nn.Linear(3, 1), nn.Linear(3, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(Path(folder, "model.safetensors"), {"model": model}, accuracy=0.75)
    ...     load_checkpoint(Path(folder, "model.safetensors"), {"model": twin})
    {'accuracy': 0.75}
    >>> bool((twin.weight == model.weight).all())
    True
    """
    path = Path(path)
    require_state(state)
    states = {name: thing.state_dict() for name, thing in state.items()}
    kinds = {name: type(thing).__name__ for name, thing in state.items()}
    content = _to_bytes(Checkpoint(states, kinds, extra))
    with _writing(path), atomic_path(path, sync=True) as part:
        part.write_bytes(content)


def require_writable(path: Path) -> None:
    """Make sure, before anything is computed, that a checkpoint can be written to ``path``."""
    with _writing(path):
        path.exists()  # an error if the name is too long
        tempfile.TemporaryFile(dir=path.parent).close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A block that writes into the folder of ``path``, which is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
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
    require_state(state)
    saved = read_checkpoint(path)
    restore(path, saved, state)
    return saved.extra


def require_state(state: Any) -> Mapping[str, Stateful]:
    """Modules, optimizers and the like, by name."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a dict of modules and optimizers, got {type(state).__name__}")
    for name, thing in state.items():
        if not isinstance(thing, Stateful):
            raise TypeError(f"state: expected {name!r} to be a module or an optimizer, got {type(thing).__name__}")
    return state


def read_checkpoint(path: Path | str) -> Checkpoint:
    """All that `save_checkpoint` wrote, with the tensors on the CPU."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise CourseError(f"{path} is {'a folder' if path.is_dir() else 'no plain file'}, not a checkpoint")
        content = path.read_bytes()  # at once, because the file can be replaced meanwhile
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        if "coursekit" not in metadata:
            raise CourseError(f"{path} is a safetensors file, but not a checkpoint of coursekit.training")
        header = metadata["coursekit"]
        version = json.loads(header)["format"]
        if version != FORMAT:
            raise CourseError(f"{path} has checkpoint format {version}, but this version of coursekit reads {FORMAT}")
        if metadata.get("checksum") != (found := _checksum(header, tensors)):
            raise ValueError(f"its checksum is {found}, and it was written with {metadata.get('checksum')}")
        return Checkpoint(**_from_json(header, tensors)["content"])
    except FileNotFoundError as error:
        raise CourseError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise CourseError(f"the checkpoint {path} cannot be read ({error.strerror})") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"{path} is damaged or not a safetensors file ({error}). Delete it and train again."
        ) from error


def restore(path: Path | str, saved: Checkpoint, state: Mapping[str, Stateful]) -> None:
    """Load the states of ``saved``, read from ``path``, into the things in ``state``: all of them or none."""
    # Compare everything before anything changes.
    wrong: list[str] = []
    for name, thing in state.items():
        if name in saved.state:
            wrong += differences(name, thing, saved.kinds[name], saved.state[name])
        else:
            wrong.append(f"it holds {sorted(saved.state)}, not {name!r}")
    if wrong:
        raise CourseError(f"the checkpoint {path} does not fit: {listed(wrong)}")

    # Load, or go back if a class finds a fault of its own.
    before = {name: copy.deepcopy(thing.state_dict()) for name, thing in state.items()}
    try:
        for name, thing in state.items():
            thing.load_state_dict(saved.state[name])
    except Exception as error:
        for name, thing in state.items():
            thing.load_state_dict(before[name])
        raise CourseError(f"the checkpoint {path} does not fit {name}: {error}") from error
    for thing in state.values():
        if isinstance(thing, Optimizer):
            _match_memory_layout(thing)


def _match_memory_layout(optimizer: Optimizer) -> None:
    """Store an optimizer's tensors in the order in which their parameters are stored.

    Fused kernels walk through a parameter and its moments side by side in memory. The file holds all tensors row by
    row, but the parameters can have another order: ``channels_last``.
    """
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


# Nested values as tensors and JSON


def _to_bytes(checkpoint: Checkpoint) -> bytes:
    tensors: dict[str, Tensor] = {}
    content = {name: _to_json(value, name, tensors) for name, value in vars(checkpoint).items()}
    header = json.dumps({"format": FORMAT, "content": content})
    return save(tensors, {"coursekit": header, "checksum": _checksum(header, tensors)})


def _checksum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """A CRC of the header and of each tensor's name, type, shape and bytes; safetensors itself has no checksum."""
    crc = zlib.crc32(header.encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(bytes_of(tensor), crc)
    return f"{crc:08x}"


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor's numbers, row by row."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _to_json(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` for JSON: a tensor becomes its name in ``tensors``, a dict a list of pairs, which holds any keys."""
    match value:
        case Tensor() if value.layout == torch.strided and not (value.is_meta or value.is_quantized or value.is_nested):
            path = path.encode(errors="backslashreplace").decode()  # a key may be no valid Unicode
            while path in tensors:  # the keys 1 and "1", or "a/b" and "b" in "a", make the same path
                path += "'"
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

    def decoded(node: dict[str, Any]) -> Any:  # JSON objects come here from the inside out
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

    return json.loads(text, object_hook=decoded)
