"""Approximate Bayesian inference: the ELBO and its gradients, mean field, expectation propagation.

Tensors may be float32 or float64. All functions but ``elbo`` and the gradients compute in float64, on the CPU, and
return float64. Every iterative function reports whether it converged. One idea has one module:

- ``elbo``                     the evidence lower bound by sampling
- ``gradients``                score-function and reparameterized gradients, sample by sample
- ``quadrature``               integrals on a grid
- ``gaussian_fit``             the Gaussian closest to a density, in either KL divergence
- ``mean_field``               a correlated Gaussian
- ``normal_gamma``             a Gaussian of unknown mean and precision
- ``mixture``                  a mixture of Gaussians
- ``expectation_propagation``  EP for factors of one projection each
- ``clutter``                  Minka's clutter problem, five ways
- ``probit``                   probit regression
"""

from coursekit.bayes.clutter import (
    ClutterPosterior,
    clutter_log_joint,
    clutter_posterior,
    clutter_sites,
    sample_clutter,
)
from coursekit.bayes.elbo import Estimate, elbo
from coursekit.bayes.expectation_propagation import (
    ExpectationPropagation,
    Sites,
    SiteUpdate,
    TiltedMoments,
    expectation_propagation,
)
from coursekit.bayes.gaussian_fit import GaussianFit, fit_gaussian
from coursekit.bayes.gradients import reparameterized_gradient, score_gradient
from coursekit.bayes.mean_field import MeanFieldGaussian, mean_field_gaussian
from coursekit.bayes.mixture import MeanFieldMixture, mean_field_mixture
from coursekit.bayes.normal_gamma import (
    MeanFieldNormalGamma,
    NormalGamma,
    mean_field_normal_gamma,
    normal_gamma_posterior,
)
from coursekit.bayes.probit import ProbitPosterior, probit_log_joint, probit_posterior, probit_sites
from coursekit.bayes.quadrature import Grid, grid, kl_divergence, log_integral, moments, normalize

__all__ = [
    "ClutterPosterior",
    "Estimate",
    "ExpectationPropagation",
    "GaussianFit",
    "Grid",
    "MeanFieldGaussian",
    "MeanFieldMixture",
    "MeanFieldNormalGamma",
    "NormalGamma",
    "ProbitPosterior",
    "SiteUpdate",
    "Sites",
    "TiltedMoments",
    "clutter_log_joint",
    "clutter_posterior",
    "clutter_sites",
    "elbo",
    "expectation_propagation",
    "fit_gaussian",
    "grid",
    "kl_divergence",
    "log_integral",
    "mean_field_gaussian",
    "mean_field_mixture",
    "mean_field_normal_gamma",
    "moments",
    "normal_gamma_posterior",
    "normalize",
    "probit_log_joint",
    "probit_posterior",
    "probit_sites",
    "reparameterized_gradient",
    "sample_clutter",
    "score_gradient",
]
