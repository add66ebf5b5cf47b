"""An object cut out of its image by a saliency map, although no mask was ever seen."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, from_numpy

from coursekit.validation import require_integer, require_tensor

FOREGROUND, BACKGROUND = 0.95, 0.3  # quantiles of the saliency
SLACK = 1e-3  # added to the variances of colours in [0, 1], so that a background of a single colour has a likelihood


def segment(image: Float[Tensor, "c h w"], saliency: Float[Tensor, "_ _"], components: int = 1) -> Bool[Tensor, "h w"]:
    """The mask of the object at which the saliency points, by Simonyan's recipe.

    The 5 % most salient pixels serve as samples of the object, the 30 % least salient as samples of the background. A
    Gaussian mixture is fitted to the colours of each, every pixel joins the side under which its colour is more
    likely, and the object is the largest connected part. The paper also smooths the mask by a graph cut.

    Args:
        image: colours (or grey) in [0, 1]; photographs can be larger than the images that the net saw.
        saliency: one number for each pixel; only the order of the numbers counts.
        components: Gaussians in each mixture. One is enough for plain colours, and for few pixels.

    Raises:
        TypeError: an image or a saliency that is not float32 or float64.
        ValueError: image and saliency of different size, or not finite; a saliency too flat to tell the object from
            the background.

    Source: K. Simonyan, A. Vedaldi and A. Zisserman, Deep inside convolutional networks, ICLR workshop 2014.
    """
    from skimage.measure import label
    from sklearn.mixture import GaussianMixture

    require_tensor(image, "image", "c h w")
    require_tensor(saliency, "saliency", "{} {}".format(*image.shape[1:]))
    components = require_integer(components, "components", low=1)
    colours = image.detach().cpu().flatten(1).T.numpy()  # (h·w, c)
    values = saliency.detach().cpu().flatten().numpy()  # (h·w,)

    # Sample pixels of both sides. Where most of the saliency is 0, fewer than 5 % of the pixels are salient.
    low, high = np.quantile(values, [BACKGROUND, FOREGROUND])
    foreground, background = (values >= high) & (values > low), values <= low
    if min(foreground.sum(), background.sum()) <= components:
        raise ValueError(
            f"saliency: {foreground.sum()} foreground and {background.sum()} background pixels are too few for "
            f"{components} Gaussians each: the saliency is flat, or the image is too small"
        )

    # Every pixel joins the side under which its colour is more likely.
    likelihoods = [
        GaussianMixture(components, reg_covar=SLACK, random_state=0).fit(colours[samples]).score_samples(colours)
        for samples in (foreground, background)
    ]  # (h·w,) each
    parts = label((likelihoods[0] > likelihoods[1]).reshape(saliency.shape))  # (h, w), 0 for the background

    # The object is the largest connected part.
    largest = np.bincount(parts.ravel(), minlength=2)[1:].argmax() + 1
    return from_numpy(parts == largest).to(image.device)
