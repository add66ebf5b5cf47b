"""Data for the lectures: each name below is a function that gives tensors, float32 in [0, 1].

- ``digits``                              embedded, the default everywhere
- ``mnist``, ``fashion_mnist``, ``cifar10``  downloaded once, with checksum, when first asked for
- ``photographs``                         embedded: the pictures of scikit-image and scikit-learn
- ``shapes``                              drawn: class, place and mask of each picture are known

Names are resolved when first used, so that ``coursekit data list`` does not wait for torch.
"""

from importlib import import_module

_HOMES = {
    "ImageSet": "images",
    "digits": "images",
    "mnist": "images",
    "fashion_mnist": "images",
    "cifar10": "images",
    "photographs": "pictures",
    "shapes": "drawn",
    "ShapeSet": "drawn",
    "DataUnavailable": "store",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
