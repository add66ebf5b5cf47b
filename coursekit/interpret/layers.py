"""What every look into a net needs: checked images, a score per image, a layer by name, its output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from coursekit.errors import unknown

Target = int | Int[Tensor, "_"] | Callable[[Tensor], Tensor]
Position = tuple[int, int] | Int[Tensor, "_ 2"]


def check_model(model: nn.Module) -> None:
    """A model whose answer depends on the other images of the batch, or on chance, cannot be explained."""
    for name, module in model.named_modules():
        random = isinstance(module, nn.modules.dropout._DropoutNd)
        if module.training and (random or isinstance(module, nn.modules.batchnorm._BatchNorm)):
            answer = "is different at every call" if random else "depends on the other images of the batch"
            raise ValueError(
                f"the model is in training mode, and with {type(module).__name__} ({name or 'itself'}) its answer "
                f"{answer}: call model.eval() first"
            )


def check_images(images: Tensor) -> None:
    """Images are a batch (N, C, H, W) of finite floating-point numbers, N ≥ 1."""
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"expected images as a floating-point batch (N, C, H, W), got shape {tuple(images.shape)} of {images.dtype}"
            + ("; for one image pass image[None]" if images.ndim == 3 else "")
        )
    if len(images) == 0:
        raise ValueError("expected at least one image, got an empty batch")
    if bad := int((~images.isfinite()).sum()):
        raise ValueError(f"{bad} of {images.numel()} pixels are NaN or infinite")


def forward(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Tensor:
    """The model's output, or an error that names the images' shape where the model cannot take them."""
    try:
        return model(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ValueError(
            f"{type(model).__name__} cannot take images of shape {tuple(images.shape)}, {images.dtype}, on "
            f"{images.device}: {error}"
        ) from error


def scores(output: Tensor, target: Target) -> Float[Tensor, " n"]:
    """The number per image that is asked about: a class's score, each image's own class's, or any function.

    Args:
        output: what the model returned, (N, classes) where ``target`` is an int or a tensor.
        target: a class; classes (N,); or a function from the output to N numbers.
    """
    n = len(output)
    if callable(target):
        chosen = target(output)
        if chosen.shape != (n,):
            raise ValueError(f"target must give one score per image, shape ({n},), got {tuple(chosen.shape)}")
        return chosen
    if output.ndim != 2:
        raise ValueError(
            f"a class as target needs an output (N, classes), got {tuple(output.shape)}: pass a function of the output"
        )
    classes = torch.as_tensor(target, device=output.device)
    if classes.ndim == 0:
        classes = classes.expand(n)
    if classes.shape != (n,):
        raise ValueError(f"expected one class per image, shape ({n},), got {tuple(classes.shape)}")
    k = output.shape[1]
    if wrong := classes[(classes < 0) | (classes >= k)].unique().tolist():
        raise ValueError(f"target {wrong} lies outside the {k} classes 0 … {k - 1}")
    return output.gather(1, classes[:, None].long())[:, 0]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The submodule of that dotted name; ``ValueError`` with the near ones if there is none."""
    layers = dict(model.named_modules())
    if not name or name not in layers:
        raise ValueError(unknown("layer", name, filter(None, layers)))
    return layers[name]


@contextmanager
def recorded(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Inside the block every output of the layer is appended to the list; the hook is gone afterwards."""
    outputs: list[Tensor] = []

    def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"layer {layer!r} gives a {type(output).__name__}, not one tensor: choose one inside it")
        outputs.append(output.clone())  # an in-place ReLU behind the layer would change the output itself

    handle = find_layer(model, layer).register_forward_hook(note)
    try:
        yield outputs
    finally:
        handle.remove()


def layer_output(model: nn.Module, images: Float[Tensor, "n c h w"], layer: str) -> Shaped[Tensor, "n ..."]:
    """What the layer gives for the images, with its graph; the last time, if the layer runs several times."""
    with recorded(model, layer) as outputs:
        forward(model, images)
    if not outputs:
        raise ValueError(f"layer {layer!r} did not run: the model's forward does not call it")
    return outputs[-1]


def channel_of(output: Tensor, layer: str, channel: int) -> Tensor:
    """The maps or units (N, ...) of one channel in a layer's output (N, channels, ...)."""
    if not 0 <= channel < output.shape[1]:
        raise ValueError(f"layer {layer!r} has the channels 0 … {output.shape[1] - 1}, got {channel}")
    return output[:, channel]


def unit_value(output: Tensor, layer: str, channel: int, position: Position | None) -> Float[Tensor, " n"]:
    """The unit's value, or the mean of the channel, for every image."""
    if output.ndim not in (2, 4):
        raise ValueError(
            f"expected a layer with outputs (N, channels, h, w) or (N, units), {layer!r} gives {tuple(output.shape)}"
        )
    maps = channel_of(output, layer, channel)  # (N, h, w) or (N,)
    if position is None:
        return maps.flatten(1).mean(dim=1) if maps.ndim == 3 else maps
    if maps.ndim == 1:
        raise ValueError(f"the units of layer {layer!r} have no place: leave out position={position}")
    n, height, width = maps.shape
    places = torch.as_tensor(position, device=maps.device)
    if places.shape not in ((2,), (n, 2)):
        raise ValueError(f"expected one position, or one for each of the {n} images, got shape {tuple(places.shape)}")
    places = places.expand(n, 2)
    if ((places < 0) | (places >= places.new_tensor([height, width]))).any():
        raise ValueError(f"position {position} lies outside the {height}×{width} map of layer {layer!r}")
    return maps[torch.arange(n, device=maps.device), places[:, 0], places[:, 1]]


@torch.no_grad()
def activations(
    model: nn.Module, images: Float[Tensor, "n c h w"], layer: str, batch_size: int = 256
) -> Shaped[Tensor, "n ..."]:
    """The output of a layer, by its dotted name, for all images; (N, C, h, w) for a convolution, on the images' device.

    Raises:
        ValueError: no such layer (the message names near ones); images that are not a finite batch (N, C, H, W) that
            the model can take; a model in training mode with dropout or batch normalization.
    """
    check_model(model)
    check_images(images)
    return torch.cat([layer_output(model, part, layer) for part in images.split(batch_size)])
