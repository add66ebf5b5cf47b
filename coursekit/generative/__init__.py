"""Models that generate. One idea has one module:

- ``vae``  variational autoencoders: fully connected, convolutional and linear
"""

from coursekit.generative.vae import (
    VAE,
    ConvolutionalVAE,
    LatentGaussianModel,
    LinearVAE,
    active_units,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl_to_prior,
)

__all__ = [
    "VAE",
    "ConvolutionalVAE",
    "LatentGaussianModel",
    "LinearVAE",
    "active_units",
    "bernoulli_log_likelihood",
    "gaussian_log_likelihood",
    "kl_to_prior",
]
