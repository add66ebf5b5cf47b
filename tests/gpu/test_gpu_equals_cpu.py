"""What looks into nets gives the same on the GPU as on the CPU, and leaves it there.

All in double precision: in single precision TF32 rounds more, and nearly equal numbers may change their order.
"""

import copy
from dataclasses import is_dataclass

import pytest
import torch
from torch import Tensor, nn

from coursekit import autoencoders as ae
from coursekit import interpret as it
from coursekit import recurrent as rc
from coursekit.nets import accuracy, pretrained

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def net():
    """The trained residual net: functional ReLUs, batch normalization, branches."""
    return pretrained("residual").double()


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, dtype=torch.float64)


@pytest.fixture
def points():
    """Three clouds of 40 points."""
    centres = 5 * torch.randn(3, 1, 12, dtype=torch.float64)
    return (centres + torch.randn(3, 40, 12, dtype=torch.float64)).flatten(0, 1)  # (120, 12)


OF_IMAGES = {
    "the net's scores": lambda net, x: net(x).detach(),
    "activations": lambda net, x: it.activations(net, x, "stage2"),
    "input_gradient, deconvnet": lambda net, x: it.input_gradient(net, x, 3, rule="deconvnet"),
    "input_gradient, guided": lambda net, x: it.input_gradient(net, x, 3, rule="guided"),
    "unit_gradient": lambda net, x: it.unit_gradient(net, x, "stage1", 5, (2, 3)),
    "saliency": lambda net, x: it.saliency(net, x, torch.tensor([0, 1, 2])),
    "occlusion": lambda net, x: it.occlusion(net, x, torch.tensor([0, 1, 2]), 8, 6, fill=0.5),
    "occluded_activation": lambda net, x: it.occluded_activation(net, x, "stage3", 2, 8, 8),
    "spread_over_pixels": lambda net, x: it.spread_over_pixels(it.occlusion(net, x, 0, 8, 8), (32, 32), 8, 8),
    "deletion_curve": lambda net, x: it.deletion_curve(net, x, it.saliency(net, x, 0), 0, 8),
    "insertion_curve": lambda net, x: it.insertion_curve(net, x, it.saliency(net, x, 0), 0, 8, x.flip(0)),
    "pointing_game": lambda net, x: it.pointing_game(it.saliency(net, x, 0), x[:, 0] > 0.5),
    "intersection_over_union": lambda net, x: it.intersection_over_union(x[:, 0] > 0.3, x[:, 1] > 0.5),
    "rank_correlation": lambda net, x: it.rank_correlation(it.saliency(net, x, 0), it.saliency(net, x, 1)),
    "segment": lambda net, x: it.segment(x[0], it.saliency(net, x, 0)[0]),
    "top_patches": lambda net, x: it.top_patches(net, "stem", x, 2),
    "the patches of top_patches": lambda net, x: it.top_patches(net, "stem", x, 2).patches(0),
    "activation_maximization": lambda net, x: it.activation_maximization(net, 3, x, steps=5, lr=0.1, penalty=0.01),
    "linear_attack": lambda net, x: it.linear_attack(x[0] - 0.5, 0.1, x[1:], margin=0.1),
    "gabor_fit": lambda net, x: it.gabor_fit(x[:1, :, :7, :7]),
}
OF_POINTS = {
    "nearest_neighbours": lambda x: it.nearest_neighbours(x[:50], x, 4),
    "joint_probabilities": lambda x: it.joint_probabilities(x, 10),
    "sparse_code": lambda x: it.sparse_code(x, x[:20] / x[:20].norm(dim=1, keepdim=True), 0.5),
    "learn_dictionary": lambda x: it.learn_dictionary(x, 20, 0.5, epochs=1, batch_size=60),
    "keep_top": lambda x: ae.keep_top(x, 3),
    "linear_denoiser": lambda x: ae.linear_denoiser(x.T.cov(), 0.3),
    "posterior_mean": lambda x: ae.posterior_mean(x + 0.1, x, 0.5),
}
OF_SEQUENCES = {
    "outputs": lambda layer, readout, x: layer(x)[0].detach(),
    "jacobian_product": lambda layer, readout, x: rc.jacobian_product(layer, x),
    "backpropagate": lambda layer, readout, x: rc.backpropagate(layer, readout, x, x.argmax(dim=2)),
}


def tensors(result):
    """The tensors of a result: of a tensor itself, a tuple, or a dataclass."""
    if isinstance(result, Tensor):
        return [result]
    parts = vars(result).values() if is_dataclass(result) else result
    return [part for part in parts if isinstance(part, Tensor)]


def require_equal(there, here, device, rtol=1e-7):
    for found, expected in zip(tensors(there), tensors(here), strict=True):
        assert found.device.type == device.type
        torch.testing.assert_close(found.cpu(), expected, rtol=rtol, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_what_explains_a_net(name, net, images, device):
    explain = OF_IMAGES[name]
    there = explain(copy.deepcopy(net).to(device), images.to(device))
    require_equal(there, explain(net, images), device)


@pytest.mark.parametrize("name", OF_POINTS)
def test_what_is_computed_from_points(name, points, device):
    compute = OF_POINTS[name]
    require_equal(compute(points.to(device)), compute(points), device)


@pytest.mark.parametrize("make", [rc.RNN, rc.LSTM])
@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_what_is_computed_from_sequences(name, make, device):
    compute, x = OF_SEQUENCES[name], torch.randn(9, 3, 4, dtype=torch.float64)
    layer, readout = make(4, 5).double(), nn.Linear(5, 4).double()
    there = compute(copy.deepcopy(layer).to(device), copy.deepcopy(readout).to(device), x.to(device))
    require_equal(there, compute(layer, readout, x), device)


@pytest.mark.parametrize("layer", ["stem", "stage1", "stage2.norm1", "stage3"])
def test_receptive_fields(layer, net, device):
    there = it.receptive_field(copy.deepcopy(net).to(device), layer, 32)
    assert there == it.receptive_field(net, layer, 32)


def test_attacks_succeed_alike(net, images, device):
    """Rounding may lead the search elsewhere, but to changes of nearly the same length."""
    there = it.szegedy_attack(copy.deepcopy(net).to(device), images.to(device), 3, rounds=5, steps=15)
    here = it.szegedy_attack(net, images, 3, rounds=5, steps=15)
    require_equal(there.success, here.success, device)
    require_equal(there.norms, here.norms, device, rtol=0.05)


def test_maps_are_as_good(points, device):
    """A change of the points in the sixth digit moves the KL by a thousandth after 50 steps and by 4 % in the end."""
    there, here = it.tsne(points.to(device), 10, progress=False), it.tsne(points, 10, progress=False)
    assert there.embedding.device.type == device.type
    assert there.history[50] == pytest.approx(here.history[50], rel=0.02)
    assert there.kl == pytest.approx(here.kl, rel=0.1)


def test_randomization_leaves_the_generators_alone(net, images, device):
    """The new weights come from the device's own generator, so only the layers can be compared."""

    def explain(model, x):
        return it.saliency(model, x, 0)

    torch.manual_seed(1)
    expected = torch.rand(3, device=device)
    torch.manual_seed(1)
    there = it.cascading_randomization(copy.deepcopy(net).to(device), images.to(device), explain)
    torch.testing.assert_close(torch.rand(3, device=device), expected, rtol=0, atol=0)
    assert list(there) == list(it.cascading_randomization(net, images, explain))
    assert all(-1 <= value <= 1 for value in there.values())


def test_accuracy_and_reconstruction_error(net, images, device):
    """Labelled images may stay on the CPU, however many they are."""
    labels = net(images).argmax(dim=1)
    assert accuracy(copy.deepcopy(net).to(device), images, labels) == 1

    autoencoder = ae.convolutional(8, size=32).double()
    here = ae.reconstruction_error(autoencoder, images[:, :1])
    there = ae.reconstruction_error(autoencoder.to(device), images[:, :1].to(device))
    assert there == pytest.approx(here, rel=1e-7)
