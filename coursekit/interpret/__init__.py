"""Looking into trained nets: what they see, which images they find alike, why they decide, what fools them.

Every function takes a batch of images, any ``nn.Module`` and a layer by its dotted name, on any device and in float32
or float64, and leaves the model exactly as it was. One idea has one module:

- ``layers``           a layer by name, its activations
- ``receptive_field``  receptive fields, the patches that excite a unit most
- ``filters``          how well Gabor functions fit first-layer filters
- ``sparse_coding``    sparse codes and dictionaries (Olshausen and Field)
- ``neighbours``       nearest neighbours; ``tsne``: t-SNE
- ``relu_rules``       gradient, deconvnet, guided backpropagation
- ``gradients``        gradients of scores and units, saliency; ``segmentation``: an object from its saliency
- ``occlusion``        the score as a grey square moves
- ``evaluation``       do the maps tell the truth?
- ``ascent``           images that a unit likes best
- ``adversarial``      images that fool a net; ``box_lbfgs``: the optimizer that finds them
"""

from coursekit.interpret.adversarial import linear_attack, szegedy_attack
from coursekit.interpret.ascent import activation_maximization
from coursekit.interpret.evaluation import (
    cascading_randomization,
    deletion_curve,
    insertion_curve,
    intersection_over_union,
    pointing_game,
    rank_correlation,
)
from coursekit.interpret.filters import gabor_fit
from coursekit.interpret.gradients import input_gradient, saliency, unit_gradient
from coursekit.interpret.layers import activations
from coursekit.interpret.neighbours import nearest_neighbours
from coursekit.interpret.occlusion import occluded_activation, occlusion, spread_over_pixels
from coursekit.interpret.receptive_field import receptive_field, top_patches
from coursekit.interpret.relu_rules import relu_rule
from coursekit.interpret.segmentation import segment
from coursekit.interpret.sparse_coding import learn_dictionary, sparse_code
from coursekit.interpret.tsne import joint_probabilities, tsne

__all__ = [
    "activation_maximization",
    "activations",
    "cascading_randomization",
    "deletion_curve",
    "gabor_fit",
    "input_gradient",
    "insertion_curve",
    "intersection_over_union",
    "joint_probabilities",
    "learn_dictionary",
    "linear_attack",
    "nearest_neighbours",
    "occluded_activation",
    "occlusion",
    "pointing_game",
    "rank_correlation",
    "receptive_field",
    "relu_rule",
    "saliency",
    "segment",
    "sparse_code",
    "spread_over_pixels",
    "szegedy_attack",
    "top_patches",
    "tsne",
    "unit_gradient",
]
