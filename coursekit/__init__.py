"""Companion package of the lecture notebooks *Deep Learning: A Statistical Perspective*.

Subjects, each the home of one idea:

- ``coursekit.datasets``      digits, MNIST, Fashion-MNIST, CIFAR-10, photographs; downloads with checksum
- ``coursekit.autoencoders``  linear, tied, sparse, k-sparse, denoising and convolutional autoencoders

Services, which the lectures use and do not teach:

- ``coursekit.training``      the loop around a step, device and precision, seeds, checkpoints, progress
- ``coursekit.figures``       style, image grids, curves; the one home of matplotlib
- ``coursekit.course``        what a notebook needs: set-up, profiles, claims, exercises, widgets
- ``coursekit.cli``           the command ``coursekit``: run, data, doctor

This module imports nothing, so that ``import coursekit`` costs nothing.
"""

__version__ = "0.1.0"
