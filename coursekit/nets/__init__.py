"""Nets that several lectures share, the blocks they are built from, and trained weights with their recipes."""

from coursekit.nets.blocks import Standardize, convolutional_decoder, convolutional_encoder, fully_connected
from coursekit.nets.convolutional import CIFAR10_MEAN, CIFAR10_STD, convnet, convnetjs
from coursekit.nets.residual import ResidualBlock, ResidualNet
from coursekit.nets.torchvision import torchvision_model
from coursekit.nets.weights import WeightsCard, accuracy, card, pretrained, weights_folder

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "ResidualBlock",
    "ResidualNet",
    "Standardize",
    "WeightsCard",
    "accuracy",
    "card",
    "convnet",
    "convnetjs",
    "convolutional_decoder",
    "convolutional_encoder",
    "fully_connected",
    "pretrained",
    "torchvision_model",
    "weights_folder",
]
