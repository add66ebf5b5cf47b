"""Data for the lectures, as tensors; images are float32 in [0, 1].

- ``digits``                                 embedded, 8×8: the default where such small images will do
- ``mnist_sample``                           embedded, 28×28: the default of autoencoders and generative models
- ``mnist``, ``fashion_mnist``, ``cifar10``  downloaded once, with checksum, when first asked for
- ``photographs``                            embedded: the photographs of scikit-image and scikit-learn
- ``shapes``                                 synthetic: class, place and mask of each image are known
- ``adding``, ``copying``, ``reber``         synthetic: sequences that ask for memory, and strings of a grammar

The first five are `ImageDataset`s with the parts ``train`` and ``test``, each of them `LabelledImages`; ``shapes`` are
`SegmentedImages`, which have masks and boxes besides.

``__init__.pyi`` lists the names. They are imported when first used, so that ``coursekit data`` does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
