"""Looking into trained nets: what they see, which pictures they find alike, why they decide, what fools them.

Every function takes a batch of images, any ``nn.Module`` and a layer by its dotted name, on any device and in float32
or float64, and leaves the model exactly as it was. One idea has one module:

- ``layers``          a layer by name, its activations
- ``receptive``       receptive fields, the patches that excite a unit most
- ``filters``         how well Gabor functions fit first-layer filters
- ``sparse_coding``   sparse codes and dictionaries (Olshausen and Field)
- ``neighbours``      nearest neighbours; ``manifold``: t-SNE
- ``backward_rules``  gradient, deconvnet, guided backpropagation
- ``gradients``       gradients of scores and units, saliency; ``segmentation``: an object from its saliency
- ``occluding``       the score as a grey square moves
- ``evaluation``      do the maps tell the truth?
- ``ascent``          pictures that a unit likes best
- ``adversarial``     pictures that fool a net

Names are resolved when first used.
"""

from coursekit.lazy import lazily

_HOMES = {
    "activations": "layers",
    "receptive_field": "receptive",
    "top_patches": "receptive",
    "gabor_fit": "filters",
    "sparse_code": "sparse_coding",
    "learn_dictionary": "sparse_coding",
    "nearest_neighbours": "neighbours",
    "joint_probabilities": "manifold",
    "tsne": "manifold",
    "relu_rule": "backward_rules",
    "input_gradient": "gradients",
    "unit_gradient": "gradients",
    "saliency": "gradients",
    "segment": "segmentation",
    "occlusion": "occluding",
    "occluded_activation": "occluding",
    "spread_over_pixels": "occluding",
    "deletion_curve": "evaluation",
    "insertion_curve": "evaluation",
    "pointing_game": "evaluation",
    "intersection_over_union": "evaluation",
    "cascading_randomization": "evaluation",
    "rank_correlation": "evaluation",
    "activation_maximization": "ascent",
    "szegedy_attack": "adversarial",
    "linear_attack": "adversarial",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = lazily(__name__, _HOMES)
