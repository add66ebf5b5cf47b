"""Companion package of the lecture notebooks *Deep Learning: A Statistical Perspective*.

Data and models:

- ``coursekit.datasets``      images, photographs, synthetic shapes; downloads with checksum
- ``coursekit.nets``          nets and building blocks that several lectures share, trained weights, recipes

Subjects, each the home of one idea:

- ``coursekit.interpret``     what a trained net sees, finds alike, decides on, and is fooled by
- ``coursekit.recurrent``     the simple RNN, LSTM and GRU, and how gradients flow through time
- ``coursekit.autoencoders``  linear, tied, sparse, k-sparse, denoising and convolutional autoencoders

Services, which the lectures use and do not teach:

- ``coursekit.training``      the loop around a step, device and precision, seeds, checkpoints, progress
- ``coursekit.figures``       style, image grids, curves, heat maps; the one home of matplotlib
- ``coursekit.course``        what a notebook calls: set-up, profiles, claims, figures with captions and controls
- ``coursekit.exercises``     the checks of each lecture's exercises, and the course's own solutions
- ``coursekit.notebooks``     notebooks as files and runs: execute, report, student edition, slides
- ``coursekit.cli``           the command ``coursekit``: run, slides, student, data, train, doctor

This module imports nothing, so that ``import coursekit`` costs nothing.
"""

__version__ = "0.1.0"
