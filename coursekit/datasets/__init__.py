"""Data for the lectures: each name below is a function that gives tensors, float32 in [0, 1].

- ``digits``                              embedded, the default everywhere
- ``mnist``, ``fashion_mnist``, ``cifar10``  downloaded once, with checksum, when first asked for
- ``photographs``                         embedded: the pictures of scikit-image and scikit-learn
- ``shapes``                              drawn: class, place and mask of each picture are known

Names are resolved when first used, so that ``coursekit data list`` does not wait for torch.
"""

from coursekit.lazy import lazily

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
__getattr__, __dir__ = lazily(__name__, _HOMES)
