"""Autoencoders against closed forms and against scikit-learn."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from coursekit import autoencoders as ae


@pytest.fixture
def cloud():
    """300 centred points (300, 6) with very different spread along six rotated axes."""
    spread = torch.tensor([4.0, 3.0, 2.0, 0.5, 0.3, 0.1])
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    points = torch.randn(300, 6) * spread @ rotation.T
    return points - points.mean(dim=0)


def pca_residual(x, k):
    pca = PCA(k).fit(x)
    return F.mse_loss(torch.as_tensor(pca.inverse_transform(pca.transform(x))), x).item()


@pytest.mark.parametrize("build", [ae.linear, ae.Tied])
def test_linear_training_reaches_the_residual_of_pca_and_its_subspace(cloud, build):
    model = build(6, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.mse_loss(model(cloud), cloud)
        value.backward()
        return value

    optimizer.step(loss)
    assert ae.reconstruction_error(model, cloud) == pytest.approx(pca_residual(cloud, 3), rel=1e-4)
    projection = model(torch.eye(6))  # row i is what becomes of axis i
    wanted = torch.as_tensor(PCA(3).fit(cloud).components_).float()
    torch.testing.assert_close(projection, wanted.T @ wanted, atol=5e-3, rtol=0)


def test_tied_weights_are_one_matrix_and_an_optimum_is_a_projection(cloud):
    model = ae.Tied(6, 2)
    assert [p.shape for p in model.parameters()] == [(6, 2)]
    with torch.no_grad():
        model.weight.copy_(torch.as_tensor(PCA(2).fit(cloud).components_.T))
    assert ae.reconstruction_error(model, cloud) == pytest.approx(pca_residual(cloud, 2), rel=1e-5)


def test_tied_equals_its_formula():
    model = ae.Tied(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [2.0], [0.0]]))
    torch.testing.assert_close(model(torch.tensor([[1.0, 1.0, 5.0]])), torch.tensor([[3.0, 6.0, 0.0]]))


@pytest.mark.parametrize("build", [ae.linear, ae.Tied])
@pytest.mark.parametrize("k", [0, 4, 7])
def test_a_code_that_could_copy_is_refused(build, k):
    with pytest.raises(ValueError, match=rf"k: expected an integer from 1 to 3, got {k}"):
        build(4, k)


def test_deep_mirrors_its_widths_and_leaves_code_and_output_free():
    model = ae.deep(9, 7, 5, 2)
    widths = [layer.weight.shape for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(7, 9), (5, 7), (2, 5), (5, 2), (7, 5), (9, 7)]
    assert isinstance(model.encoder[-1], nn.Linear)
    assert isinstance(model.decoder[-1], nn.Linear)
    with pytest.raises(ValueError, match="widths: expected an integer from 1 on, got 0"):
        ae.deep(9, 0)
    with pytest.raises(ValueError, match="widths: expected at least those of the input and the code"):
        ae.deep(9)


@pytest.mark.parametrize("size", [8, 28])
def test_convolutional_gives_back_images_of_the_size_it_was_made_for(size):
    model = ae.convolutional(5, size, channels=(4, 6))
    images = torch.rand(3, 1, size, size)
    assert model.encoder(images).shape == (3, 5)
    assert model(images).shape == images.shape
    with pytest.raises(ValueError, match="size: expected a multiple of 4, got 30"):
        ae.convolutional(5, 30)


def test_sparse_code_is_not_negative_and_l1_is_its_mean_sum():
    code = ae.sparse(4, 10).encoder(torch.randn(20, 4))
    assert code.min() == 0
    assert ae.l1(torch.tensor([[1.0, -2.0], [0.0, 4.0]])) == pytest.approx(3.5)


def test_keep_top_keeps_the_highest_and_not_the_largest_in_magnitude():
    z = torch.tensor([[3.0, -9.0, 1.0, 2.0], [-1.0, -2.0, -3.0, -4.0]])
    torch.testing.assert_close(ae.keep_top(z, 2), torch.tensor([[3.0, 0.0, 0.0, 2.0], [-1.0, -2.0, 0.0, 0.0]]))


def test_keep_top_keeps_exactly_k_where_entries_tie():
    assert (ae.keep_top(torch.ones(5, 8), 3) != 0).sum(dim=1).tolist() == [3] * 5


@pytest.mark.parametrize("k", [0, 5])
def test_keep_top_refuses_a_k_outside_the_code(k):
    with pytest.raises(ValueError, match=f"k: expected an integer from 1 to 4, got {k}"):
        ae.keep_top(torch.ones(2, 4), k)


def test_k_sparse_code_has_k_entries_and_gradients_only_for_its_support():
    model = ae.KSparse(d=5, m=9, k=2)
    x = torch.randn(1, 5)
    code = model.encoder(x)
    assert (code != 0).sum() == 2
    model(x).sum().backward()
    touched = model.weight.grad.abs().sum(dim=0) > 0  # (m,)
    assert torch.equal(touched, code[0] != 0)
    with pytest.raises(ValueError, match="k: expected an integer from 1 to 9, got 10"):
        ae.KSparse(5, 9, 10)


def test_k_sparse_with_every_unit_on_is_the_tied_linear_autoencoder():
    sparse, tied = ae.KSparse(5, 3, k=3), ae.Tied(5, 3)
    with torch.no_grad():
        tied.weight.copy_(sparse.weight)
    x = torch.randn(4, 5)
    torch.testing.assert_close(sparse(x), tied(x))


def test_noise_has_the_spread_asked_for_and_mask_hits_the_fraction():
    x = torch.ones(400, 100)
    assert (ae.add_noise(x, 0.3) - x).std().item() == pytest.approx(0.3, rel=0.02)
    assert (ae.mask(x, 0.25) == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(ae.mask(x, 0.0), x)


def test_linear_denoiser_is_the_ridge_solution_of_its_normal_equations():
    """On data with exactly the covariance Σ and noise exactly orthogonal to them, least squares gives A."""
    sigma = 0.7
    orthonormal = torch.linalg.qr(torch.randn(50, 8, dtype=torch.double)).Q * 50**0.5
    mixing = torch.randn(4, 4, dtype=torch.double)
    x, noise = orthonormal[:, :4] @ mixing.T, sigma * orthonormal[:, 4:]  # (50, 4) each, uncorrelated
    fitted = torch.linalg.lstsq(x + noise, x).solution.T
    torch.testing.assert_close(ae.linear_denoiser(x.T @ x / 50, sigma), fitted)


def test_linear_denoiser_without_noise_is_the_identity():
    covariance = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    torch.testing.assert_close(ae.linear_denoiser(covariance, 0.0), torch.eye(3))


def test_posterior_mean_is_tweedies_formula():
    data, sigma = torch.randn(30, 2, dtype=torch.double), 0.5
    noisy = torch.randn(10, 2, dtype=torch.double, requires_grad=True)
    log_density = torch.logsumexp(-torch.cdist(noisy, data).square() / (2 * sigma**2), dim=1).sum()
    score = torch.autograd.grad(log_density, noisy)[0]
    torch.testing.assert_close(ae.posterior_mean(noisy, data, sigma), noisy + sigma**2 * score)


def test_posterior_mean_goes_to_the_nearest_point_without_noise_and_to_the_mean_with_much():
    data = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    noisy = torch.tensor([[0.1, 0.2]])
    torch.testing.assert_close(ae.posterior_mean(noisy, data, 0.01), data[:1])
    torch.testing.assert_close(ae.posterior_mean(noisy, data, 1e4), torch.tensor([[0.5, 0.5]]))


def test_reconstruction_error_goes_in_pieces_and_equals_the_whole():
    model, x = ae.linear(3, 1), torch.randn(2500, 3)
    assert ae.reconstruction_error(model, x) == pytest.approx(F.mse_loss(model(x), x).item(), rel=1e-5)
    noisy = x + 1
    assert ae.reconstruction_error(model, x, noisy) == pytest.approx(F.mse_loss(model(noisy), x).item(), rel=1e-5)
    with pytest.raises(ValueError, match=r"x: expected at least one element, got shape \(0, 3\)"):
        ae.reconstruction_error(model, x[:0])


def test_a_reconstruction_of_another_shape_is_not_broadcast(without_annotations):
    x = torch.rand(12, 6)
    with pytest.raises(ValueError, match=r"x and noisy: expected one shape, got \(11, 6\) and \(12, 6\)"):
        ae.reconstruction_error(ae.deep(6, 3), x[1:], noisy=x)
    with pytest.raises(ValueError, match=r"x and its reconstruction: expected one shape, got \(12, 6\) and \(12, 1\)"):
        ae.reconstruction_error(nn.Linear(6, 1), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_a_loss_calls_takes_half_precision_as_autocast_hands_it_on(dtype):
    z = torch.tensor([[3.0, -9.0, 1.0, 2.0]], dtype=dtype)
    assert ae.keep_top(z, 2).tolist() == [[3, 0, 0, 2]]
    assert ae.l1(z).item() == 15
    assert torch.equal(ae.mask(z, 0.0), z)
    assert torch.equal(ae.add_noise(z, 0.0), z)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ae.mask(x, -0.1), "fraction: expected a number ≥ 0 and ≤ 1, got -0.1"),
        (lambda x: ae.mask(x, 7), "fraction: expected a number ≥ 0 and ≤ 1, got 7"),
        (lambda x: ae.mask(x, torch.nan), "fraction: expected a number ≥ 0 and ≤ 1, got nan"),
        (lambda x: ae.add_noise(x, -1.0), "sigma: expected a number ≥ 0, got -1.0"),
        (lambda x: ae.l1(x[:0]), "z: expected at least one row"),
        (lambda x: ae.l1(x[0]), r"z: expected shape \(n, m\), got \(3,\)"),
        (lambda x: ae.posterior_mean(x, x, 0.0), "sigma: expected a number > 0, got 0.0"),
        (lambda x: ae.posterior_mean(x, x[:0], 1.0), "data: expected at least one element"),
        (lambda x: ae.posterior_mean(x, x[:, :2], 1.0), r"data: expected shape \(m, 3\), got \(4, 2\)"),
        (lambda x: ae.linear_denoiser(x[0], 1.0), r"covariance: expected shape \(d, d\), got \(3,\)"),
        (lambda x: ae.linear_denoiser(x, 1.0), r"covariance and its transpose: expected one shape, got \(4, 3\)"),
        (lambda x: ae.linear_denoiser(torch.tensor([[1.0, 5.0], [0.0, 1.0]]), 1.0), "symmetric matrix, .* 5 apart"),
        (lambda x: ae.linear_denoiser(torch.eye(3), -1.0), "sigma: expected a number ≥ 0, got -1.0"),
        (lambda x: ae.convolutional(5, 0), "size: expected an integer from 1 on, got 0"),
        (lambda x: ae.convolutional(0), "k: expected an integer from 1 on, got 0"),
        (lambda x: ae.sparse(3, 0), "m: expected an integer from 1 on, got 0"),
        (lambda x: ae.linear(1, 1), "d: expected an integer from 2 on, got 1"),
        (lambda x: ae.reconstruction_error(ae.linear(3, 1), x / 0), "x: 12 of 12 numbers are NaN or infinite"),
    ],
)
def test_wrong_values_are_told(call, message, without_annotations):
    with pytest.raises(ValueError, match=message):
        call(torch.rand(4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ae.mask(x.byte(), 0.5), "x: expected floating-point numbers, got uint8"),
        (lambda x: ae.add_noise(x.long(), 0.5), "x: expected floating-point numbers, got int64"),
        (lambda x: ae.l1(x.numpy()), "z: expected a tensor, got ndarray"),
        (lambda x: ae.keep_top(x.tolist(), 1), "z: expected a tensor, got list"),
        (lambda x: ae.keep_top(x, 1.0), r"k: expected an integer, got float 1\.0"),
        (lambda x: ae.KSparse(8, 12, 2.5), r"k: expected an integer, got float 2\.5"),
        (lambda x: ae.deep(8, 2.5), r"widths: expected an integer, got float 2\.5"),
        (
            lambda x: ae.posterior_mean(x, x.double(), 1.0),
            "noisy and data: expected one dtype, got float32 and float64",
        ),
        (lambda x: ae.posterior_mean(x.half(), x.half(), 1.0), "noisy: expected float32 or float64, got float16"),
        (lambda x: ae.linear_denoiser(torch.eye(3).long(), 1.0), "covariance: expected float32 or float64, got int64"),
        (lambda x: ae.reconstruction_error(ae.linear(3, 1), x.byte()), "x: expected float32 or float64, got uint8"),
    ],
)
def test_wrong_types_are_told(call, message, without_annotations):
    with pytest.raises(TypeError, match=message):
        call(torch.rand(4, 3))


def test_the_posterior_mean_does_not_depend_on_the_origin():
    data, noisy = torch.rand(50, 6), torch.rand(20, 6)
    moved = ae.posterior_mean(noisy + 1000, data + 1000, 0.1) - 1000
    torch.testing.assert_close(moved, ae.posterior_mean(noisy, data, 0.1), atol=2e-3, rtol=0)


def test_a_matrix_with_a_negative_eigenvalue_is_no_covariance():
    with pytest.raises(ValueError, match="covariance: expected no negative eigenvalue, got -1"):
        ae.linear_denoiser(torch.diag(torch.tensor([2.0, -1.0])), 0.5)


def test_encoder_and_decoder_are_modules(without_annotations):
    for parts, name in (((torch.tanh, torch.nn.Identity()), "encoder"), ((torch.nn.Identity(), None), "decoder")):
        with pytest.raises(TypeError, match=f"{name}: expected Module"):
            ae.Autoencoder(*parts)


def test_a_reconstruction_of_integers_is_refused():
    class Rounded(torch.nn.Module):
        def forward(self, x):
            return x.round().int()

    with pytest.raises(TypeError, match="reconstruction: expected floating-point numbers, got int32"):
        ae.reconstruction_error(Rounded(), torch.rand(3, 4))
