"""Models that generate. One idea has one module:

- ``vae``       variational autoencoders: fully connected, convolutional and linear
- ``gan``       the game of generator and discriminator, as a training step
- ``wgan``      the critic with clipped weights or a gradient penalty, as a training step
- ``wae``       Wasserstein autoencoders: codes kept like the prior by MMD or a discriminator, as a training step
- ``seeds``     small nets of several seeds, trained at once
- ``measures``  what a sample is worth: mode coverage, Fréchet distance, precision and recall, copies, sharpness
"""

from coursekit.generative.gan import (
    GAN,
    discriminator_loss,
    generator_loss,
    optimal_discriminator,
    real_gradient_penalty,
)
from coursekit.generative.measures import (
    ModeCoverage,
    coverage,
    frechet_distance,
    mode_coverage,
    nearer_to_training,
    precision_recall,
    sharpness,
)
from coursekit.generative.seeds import Draws, StackedLinear, stacked
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
from coursekit.generative.wae import WAE, latent_mmd2
from coursekit.generative.wgan import WGAN, clip_weights, gradient_penalty

__all__ = [
    "GAN",
    "VAE",
    "WAE",
    "WGAN",
    "ConvolutionalVAE",
    "Draws",
    "LatentGaussianModel",
    "LinearVAE",
    "ModeCoverage",
    "StackedLinear",
    "active_units",
    "bernoulli_log_likelihood",
    "clip_weights",
    "coverage",
    "discriminator_loss",
    "frechet_distance",
    "gaussian_log_likelihood",
    "generator_loss",
    "gradient_penalty",
    "kl_to_prior",
    "latent_mmd2",
    "mode_coverage",
    "nearer_to_training",
    "optimal_discriminator",
    "precision_recall",
    "real_gradient_penalty",
    "sharpness",
    "stacked",
]
