"""Nets that several lectures share, the weights that our recipes trained, and the recipes."""

from coursekit.nets.blocks import Standardize
from coursekit.nets.convolutional import CIFAR10_MEAN, CIFAR10_STD, convnet, convnetjs
from coursekit.nets.residual import ResidualBlock, ResidualNet
from coursekit.nets.torchvision import torchvision_model
from coursekit.nets.weights import NETS, accuracy, card, pretrained, weights_folder

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "NETS",
    "ResidualBlock",
    "ResidualNet",
    "Standardize",
    "accuracy",
    "card",
    "convnet",
    "convnetjs",
    "pretrained",
    "torchvision_model",
    "weights_folder",
]
