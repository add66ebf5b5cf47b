"""Data for the lectures; images are float32 tensors in [0, 1], texts are strings.

- ``digits``                                 embedded, 8×8: the default where such small images will do
- ``mnist_sample``                           embedded, 28×28: the default of autoencoders and generative models
- ``mnist``, ``fashion_mnist``, ``cifar10``  downloaded once, with checksum, when first asked for
- ``photographs``                            embedded: the photographs of scikit-image and scikit-learn
- ``shapes``                                 synthetic: class, place and mask of each image are known
- ``stdlib_text``                            text: the source of Python's standard library on this machine
- ``tiny_shakespeare``                       text, downloaded like MNIST
- ``captioned_shapes``                       synthetic: one to three shapes in a row, and a sentence that names them
- ``opinions``                               synthetic: sentences with negation and contrast, in pairs of the same words
- ``draw_numbers``                           numbers, with their English and Korean names by rule
- ``PieceTable``                             translates number names by a table of pieces
- ``moving_shapes``                          synthetic: films of a shape that hides, pauses and turns
- ``ring``, ``grid``, ``parallel_lines``     points of the plane whose law is known
- ``adding``, ``copying``, ``reber``         synthetic: sequences that ask for memory, and strings of a grammar

The first five are `ImageDataset`s with the parts ``train`` and ``test``, each of them `LabelledImages`; ``shapes`` are
`SegmentedImages`, which have masks and boxes besides. The texts are `TextDataset`s. Sentences are columns of numbers,
by a `Vocabulary`.

``__init__.pyi`` lists the names. They are imported when first used, so that ``coursekit data`` does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
