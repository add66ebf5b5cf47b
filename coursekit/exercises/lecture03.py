"""Exercises of lecture 3: rules at a ReLU, occlusion, and a map that points at the object."""

import copy
import dataclasses
import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import datasets
from coursekit.datasets import SegmentedImages
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.exercises.trained import trained_classifier
from coursekit.interpret import input_gradient, occlusion, pointing_game

# Every pair of signs: f is the input of a ReLU, R the signal that comes down to it.
F_BELOW, R_ABOVE = torch.meshgrid(torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([-5.0, 0.0, 4.0]), indexing="ij")
IMAGE = torch.arange(72.0).reshape(3, 4, 6) / 72
WEIGHT = torch.linspace(-1, 1, 72).reshape(6, 4, 3).permute(2, 1, 0)  # (3, 4, 6), negative on the left
SIDE = 24  # pixels, of the square that holds one shape
POINTING = 0.6  # the fraction of cases in which a map must point at the right shape


def relu_backward(f: Tensor, R: Tensor, rule: str) -> Tensor:
    """What a ReLU with input f (…) passes down of the signal R (…), by rule "gradient", "deconvnet" or "guided"."""
    passes = {"gradient": f > 0, "deconvnet": R > 0, "guided": torch.minimum(f, R) > 0}[rule]
    return torch.where(passes, R, 0)


def occlusion_drops(score: Callable[[Tensor], Tensor], image: Tensor, window: int) -> Tensor:
    """What the score loses when each window of an image is set to 0.

    Args:
        score: (n, c, h, w) → (n,).
        image: (c, h, w), both sides multiples of the window.
        window: the side of the windows, which lie side by side.

    Returns:
        The drops, (h / window, w / window).
    """
    covered = occlusion(nn.Identity(), image[None], score, window, window)[0]
    return score(image[None])[0] - covered


def my_saliency(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Maps (n, h, w) for images (n, 3, h, w) and their classes (n,): gradient × (x − x̄), averaged over 13×13 pixels."""
    away = images - images.mean(dim=(2, 3), keepdim=True)  # (n, 3, h, w), from the mean colour x̄
    products = (input_gradient(net, images, labels) * away).sum(dim=1, keepdim=True)
    return F.avg_pool2d(products, 13, stride=1, padding=6)[:, 0]


def check_my_saliency(answer: Answer) -> str:
    """The largest value of the answer's maps lies on the shape that the net names in at least 60 % of the cases.

    Two nets look at the same images. Each shows a light shape and a dark one of the same class; one net has learned to
    name the light shape, the other one the dark shape. So whoever does not ask the net, but looks for contrast, edges
    or the class, is right for at most one of the two nets: in 50 % of the cases.

    An honest map may still draw all shapes of an image, whichever class is asked about. So what the answer does with
    two light shapes of different classes does not decide, but the verdict tells it.
    """
    images, labels, masks = _judged_images()
    fractions = []
    for net, mask in zip(_nets(), masks, strict=True):
        maps = answer(copy.deepcopy(net), images.clone(), labels.clone())
        maps = require_result(maps, tuple(mask.shape), "one map for each image").float()
        fractions.append(pointing_game(maps, _near(mask)).mean().item())
    fraction = sum(fractions) / len(fractions)
    if fraction < POINTING:
        raise Wrong(
            f"the largest value lies on the shape that the net names in {100 * fraction:.0f} % of the cases; wanted at "
            f"least {100 * POINTING:.0f} %. Every image shows two shapes, a light and a dark one. One net names the "
            "light shape, another one the dark shape, so a map that ignores the net is right in at most 50 %. Where a "
            "single pixel jumps, its neighbours may help"
        )
    tells = "tells" if _on_the_asked(answer) >= POINTING else "does not tell"
    return (
        f"it points at the shape that the net names in at least {100 * POINTING:.0f} % of the cases; "
        f"it {tells} two classes in one image apart"
    )


def _near(mask: Tensor) -> Tensor:
    """On a shape or two pixels beside it, because gradients are largest just outside an outline: (n, h, w)."""
    return F.max_pool2d(mask.float(), 5, stride=1, padding=2) > 0


def _on_the_asked(answer: Answer) -> float:
    """Of what the answer puts on two light shapes (values > 0), the fraction on the one whose class is asked about."""
    net, _ = _nets()
    images, classes, masks = _two_classes()
    fractions = []
    for asked in (0, 1):
        maps = torch.as_tensor(answer(copy.deepcopy(net), images.clone(), classes[asked].clone())).float().clamp(min=0)
        on, off = ((maps * mask).sum(dim=(1, 2)) for mask in (masks[asked], masks[1 - asked]))  # (n,) each
        fractions.append(torch.where(on + off > 0, on / (on + off), 0.5).mean().item())
    return sum(fractions) / 2


@functools.cache
def _two_classes() -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images with two light shapes, whose classes are the first two answers of the net; these classes; the masks."""
    shapes = datasets.shapes(480, size=SIDE, seed=2)
    order = torch.randperm(480, generator=torch.Generator().manual_seed(0))
    left, right = shapes[order[:240]], shapes[order[240:]]
    images, masks = _side_by_side(left, right)
    net, _ = _nets()
    named = net(images).topk(2).indices.sort(dim=1).values  # (n, 2)
    both = (named == torch.stack([left.labels, right.labels], dim=1).sort(dim=1).values).all(dim=1)
    return images[both], (left.labels[both], right.labels[both]), (masks[0][both], masks[1][both])


@functools.cache
def _judged_images() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Images with two shapes of one class, both named correctly; their classes; the masks of the two shapes."""
    # Neighbours in the order of the classes make a pair, unless one class ends between them.
    shapes = datasets.shapes(120, size=SIDE, seed=1)
    shapes = shapes[shapes.labels.argsort(stable=True)]
    same = shapes.labels[0::2] == shapes.labels[1::2]
    light, dark = shapes[0::2][same], shapes[1::2][same]
    images, masks = _light_beside_dark(light, dark)

    right = [net(images).argmax(dim=1) == light.labels for net in _nets()]  # (n,) each
    both = right[0] & right[1]
    return images[both], light.labels[both], (masks[0][both], masks[1][both])


@functools.cache
def _nets() -> tuple[nn.Module, nn.Module]:
    """A net that names the light one of two shapes, and one that names the dark one."""
    shapes = datasets.shapes(1500, size=SIDE)
    light, dark = shapes[:750], shapes[750:]
    images, _ = _light_beside_dark(light, dark)
    # In the negative of an image the dark shape is the light one.
    images, labels = torch.cat([images, 1 - images]), torch.cat([light.labels, dark.labels])
    names_light = trained_classifier(_convolutional_net, images, labels, lr=1e-2, epochs=8)
    return names_light, _for_negatives(names_light)


def _convolutional_net() -> nn.Sequential:
    """Four convolutions whose channels are averaged over the image: what a shape is does not depend on its place."""
    layers: list[nn.Module] = []
    for before, after in [(3, 16), (16, 32), (32, 32), (32, 32)]:
        # Not padded with zeros, because zeros would be another colour in the negative.
        convolution = nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate", bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if before < 32 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 6))


def _for_negatives(net: nn.Module) -> nn.Module:
    """A net of the same form that says of an image what ``net`` says of its negative."""
    # The first layers compute (w∗(1 − x) − m) / σ, which is ((−w)∗x − (m − Σw)) / σ.
    state = net.state_dict()
    weight, mean = state["0.weight"], state["1.running_mean"]
    twin = _convolutional_net()
    twin.load_state_dict(state | {"0.weight": -weight, "1.running_mean": mean - weight.sum(dim=(1, 2, 3))})
    return twin.eval()


def _light_beside_dark(light: SegmentedImages, dark: SegmentedImages) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Images (n, 3, h, 2w), the dark shape beside the light one, and the masks (n, h, 2w) of the light and the dark."""
    images, masks = _side_by_side(light, dataclasses.replace(dark, images=1 - dark.images))
    # Every other image is mirrored, so that the light shape is as often on the right.
    for pixels in (images, *masks):
        pixels[1::2] = pixels[1::2].flip(-1)
    return images, masks


def _side_by_side(left: SegmentedImages, right: SegmentedImages) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Images (n, 3, h, 2w) of two shapes, and the masks (n, h, 2w) of the left and the right one."""
    nothing = torch.zeros_like(left.masks)
    masks = torch.cat([left.masks, nothing], dim=2), torch.cat([nothing, right.masks], dim=2)
    return torch.cat([left.images, right.images], dim=3), masks


exercise = Exercises(
    by_cases(
        occlusion_drops,
        {
            "a linear score": (lambda x: (x * WEIGHT).sum(dim=(1, 2, 3)), IMAGE, 2),
            "a score that is not linear": (lambda x: x.square().amax(dim=(1, 2, 3)), IMAGE, 2),
            "a window over everything": (lambda x: x.sum(dim=(1, 2, 3)), IMAGE[:, :, :4], 4),
        },
    ),
    by_cases(relu_backward, {rule: (F_BELOW, R_ABOVE, rule) for rule in ("gradient", "deconvnet", "guided")}),
    Exercise(my_saliency, check_my_saliency),
)
