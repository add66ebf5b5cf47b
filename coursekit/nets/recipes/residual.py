"""The residual net, trained on CIFAR-10."""

from coursekit.nets.recipes.classification import Settings, cifar10_classifier
from coursekit.nets.residual import ResidualNet

RECIPE = cifar10_classifier(
    "residual",
    "a residual net with a stem of 64 filters of 7×7, 0.9 M parameters",
    ResidualNet,
    Settings(
        schedule=((0, 0.004), (6, 0.1), (24, 0.0), (28, 0.05), (40, 0.0)),
        weight_decay=5e-4,
        smoothing=0.1,
        precision="bf16",
    ),
)
