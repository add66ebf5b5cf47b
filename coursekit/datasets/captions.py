"""Images of one to three coloured shapes in a row, with the sentence that names them from left to right."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.datasets.synthetic import signed_distance
from coursekit.datasets.vocabulary import Vocabulary
from coursekit.validation import require_integer

COLOURS = {"red": (0.9, 0.15, 0.15), "green": (0.1, 0.75, 0.2), "blue": (0.25, 0.4, 1.0), "yellow": (0.95, 0.85, 0.1)}
FORMS = ("circle", "square", "triangle", "cross")
MOST = 3  # objects in an image
HEIGHT, WIDTH = 20, 48  # pixels
RADIUS = 0.38  # of the largest object, as a fraction of the height

OBJECTS = tuple(itertools.product(COLOURS, FORMS))
WORDS = Vocabulary(("a", *COLOURS, *FORMS, ",", "and"))


@dataclass(frozen=True, eq=False)
class CaptionedImages:
    """Images and their captions.

    Attributes:
        images: (n, 3, h, w), numbers in [0, 1].
        captions: as lists of words: "a red cross , a blue circle and a red square".
        tokens: (t, n), the captions as numbers of `WORDS`, each with an end, and padded.
    """

    images: Float[Tensor, "n c h w"]
    captions: list[list[str]]
    tokens: Int[Tensor, "t n"]


def caption(objects: Sequence[tuple[str, str]]) -> list[str]:
    """The sentence for objects (colour, form) from left to right; ``ValueError`` if one is no such pair.

    >>> " ".join(caption([("red", "cross"), ("blue", "circle"), ("red", "square")]))
    'a red cross , a blue circle and a red square'
    """
    words: list[str] = []
    for k, it in enumerate(objects):
        if not isinstance(it, tuple) or it not in OBJECTS:
            raise ValueError(f"objects: expected pairs of a colour and a form, such as {OBJECTS[0]}, got {it!r}")
        colour, form = it
        between = [] if k == 0 else ["and"] if k == len(objects) - 1 else [","]
        words += [*between, "a", colour, form]
    return words


def all_captions() -> list[str]:
    """Every caption that can occur, as a text: 16 of one object, 256 of two and 4096 of three."""
    return [" ".join(caption(it)) for count in range(1, MOST + 1) for it in itertools.product(OBJECTS, repeat=count)]


def captioned_shapes(n: int, seed: int = 0, without: Collection[str] = (), fewest: int = 1) -> CaptionedImages:
    """Images of one to three objects in a row, in four colours and four forms, on a dark background with noise.

    The numbers of objects take turns. Each object's colour and form are drawn independently, so two objects can be
    alike; then its size, and its place within one of three cells.

    Args:
        n: the number of images.
        seed: another one gives other images.
        without: captions that must not be drawn, as texts.
        fewest: the fewest objects in an image.

    Raises:
        ValueError: a text in ``without`` is no caption, or for some number of objects it holds every caption.

    >>> data = captioned_shapes(2)
    >>> [" ".join(words) for words in data.captions]
    ['a yellow circle', 'a yellow cross and a green square']
    """
    n = require_integer(n, "n", low=1)
    fewest = require_integer(fewest, "fewest", low=1, high=MOST)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    excluded = set(without)
    _require_something_left(excluded, fewest)
    scenes: list[list[tuple[str, str]]] = []
    while len(scenes) < n:
        count = fewest + len(scenes) % (MOST + 1 - fewest)
        objects = [OBJECTS[k] for k in torch.randint(len(OBJECTS), (count,), generator=generator).tolist()]
        if " ".join(caption(objects)) not in excluded:
            scenes.append(objects)
    captions = [caption(objects) for objects in scenes]
    return CaptionedImages(_drawn(scenes, generator), captions, WORDS.encode(captions))


def _require_something_left(excluded: set[str], fewest: int) -> None:
    """Every number of objects has a caption that is not excluded."""
    if unknown := sorted(excluded.difference(all_captions())):
        raise ValueError(f"without: {unknown[0]!r} is no caption")
    numbers = [1 + text.count(",") + text.count("and") for text in excluded]
    for count in range(fewest, MOST + 1):
        if numbers.count(count) == len(OBJECTS) ** count:
            raise ValueError(f"without: every caption of {count} object{'s' * (count > 1)} is excluded")


def _drawn(scenes: list[list[tuple[str, str]]], generator: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """One image for each scene. Lengths are in heights of an image until a shape is drawn."""
    backgrounds = 0.05 + 0.2 * torch.rand(len(scenes), 3, 1, 1, generator=generator)
    noise = 0.04 * torch.randn(len(scenes), 3, HEIGHT, WIDTH, generator=generator)
    images = (backgrounds + noise).clamp(0, 1)  # (n, 3, h, w)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")  # (h, w): pixel centres
    for image, scene in zip(images, scenes, strict=True):
        radii, shades, down, across = torch.rand(4, len(scene), generator=generator)  # (objects,) each
        radii, shades = RADIUS * (0.75 + 0.25 * radii), 0.85 + 0.15 * shades
        down = radii + (1 - 2 * radii) * down
        # Each object has a cell of its own, and moves a little in it.
        cells = torch.randperm(MOST, generator=generator)[: len(scene)].sort().values  # (objects,)
        room = WIDTH / HEIGHT / MOST - 2 * radii
        across = cells * WIDTH / HEIGHT / MOST + radii + room * across
        for k, (colour, form) in enumerate(scene):
            r = radii[k] * HEIGHT  # pixels
            distance = signed_distance(form, (x - across[k] * HEIGHT) / r, (y - down[k] * HEIGHT) / r) * r  # (h, w)
            paint = shades[k] * torch.tensor(COLOURS[colour])[:, None, None]  # (3, 1, 1)
            image.lerp_(paint, (0.5 - distance).clamp(0, 1))
    return images
