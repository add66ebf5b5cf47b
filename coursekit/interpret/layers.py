"""What every look into a net needs: its scores, a layer by name, and the output of that layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from coursekit.validation import require_choice, require_floating, require_images, require_integer, require_labels

Target = int | Int[Tensor, "_"] | Callable[[Any], Tensor]
Position = tuple[int, int] | Int[Tensor, "_ 2"]


def check_model(model: nn.Module) -> None:
    """Refuse a model whose output is random or depends on the other images of the batch: it cannot be explained."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected an nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        random = isinstance(module, nn.modules.dropout._DropoutNd)
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if norm and module.running_mean is None:
            raise ValueError(
                f"{type(module).__name__} ({name or 'the model itself'}) keeps no running statistics: its answer "
                "depends on the other images of the batch, in evaluation mode too"
            )
        if module.training and (random or norm):
            answer = "is different at every call" if random else "depends on the other images of the batch"
            raise ValueError(
                f"the model is in training mode, and with {type(module).__name__} ({name or 'itself'}) its answer "
                f"{answer}: call model.eval() first"
            )


def forward(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Any:
    """Whatever the model returns.

    Raises:
        ValueError: the model cannot take the images; or it draws random numbers, or changes a buffer, on the way: it
            would return something else the next time. Buffers are then put back.
    """
    random = _generators(images.device)
    moving = any(module.training for module in model.modules())
    buffers = {name: (b, b._version, b.clone()) for name, b in model.named_buffers()} if moving else {}
    try:
        output = model(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ValueError(
            f"{type(model).__name__} cannot take images of shape {tuple(images.shape)}, {images.dtype}, on "
            f"{images.device}: {error}"
        ) from error
    changed = [name for name, (buffer, version, _) in buffers.items() if buffer._version != version]
    with torch.no_grad():
        for name in changed:
            buffers[name][0].copy_(buffers[name][2])
    if changed or not all(map(torch.equal, random, _generators(images.device))):
        why = f"changes {', '.join(changed)}" if changed else "draws random numbers"
        raise ValueError(
            f"{type(model).__name__} {why} when it runs, so its answer is different at every call: call model.eval() "
            "first, or take out what does that"
        )
    return output


def _generators(device: torch.device) -> list[Tensor]:
    """The states of the generators that a model on the device draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def scores(model: nn.Module, images: Float[Tensor, "n c h w"], target: Target) -> Float[Tensor, " n"]:
    """One score per image: that of a class, that of the image's own class, or any function of the model's output.

    Args:
        target: a class; the classes of the images, an integer tensor (N,); or a function from whatever the model
            returns to N numbers. The first two need a model that returns a tensor (N, classes).

    Raises:
        TypeError: a target of another type, such as a list; a model that returns no tensor, with a class as target; a
            function that returns no floating-point tensor.
        ValueError: a target outside the classes or not of length N; an output without classes.
    """
    output, n = forward(model, images), len(images)
    if callable(target):
        return _require_scores(target(output), n)

    # A class picks one column of the output in each row.
    name = type(model).__name__
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{name} returns a {type(output).__name__}, but a class as target needs a tensor (N, classes): pass as "
            "target a function that picks N scores, such as lambda output: output[0][:, 3]"
        )
    require_floating(output, f"the output of {name}")
    if output.ndim != 2 or len(output) != n:
        raise ValueError(
            f"{name} returns shape {tuple(output.shape)} for {n} images, but a class as target needs an output "
            "(N, classes): pass a function of the output"
        )
    k = output.shape[1]
    if isinstance(target, int) or getattr(target, "ndim", None) == 0:
        return output[:, require_integer(target, "target", low=0, high=k - 1)]
    classes = require_labels(target, "target", count=n, classes=k).to(output.device)
    return output.gather(1, classes[:, None].long())[:, 0]


def _require_scores(values: Any, n: int) -> Tensor:
    """What a target function returned: N floating-point numbers."""
    if not isinstance(values, Tensor) or not values.is_floating_point():
        found = str(values.dtype) if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"target: expected a function that returns a floating-point tensor, got {found}")
    if values.shape != (n,):
        raise ValueError(f"target: expected one score per image, shape ({n},), got {tuple(values.shape)}")
    return values


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule with that dotted name; the error for any other name suggests similar ones."""
    layers = {path: module for path, module in model.named_modules() if path}
    return layers[require_choice(name, "layer", layers)]


@contextmanager
def recorded(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Inside the block every output of the layer is appended to the list. The hook is removed afterwards."""
    outputs: list[Tensor] = []

    def append(_module: nn.Module, _inputs: tuple, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer {layer!r} returns a {type(output).__name__}, not a tensor: choose a layer inside it"
            )
        outputs.append(output.clone())  # an in-place ReLU behind the layer would change the output itself

    handle = find_layer(model, layer).register_forward_hook(append)
    try:
        yield outputs
    finally:
        handle.remove()


def layer_output(model: nn.Module, images: Float[Tensor, "n c h w"], layer: str) -> Shaped[Tensor, "n ..."]:
    """The output of a layer, with its graph. If the layer runs several times, the last output counts."""
    with recorded(model, layer) as outputs:
        forward(model, images)
    if not outputs:
        raise ValueError(f"layer {layer!r} did not run: the model's forward does not call it")
    if outputs[-1].shape[:1] != images.shape[:1]:
        raise ValueError(
            f"layer {layer!r} gives {tuple(outputs[-1].shape)} for {len(images)} images: its first axis is not theirs"
        )
    return outputs[-1]


def channel_of(output: Shaped[Tensor, "n ..."], layer: str, channel: int) -> Shaped[Tensor, "n ..."]:
    """The maps or units (N, ...) of one channel of a layer's output (N, channels, ...)."""
    if output.ndim < 2:
        raise ValueError(f"layer {layer!r} gives {tuple(output.shape)}, without an axis of channels")
    channel = require_integer(channel, f"channel of layer {layer!r}", low=0, high=output.shape[1] - 1)
    return output[:, channel]


def unit_value(
    output: Shaped[Tensor, "n ..."], layer: str, channel: int, position: Position | None
) -> Float[Tensor, " n"]:
    """The value of one unit for every image, or with no position the mean over the channel's map.

    Args:
        output: of the layer, (N, channels, h, w) or (N, units).
        position: (row, column) in the map; or an integer tensor (N, 2), one position for each image.
    """
    if output.ndim not in (2, 4):
        raise ValueError(
            f"expected a layer with outputs (N, channels, h, w) or (N, units), {layer!r} gives {tuple(output.shape)}"
        )
    maps = channel_of(output, layer, channel)  # (n, h, w) or (n,)
    if position is None:
        return maps.flatten(1).mean(dim=1) if maps.ndim == 3 else maps
    if maps.ndim == 1:
        raise ValueError(f"the units of layer {layer!r} have no position: leave out position={position}")
    rows, columns = _positions(position, maps, layer).unbind(dim=1)  # (n,) each
    return maps[torch.arange(len(maps), device=maps.device), rows, columns]


def _positions(position: Position, maps: Shaped[Tensor, "n h w"], layer: str) -> Int[Tensor, "n 2"]:
    """One (row, column) for each image, inside its map."""
    n, height, width = maps.shape
    places = torch.as_tensor(position, device=maps.device)
    if places.is_floating_point() or places.dtype == torch.bool:
        raise TypeError(f"position: expected integers, got {str(places.dtype).removeprefix('torch.')}")
    if places.shape not in ((2,), (n, 2)):
        raise ValueError(
            f"position: expected one (row, column), or one for each of the {n} images, got shape {tuple(places.shape)}"
        )
    places = places.expand(n, 2).long()
    if ((places < 0) | (places >= places.new_tensor([height, width]))).any():
        raise ValueError(f"position {position} lies outside the {height}×{width} map of layer {layer!r}")
    return places


@torch.no_grad()
def activations(
    model: nn.Module, images: Float[Tensor, "n c h w"], layer: str, batch_size: int = 256
) -> Shaped[Tensor, "n ..."]:
    """The output of a layer for all images, computed in batches.

    Args:
        layer: the layer's dotted name, as in ``model.named_modules()``.

    Returns:
        For a convolution (N, C, h, w), on the device of the images.

    Raises:
        TypeError: images that are not float32 or float64.
        ValueError: an unknown layer; images that are not a batch (N, C, H, W) of finite numbers that the model can
            take; a model in training mode with dropout or batch normalization.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())
    >>> activations(model, torch.rand(2, 3, 32, 32), "0").shape
    torch.Size([2, 8, 28, 28])
    """
    check_model(model)
    require_images(images)
    batches = images.split(require_integer(batch_size, "batch_size", low=1))
    layer_output(model, images[:1], layer)  # by chance, a batch can be as long as an axis that comes before it
    return torch.cat([layer_output(model, batch, layer) for batch in batches])
