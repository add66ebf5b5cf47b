"""Checkpoints: one safetensors file that is replaced as a whole, and no pickle.

The tensors of nested ``state_dict``s lie in the file under their path (``keep/model/0.weight``); everything
else (step sizes, settings, history) is JSON in the file's metadata, from which the nesting is rebuilt.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from coursekit.errors import CourseError

FORMAT = 1


def save_checkpoint(path: Path | str, keep: Mapping[str, Any], **extra: Any) -> None:
    """Write the states of the things in ``keep`` (models, optimizers) and ``extra`` values to ``path``.

    The file is written beside ``path`` and then takes its place, so that whoever reads ``path``, or is killed
    here, finds the old checkpoint or the new one. ``extra`` may nest dicts, lists, tuples, tensors, numbers
    and strings. Raises `CourseError` if the file cannot be written.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    states = {name: thing.state_dict() for name, thing in keep.items()}
    kinds = {name: type(thing).__name__ for name, thing in keep.items()}
    tree = _flatten({"keep": states, "kinds": kinds, **extra}, "", tensors)
    content = save(tensors, {"coursekit": json.dumps({"format": FORMAT, "tree": tree})})

    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise CourseError(
            f"the checkpoint {path} could not be written ({error.strerror}); "
            "an earlier one is intact. Free some space or choose another place."
        ) from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left to remove
            part.unlink(missing_ok=True)


def load_checkpoint(path: Path | str, keep: Mapping[str, Any]) -> dict[str, Any]:
    """Put the states saved in ``path`` into the things in ``keep`` and return the extra values.

    ``keep`` may hold fewer things than were saved: the model alone, say. Raises `CourseError` if the file is
    missing, damaged or of another kind, or if its states do not fit; no model is changed then.
    """
    saved = read_checkpoint(path)
    restore(path, saved, keep)
    return {name: value for name, value in saved.items() if name not in ("keep", "kinds")}


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """All that `save_checkpoint` wrote, as nested dicts on the CPU."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("coursekit", "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  no mapping
    except FileNotFoundError as error:
        raise CourseError(f"there is no checkpoint {path}") from error
    except (OSError, SafetensorError) as error:
        raise CourseError(f"{path} is damaged or no safetensors file ({error}). Delete it and train again.") from error
    if header is None:
        raise CourseError(f"{path} is a safetensors file, but not a checkpoint of coursekit.training")
    if header["format"] != FORMAT:
        raise CourseError(
            f"{path} has checkpoint format {header['format']}, but this version of coursekit reads {FORMAT}"
        )
    return _unflatten(header["tree"], tensors)


def restore(path: Path | str, saved: dict[str, Any], keep: Mapping[str, Any]) -> None:
    """Put the states of ``saved`` (read from ``path``) into ``keep``, after comparing all of them."""
    differences = []
    for name, thing in keep.items():
        if name not in saved["keep"]:
            differences.append(f"it holds {sorted(saved['keep'])}, not {name!r}")
        elif isinstance(thing, nn.Module):
            differences += _differences(name, thing.state_dict(), saved["keep"][name])
        elif type(thing).__name__ != saved["kinds"][name]:
            differences.append(f"{name} is {saved['kinds'][name]} there, {type(thing).__name__} here")
    if differences:
        raise CourseError(f"the checkpoint {path} does not fit: " + "; ".join(differences))
    for name, thing in keep.items():
        try:
            thing.load_state_dict(saved["keep"][name])
        except (RuntimeError, ValueError) as error:
            raise CourseError(f"the checkpoint {path} does not fit {name}: {error}") from error


def _differences(name: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    missing = [f"{name} lacks {key} there" for key in here if key not in there]
    unknown = [f"{name} has {key} only there" for key in there if key not in here]
    shapes = [
        f"{name} {key} is {tuple(there[key].shape)} there, {tuple(here[key].shape)} here"
        for key in here
        if key in there and isinstance(here[key], Tensor) and here[key].shape != there[key].shape
    ]
    return missing + unknown + shapes


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON: tensors are names, and dicts lists of pairs because JSON has no integer keys."""
    below = f"{path}/" if path else ""
    match value:
        case Tensor():
            # A copy each: safetensors refuses weights that share memory, as tied ones do.
            tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": path}
        case Mapping():
            return {"dict": [[key, _flatten(item, f"{below}{key}", tensors)] for key, item in value.items()]}
        case list() | tuple():
            items = [_flatten(item, f"{below}{i}", tensors) for i, item in enumerate(value)]
            return {"tuple": items} if isinstance(value, tuple) else items
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(
        f"{path} cannot be saved: expected tensors, numbers, strings, None or containers of them, "
        f"got {type(value).__name__}"
    )


def _unflatten(node: Any, tensors: dict[str, Tensor]) -> Any:
    match node:
        case {"tensor": name}:
            return tensors[name]
        case {"dict": pairs}:
            return {key: _unflatten(item, tensors) for key, item in pairs}
        case {"tuple": items}:
            return tuple(_unflatten(item, tensors) for item in items)
        case list():
            return [_unflatten(item, tensors) for item in node]
    return node
