"""Classifiers of torchvision, where it is installed."""

from collections import OrderedDict

from torch import nn

from coursekit.errors import CourseError, unknown
from coursekit.nets.blocks import Standardize

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # what the weights of torchvision expect
IMAGENET_STD = (0.229, 0.224, 0.225)


def torchvision_model(name: str) -> nn.Module:
    """A classifier of torchvision ("alexnet", "resnet18", "densenet121") with its default ImageNet weights.

    Like the course's own nets it takes images in [0, 1]: it is a sequence of ``standardize`` and ``net``, and a layer
    that torchvision calls ``features.0`` is ``net.features.0``. torchvision is not part of the course, and its weights
    are a download (AlexNet 233 MB, ResNet-18 45 MB).

    Raises:
        CourseError: torchvision is not installed or does not work, or the weights cannot be fetched.
        ValueError: torchvision has no such classifier.
    """
    try:
        from torchvision import models
    except Exception as error:  # beside another build of torch the import fails with RuntimeError or OSError
        raise CourseError(
            f"{name} needs torchvision, which cannot be imported ({error}). Install the build that matches your "
            "torch: pip install torchvision. The course's own nets need nothing: coursekit.nets.pretrained('residual')."
        ) from error
    if name not in (known := models.list_models(models)):
        raise ValueError(unknown("torchvision model", name, known))
    try:
        net = models.get_model(name, weights="DEFAULT")
    except OSError as error:
        raise CourseError(f"the weights of {name} could not be downloaded: {error}. Are you online?") from error
    return nn.Sequential(OrderedDict(standardize=Standardize(IMAGENET_MEAN, IMAGENET_STD), net=net)).eval()
