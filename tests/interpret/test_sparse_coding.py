import numpy as np
import pytest
import torch
from sklearn.linear_model import lars_path

from coursekit.interpret import learn_dictionary, sparse_code
from coursekit.interpret.sparse_coding import natural_patches


@pytest.fixture
def overcomplete():
    """Seven rows and a dictionary of 30 unit atoms in 12 dimensions."""
    x = torch.randn(7, 12, dtype=torch.float64)
    return x, torch.nn.functional.normalize(torch.randn(30, 12, dtype=torch.float64))


def test_the_optimality_conditions_hold(overcomplete):
    x, dictionary = overcomplete
    z = sparse_code(x, dictionary, 0.3, tolerance=1e-9)
    correlation = (x - z @ dictionary) @ dictionary.T
    on = z != 0
    assert 0 < on.sum() < z.numel() / 2
    torch.testing.assert_close(correlation[on], 0.3 * z[on].sign(), rtol=0, atol=1e-9)
    assert correlation[~on].abs().max() <= 0.3 + 1e-9


def test_with_orthonormal_atoms_the_code_is_the_soft_threshold():
    atoms = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64)).Q
    x = torch.randn(5, 9, dtype=torch.float64)
    c = x @ atoms.T
    soft = torch.where(c.abs() > 0.5, c - 0.5 * c.sign(), 0.0)
    torch.testing.assert_close(sparse_code(x, atoms, 0.5, tolerance=1e-10), soft, rtol=0, atol=1e-9)


def test_the_codes_agree_with_scikit_learns_lars(overcomplete):
    x, dictionary = overcomplete
    z = sparse_code(x, dictionary, 0.2, tolerance=1e-10)
    for row, code in zip(x.numpy(), z.numpy(), strict=True):
        alphas, _, path = lars_path(dictionary.numpy().T, row, method="lasso", alpha_min=0.2 / len(row))
        assert alphas[-1] == pytest.approx(0.2 / len(row))
        np.testing.assert_allclose(code, path[:, -1], atol=1e-8)


def test_no_other_code_is_better(overcomplete):
    x, dictionary = overcomplete

    def objective(z):
        return 0.5 * (x - z @ dictionary).square().sum(dim=1) + 0.3 * z.abs().sum(dim=1)

    z = sparse_code(x, dictionary, 0.3, tolerance=1e-8)
    for size in (1e-4, 1e-2, 1):
        assert (objective(z) <= objective(z + size * torch.randn_like(z))).all()


def test_a_high_penalty_leaves_nothing(overcomplete):
    x, dictionary = overcomplete
    largest = (x @ dictionary.T).abs().max().item()
    assert (sparse_code(x, dictionary, largest) == 0).all()
    assert (sparse_code(x, dictionary, 0.99 * largest) != 0).sum() == 1
    assert (sparse_code(x, torch.zeros_like(dictionary), 0.1) == 0).all()


def test_rows_are_coded_independently(overcomplete):
    x, dictionary = overcomplete
    together = sparse_code(x, dictionary, 0.3, tolerance=1e-9)
    alone = torch.cat([sparse_code(row[None], dictionary, 0.3, tolerance=1e-9) for row in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)


def test_float32_reaches_the_default_tolerance(overcomplete):
    x, dictionary = (part.float() for part in overcomplete)
    z = sparse_code(x, dictionary, 0.3)
    assert z.dtype == torch.float32
    assert not z.requires_grad
    correlation = (x - z @ dictionary) @ dictionary.T
    assert correlation.abs().max() <= 0.3 * (1 + 2e-4)


def test_a_tolerance_below_the_precision_is_told(overcomplete, monkeypatch):
    monkeypatch.setattr("coursekit.interpret.sparse_coding.MAX_STEPS", 300)
    x, dictionary = (part.float() for part in overcomplete)
    with pytest.raises(RuntimeError, match=r"after 300 steps.*tolerance=1e-12.*float64"):
        sparse_code(x, dictionary, 0.3, tolerance=1e-12)


def objective(x, dictionary, penalty):
    z = sparse_code(x, dictionary, penalty)
    return (0.5 * (x - z @ dictionary).square().sum() + penalty * z.abs().sum()).item()


def test_a_planted_dictionary_is_found():
    """Each row is the sum of two atoms of twelve. The problem is not convex, so a few atoms may come out mixed."""
    planted = torch.nn.functional.normalize(torch.randn(12, 16, dtype=torch.float64))
    which = torch.rand(1500, 12).topk(2, dim=1).indices
    z = torch.zeros(1500, 12, dtype=torch.float64).scatter(1, which, 1 + torch.rand(1500, 2, dtype=torch.float64))
    x = z * torch.randn_like(z).sign() @ planted
    learned = learn_dictionary(x, 12, 0.6, epochs=60, batch_size=250)
    torch.testing.assert_close(learned.norm(dim=1), torch.ones(12, dtype=torch.float64))
    found = (learned @ planted.T).abs().amax(dim=0)  # up to sign and order
    assert (found > 0.95).sum() >= 8
    assert objective(x, learned, 0.6) < 1.06 * objective(x, planted, 0.6)
    assert objective(x, learn_dictionary(x, 12, 0.6, epochs=0), 0.6) > 1.2 * objective(x, planted, 0.6)


def test_the_dictionary_depends_on_the_seed_alone():
    x = torch.randn(300, 10, dtype=torch.float64)
    learned, again, other = (learn_dictionary(x, 8, 0.5, epochs=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(learned, again)
    assert not torch.equal(learned, other)


def test_an_atom_that_nothing_uses_stays_what_it_was():
    x = torch.eye(4, dtype=torch.float64)[[0, 0, 0, 1]]
    learned = learn_dictionary(0.1 * x, 4, 5.0)
    assert (learned.amax(dim=1) == 1).all()


def test_natural_patches_have_a_flat_spectrum_inside_the_band():
    """An image with amplitudes 1/f, as natural ones have: inside the band all rings have the same power."""
    f = torch.hypot(torch.fft.fftfreq(256)[:, None], torch.fft.rfftfreq(256))
    noise = torch.fft.rfft2(torch.randn(256, 256))
    image = torch.fft.irfft2(noise / f.clamp_min(1 / 256)).expand(3, -1, -1)
    patches = natural_patches([image], 16, 2000)
    assert patches.shape == (2000, 256)
    assert patches.std().item() == pytest.approx(1, abs=0.05)
    power = torch.fft.rfft2(patches.view(-1, 16, 16)).abs().square().mean(dim=0)
    f = torch.hypot(torch.fft.fftfreq(16)[:, None], torch.fft.rfftfreq(16))
    rings = [power[(f > low) & (f < low + 0.1)].mean().item() for low in (0.05, 0.15)]
    assert rings[0] == pytest.approx(rings[1], rel=0.2)
    assert power[f > 0.6].mean() < 1e-2 * rings[0]


def _among(patches, bank):
    distances = torch.cdist(patches, bank, compute_mode="donot_use_mm_for_euclid_dist")
    return (distances.amin(dim=1) < 1e-5).float().mean().item()


def test_patches_come_from_all_images_and_are_cut_from_them():
    images = [torch.rand(3, 40, 60), torch.rand(3, 64, 40)]
    patches = natural_patches(images, 8, 500, seed=3)
    assert torch.equal(patches, natural_patches(images, 8, 500, seed=3))
    assert not torch.equal(patches, natural_patches(images, 8, 500, seed=4))
    from_each = [natural_patches([image], 8, 4000) for image in images]
    fractions = [_among(patches, bank) for bank in from_each]
    assert sum(fractions) > 0.95  # 4000 draws leave out hardly any position
    assert 0.3 < fractions[0] < 0.7


def test_wrong_arguments_are_told(overcomplete):
    x, dictionary = overcomplete
    for penalty in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"penalty: expected a number > 0, got {penalty}"):
            sparse_code(x, dictionary, penalty)
        with pytest.raises(ValueError, match=f"penalty: expected a number > 0, got {penalty}"):
            learn_dictionary(x, 3, penalty)
    with pytest.raises(ValueError, match=r"x: expected at least one element, got shape \(0, 12\)"):
        sparse_code(x[:0], dictionary, 1)
    with pytest.raises(ValueError, match=r"dictionary: expected shape \(m, 12\), got \(30, 11\)"):
        sparse_code(x, dictionary[:, :11], 1)
    with pytest.raises(ValueError, match="dictionary: 360 of 360 numbers are NaN or infinite"):
        sparse_code(x, dictionary / 0, 1)
    with pytest.raises(ValueError, match="x: 1 of 84 numbers are NaN"):
        sparse_code(x.index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(torch.inf).double()), dictionary, 1)
    for atoms in (0, 8):
        with pytest.raises(ValueError, match=f"atoms: expected an integer from 1 to 7, got {atoms}"):
            learn_dictionary(x, atoms, 1)
    with pytest.raises(ValueError, match="n: expected an integer from 1 on, got 0"):
        natural_patches([torch.rand(3, 40, 40)], 8, 0)
    with pytest.raises(ValueError, match="photographs: expected at least one"):
        natural_patches([], 8, 1)
    with pytest.raises(ValueError, match="photographs: expected sides of at least 4 patches of 8 pixels, got 20×40"):
        natural_patches([torch.rand(3, 20, 40)], 8, 1)
    with pytest.raises(ValueError, match="size: expected an integer from 1 on, got 0"):
        natural_patches([torch.rand(3, 40, 40)], 0, 1)
    with pytest.raises(ValueError, match=r"different grey values in each, got one with 0\.5 only"):
        natural_patches([torch.full((3, 40, 40), 0.5)], 8, 1)
    with pytest.raises(ValueError, match="photographs: 1 of 4800 numbers are NaN"):
        natural_patches([torch.rand(3, 40, 40).index_put((torch.tensor(0),) * 3, torch.tensor(torch.nan))], 8, 1)
    with pytest.raises(ValueError, match="tolerance: expected a number > 0, got 0"):
        sparse_code(x, dictionary, 1, tolerance=0)
    with pytest.raises(ValueError, match="epochs: expected an integer from 0 on, got -1"):
        learn_dictionary(x, 3, 1, epochs=-1)
    with pytest.raises(ValueError, match="batch_size: expected an integer from 1 on, got 0"):
        learn_dictionary(x, 3, 1, batch_size=0)
    with pytest.raises(ValueError, match="no patch of zeros among the initial atoms"):
        learn_dictionary(torch.zeros(9, 4), 3, 1)


def test_wrong_types_are_told(overcomplete, without_annotations):
    x, dictionary = overcomplete
    with pytest.raises(TypeError, match="x: expected float32 or float64, got int64"):
        sparse_code(x.long(), dictionary, 1)
    with pytest.raises(TypeError, match="dictionary: expected a tensor, got ndarray"):
        sparse_code(x, dictionary.numpy(), 1)
    with pytest.raises(TypeError, match="x and dictionary: expected one dtype, got float64 and float32"):
        sparse_code(x, dictionary.float(), 1)
    with pytest.raises(TypeError, match="patches: expected float32 or float64, got uint8"):
        learn_dictionary(x.byte(), 3, 1)
    with pytest.raises(TypeError, match=r"atoms: expected an integer, got float 3\.0"):
        learn_dictionary(x, 3.0, 1)
    with pytest.raises(TypeError, match="photographs: expected float32 or float64, got uint8"):
        natural_patches([torch.zeros(3, 40, 40).byte()], 8, 1)


@pytest.mark.parametrize("size", [1e-20, 1e-30])
def test_a_patch_too_faint_for_a_unit_atom_is_told(size):
    with pytest.raises(ValueError, match="no patch of zeros among the initial atoms, or nearly so"):
        learn_dictionary(size * torch.rand(9, 4), 3, penalty=0.1)
