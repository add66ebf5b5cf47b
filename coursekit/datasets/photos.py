"""Photographs that ship inside scikit-image and scikit-learn."""

from importlib.resources import files

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.errors import CourseError
from coursekit.validation import require_choice

PHOTOGRAPHS = {
    "astronaut": ("skimage.data", "astronaut.png"),
    "camera": ("skimage.data", "camera.png"),
    "chelsea": ("skimage.data", "chelsea.png"),
    "china": ("sklearn.datasets.images", "china.jpg"),
    "coffee": ("skimage.data", "coffee.png"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
    "hubble": ("skimage.data", "hubble_deep_field.jpg"),
    "retina": ("skimage.data", "retina.jpg"),
    "rocket": ("skimage.data", "rocket.jpg"),
}


def photographs(*names: str) -> dict[str, Float[Tensor, "3 _ _"]]:
    """Photographs by name, each (3, h, w), float32 in [0, 1]; all of them if no name is given.

    The one grey photograph, ``camera``, has three equal channels. Nothing is downloaded: the files are read from the
    installed packages directly, since ``skimage.data`` would ask the network for those it lacks.

    Raises:
        ValueError: a name is unknown; the message lists near ones.
        CourseError: the installed scikit-image or scikit-learn no longer holds the photograph.

    >>> {name: tuple(image.shape) for name, image in photographs("chelsea", "coffee").items()}
    {'chelsea': (3, 300, 451), 'coffee': (3, 400, 600)}
    """
    for name in names:
        require_choice(name, "photograph", PHOTOGRAPHS)
    return {name: _read(*PHOTOGRAPHS[name]) for name in names or PHOTOGRAPHS}


def _read(package: str, filename: str) -> Float[Tensor, "3 h w"]:
    from skimage.color import gray2rgb
    from skimage.io import imread
    from skimage.util import img_as_float32

    path = files(package) / filename
    if not path.is_file():
        raise CourseError(f"the installed {package.partition('.')[0]} holds no {filename}: expected it at {path}.")
    pixels = img_as_float32(imread(path))  # (h, w) or (h, w, 3)
    colours = gray2rgb(pixels) if pixels.ndim == 2 else pixels
    return torch.from_numpy(colours).movedim(-1, 0).contiguous()
