"""An object cut out of its picture by a saliency map, without ever having seen a mask."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, from_numpy

FOREGROUND, BACKGROUND = 0.95, 0.3  # quantiles of the saliency
SLACK = 1e-3  # added to the variances of colours in [0, 1], for a ground of a single colour


def segment(image: Float[Tensor, "c h w"], saliency: Float[Tensor, "_ _"], components: int = 1) -> Bool[Tensor, "h w"]:
    """The mask of the object that the saliency points at: Simonyan's recipe.

    The 5 % most salient pixels are taken for object and the 30 % least salient for ground. A Gaussian mixture is
    fitted to the colours of each, and every pixel goes where its colour is likelier. The object is the largest
    connected part. The recipe of the paper smooths the mask by a graph cut as well. Source: Simonyan, Vedaldi &
    Zisserman, ICLR workshop 2014.

    Args:
        image: colours (or grey) in [0, 1]; photographs can be larger than what the net saw.
        components: Gaussians in each mixture. One does for plain colours, and for few pixels.

    Raises:
        ValueError: image and saliency differ in size or hold NaN; the saliency is too flat to tell object from ground.
    """
    from skimage.measure import label
    from sklearn.mixture import GaussianMixture

    if image.shape[1:] != saliency.shape:
        raise ValueError(
            f"expected a saliency map of the image's size {tuple(image.shape[1:])}, got {tuple(saliency.shape)}"
        )
    if not (image.isfinite().all() and saliency.isfinite().all()):
        raise ValueError("the image or its saliency holds NaN or infinite numbers")
    colours = image.detach().cpu().flatten(1).T.numpy()  # (h·w, c)
    values = saliency.detach().cpu().flatten().numpy()  # (h·w,)
    low, high = np.quantile(values, [BACKGROUND, FOREGROUND])
    salient, calm = (values >= high) & (values > low), values <= low
    if min(salient.sum(), calm.sum()) <= components:
        raise ValueError(
            f"{salient.sum()} salient and {calm.sum()} calm pixels are too few for {components} Gaussians: the "
            "saliency is flat, or the image is too small"
        )
    likelihoods = [
        GaussianMixture(components, reg_covar=SLACK, random_state=0).fit(colours[seeds]).score_samples(colours)
        for seeds in (salient, calm)
    ]
    parts = label((likelihoods[0] > likelihoods[1]).reshape(saliency.shape))  # 0 is the ground
    largest = np.bincount(parts.ravel(), minlength=2)[1:].argmax() + 1
    return from_numpy(parts == largest).to(image.device)
