"""The net of Karpathy's ConvNetJS demo, trained on CIFAR-10."""

from coursekit.nets.convolutional import convnetjs
from coursekit.nets.recipes.classification import Settings, cifar10_classifier

RECIPE = cifar10_classifier(
    "convnetjs",
    "the net of the ConvNetJS demo, 22 466 parameters",
    convnetjs,
    Settings(schedule=((0, 0.002), (7.5, 0.05), (30, 0.0)), shift=2),
)
