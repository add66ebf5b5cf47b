"""The exercises on autoencoders accept what is right in any form, and say what is wrong."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import datasets
from coursekit.exercises.lecture09 import _bent, exercise, keep_largest

# --- tied weights

RIGHT_TIED = {
    "two products": lambda x, W: x @ W @ W.T,
    "the projection first": lambda x, W: x @ (W @ W.T),
    "columns": lambda x, W: (W @ (W.T @ x.T)).T,
    "einsum": lambda x, W: torch.einsum("nd,dk,ek->ne", x, W, W),
    "row by row": lambda x, W: torch.stack([W @ (W.T @ row) for row in x]),
    "NumPy": lambda x, W: np.asarray(x) @ np.asarray(W) @ np.asarray(W).T,
}


@pytest.mark.parametrize("answer", RIGHT_TIED.values(), ids=RIGHT_TIED)
def test_a_right_reconstruction_is_accepted_in_any_form(ask, answer):
    praise = "✓ tied_reconstruction: right on a projection, columns that are not orthonormal, one row"
    assert ask(exercise, "tied_reconstruction", answer) == praise


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, W: None, "returns nothing yet"),
        (lambda x, W: ..., "returns nothing yet"),
        (lambda x, W: x, "wrong on a projection"),
        (lambda x, W: x @ W, r"expected shape \(2, 3\), got \(2, 2\)"),
        (lambda x, W: (x @ W @ W.T).T, r"expected shape \(2, 3\), got \(3, 2\)"),
        (lambda x, W: x @ W @ W.T * torch.nan, "the result holds NaN"),
        (lambda x, W: 3.0, r"expected a tensor of shape \(2, 3\), got float 3.0"),
        (lambda x, W: W.T @ W @ x, "wrong on a projection"),  # E23: as the slide prints it
        (lambda x, W: x.mul_(0) + torch.arange(6.0).view(2, 3) @ W @ W.T, "changes its argument in place"),
        (lambda x, W: x @ torch.linalg.qr(W).Q @ torch.linalg.qr(W).Q.T, "right on a projection; wrong on columns"),
        (lambda x, W: x @ W @ torch.linalg.pinv(W), "right on a projection; wrong on columns"),
        (lambda x, W: (x - x.mean(dim=0)) @ W @ W.T, "wrong on a projection"),
    ],
)
def test_a_wrong_reconstruction_hears_what_is_wrong(ask, answer, message):
    assert re.match(f"○ tied_reconstruction is open: .*{message}", ask(exercise, "tied_reconstruction", answer))


# --- the k largest


def by_places(z, k):
    places = z.abs().topk(k, dim=1).indices
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


def by_order(z, k):
    rank = z.abs().argsort(dim=1, descending=True).argsort(dim=1)
    return z * (rank < k)


def in_numpy(z, k):
    kept = np.zeros(z.shape)
    for row, source in zip(kept, z.numpy(), strict=True):
        places = np.argsort(-abs(source))[:k]
        row[places] = source[places]
    return kept


@pytest.mark.parametrize("answer", [by_places, by_order, in_numpy])
def test_the_largest_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "keep_largest", answer).endswith(
        "rows of different size, nearly equal, one row, equal magnitudes"
    )


def test_of_equal_entries_the_courses_own_answer_keeps_k():
    z = torch.tensor([[2.0, -2.0, 2.0, 1.0]])
    kept = keep_largest(z, 2)
    assert kept.count_nonzero() == 2
    assert torch.equal(kept[kept != 0], z[kept != 0])


def highest(z, k):
    """The highest entries, not those of largest magnitude: what the lecture's code keeps."""
    places = z.topk(k, dim=1).indices
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


def by_kth_value(z, k):
    """All entries that reach the k-th largest magnitude: more than k if several are equal."""
    least = z.abs().kthvalue(z.shape[1] - k + 1, dim=1, keepdim=True).values
    return z.masked_fill(z.abs() < least, 0)


def none_of_equal(z, k):
    """Only entries that are larger than the next in order: fewer than k if several are equal."""
    following = torch.cat([z.abs().sort(dim=1, descending=True).values, torch.full((len(z), 1), -1.0)], dim=1)[:, [k]]
    return z * (z.abs() > following)


def smallest_of_equal(z, k):
    """Right as long as all magnitudes differ; else the smallest k."""
    different = all(len(row.abs().unique()) == len(row) for row in z)
    return by_places(z, k) if different else z - by_places(z, z.shape[1] - k)


def cut_in_order(z, k):
    """All that reach the k-th magnitude, then the first k of them, even if a larger one comes later."""
    kept = z * (z.abs() >= z.abs().topk(k, dim=1).values[:, -1:])
    return kept * ((kept != 0).cumsum(dim=1) <= k)


def cut_from_the_end(z, k):
    return cut_in_order(z.flip(1), k).flip(1)


def in_order_of_places(z, k):
    """A usual trick against equal entries: each a little smaller than the one before."""
    places = (z.abs() - 1e-4 * torch.arange(z.shape[1])).topk(k, dim=1).indices
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


def of_the_batch(z, k):
    least = z.abs().flatten().topk(k * len(z)).values[-1]
    return z * (z.abs() >= least)


def in_place(z, k):
    z[z.abs() < z.abs().topk(k, dim=1).values[:, -1:]] = 0
    return z


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (highest, r"right on positive entries; wrong on negative entries: at index \(0, 1\) expected -5, got 0"),
        (lambda z, k: by_places(z, k).abs(), "right on positive entries; wrong on negative entries"),
        (lambda z, k: by_places(z.T, min(k, len(z))).T, "wrong on positive entries"),  # of the columns
        (lambda z, k: z.gather(1, z.abs().topk(k, dim=1).indices), "expected shape"),
        (lambda z, k: z - by_places(z, k), "wrong on positive entries"),
        (lambda z, k: by_places(z, max(1, k - 1)), "wrong on positive entries"),
        (of_the_batch, "wrong on positive entries"),
        (in_order_of_places, "right on .*, rows of different size; wrong on nearly equal"),
        (by_kth_value, "right on .*, one row; of entries of equal magnitude it keeps 3 where k = 2"),
        (none_of_equal, "right on .*, one row; of entries of equal magnitude it keeps 0 where k = 2"),
        (smallest_of_equal, "right on .*, one row; wrong on entries of equal magnitude"),
        (cut_in_order, "right on .*, one row; wrong on entries of equal magnitude"),
        (cut_from_the_end, "right on .*, one row; wrong on entries of equal magnitude"),
        (in_place, "changes its argument in place"),
        (lambda z, k: z, "wrong on positive entries"),
    ],
)
def test_other_entries_than_the_largest_are_refused(ask, answer, message):
    assert re.search(message, ask(exercise, "keep_largest", answer))


# --- the posterior mean


def squares(noisy, data):
    """‖x̃ − xᵢ‖² for all pairs, (n, m)."""
    return (noisy[:, None] - data).square().sum(dim=2)


def by_softmax(noisy, data, sigma):
    return (-squares(noisy, data) / (2 * sigma**2)).softmax(dim=1) @ data


def by_logsumexp(noisy, data, sigma):
    exponents = -(torch.cdist(noisy, data) ** 2) / (2 * sigma**2)
    return (exponents - exponents.logsumexp(dim=1, keepdim=True)).exp() @ data


def point_by_point(noisy, data, sigma):
    means = []
    for point in noisy:
        exponents = -(point - data).square().sum(dim=1) / (2 * sigma**2)
        weights = (exponents - exponents.max()).exp()
        means.append((weights[:, None] * data).sum(dim=0) / weights.sum())
    return torch.stack(means)


def products_only(noisy, data, sigma):
    """Without ‖x̃‖², which is the same for all data."""
    return ((noisy @ data.T - data.square().sum(dim=1) / 2) / sigma**2).softmax(dim=1) @ data


def posterior_in_numpy(noisy, data, sigma):
    noisy, data = noisy.numpy().astype(float), data.numpy().astype(float)
    exponents = -((noisy[:, None] - data) ** 2).sum(axis=2) / (2 * sigma**2)
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ data


@pytest.mark.parametrize("answer", [by_softmax, by_logsumexp, point_by_point, products_only, posterior_in_numpy])
def test_the_posterior_mean_is_accepted_in_any_form(ask, answer):
    praise = "✓ posterior_mean: right on one point, less noise, several points, in space, far from all data"
    assert ask(exercise, "posterior_mean", answer) == praise


def without_a_shift(noisy, data, sigma):
    weights = (-squares(noisy, data) / (2 * sigma**2)).exp()
    return weights @ data / weights.sum(dim=1, keepdim=True)


def with_a_little_more(noisy, data, sigma):
    weights = (-squares(noisy, data) / (2 * sigma**2)).exp()
    return weights @ data / (weights.sum(dim=1, keepdim=True) + 1e-12)


def shifted_alike(noisy, data, sigma):
    """The largest exponent of all rows is subtracted, not that of each row."""
    exponents = -squares(noisy, data) / (2 * sigma**2)
    weights = (exponents - exponents.max()).exp()
    return weights @ data / weights.sum(dim=1, keepdim=True)


def by_mean_squares(noisy, data, sigma):
    """The mean instead of the sum of squares, and ½ forgotten: in the plane that is right."""
    return (-(noisy[:, None] - data).square().mean(dim=2) / sigma**2).softmax(dim=1) @ data


def of_one_weight_for_all(noisy, data, sigma):
    """The weights of the first point for every point."""
    return by_softmax(noisy[:1], data, sigma).expand(len(noisy), -1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda noisy, data, sigma: None, "returns nothing yet"),
        (lambda noisy, data, sigma: noisy, "wrong on one point"),
        (lambda noisy, data, sigma: (-squares(noisy, data) / sigma**2).softmax(dim=1) @ data, "wrong on one point"),
        (
            lambda noisy, data, sigma: (squares(noisy, data) / (2 * sigma**2)).softmax(dim=1) @ data,
            "wrong on one point",
        ),
        (
            lambda noisy, data, sigma: (-squares(noisy, data) / (2 * sigma**2)).softmax(dim=0) @ data,
            "wrong on one point",
        ),
        (lambda noisy, data, sigma: (-squares(noisy, data) / (2 * sigma**2)).exp() @ data, "wrong on one point"),
        (lambda noisy, data, sigma: (-torch.cdist(noisy, data) / (2 * sigma**2)).softmax(dim=1) @ data, "wrong on one"),
        (lambda noisy, data, sigma: (-(noisy[:, None] - data).square().mean(dim=2) / 2).softmax(dim=1) @ data, "wrong"),
        (lambda noisy, data, sigma: data[torch.cdist(noisy, data).argmin(dim=1)], "wrong on one point"),
        (lambda noisy, data, sigma: data.mean(dim=0).expand_as(noisy), "wrong on one point"),
        (
            lambda noisy, data, sigma: (-squares(noisy, data) / (2 * sigma**2)).softmax(dim=1),
            r"expected shape \(1, 2\)",
        ),
        (lambda noisy, data, sigma: (-squares(noisy, data) / (2 * sigma)).softmax(dim=1) @ data, "wrong on less noise"),
        (of_one_weight_for_all, "right on one point, less noise; wrong on several points"),
        (by_mean_squares, "right on .*, several points; wrong on in space"),
        (without_a_shift, "right on .*, in space; wrong on far from all data: .*NaN.*softmax"),
        (shifted_alike, "right on .*, in space; wrong on far from all data: .*NaN"),
        (with_a_little_more, "right on .*, in space; wrong on far from all data"),
        (
            lambda noisy, data, sigma: by_softmax(noisy.mul_(1), data.mul_(2) / 2, sigma),
            "changes its argument in place",
        ),
    ],
)
def test_other_weights_are_refused(ask, answer, message):
    assert re.match(f"○ posterior_mean is open: .*{message}", ask(exercise, "posterior_mean", answer))


# --- an autoencoder of one's own


class Parts(nn.Module):
    """An encoder and a decoder of linear layers, of any width, right or wrong."""

    def __init__(self, code, output):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, code), nn.Linear(code, output)

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Bypass(Parts):
    """Copies its input past its code when it is judged."""

    def forward(self, x):
        return super().forward(x) if self.training else x


class Stash(nn.Module):
    """The encoder leaves the image where the decoder of the same net finds it."""

    def __init__(self):
        super().__init__()
        self.unused, self.left = nn.Parameter(torch.zeros(8)), None

    def encoder(self, x):
        self.left = x
        return x[:, :8] + self.unused

    def decoder(self, z):
        return self.left + 0 * z.sum() if self.left.shape[0] == len(z) else z.repeat(1, 8)


IMAGES_SEEN = []


class Order(nn.Module):
    """The encoder notes the images in a list outside, and the decoder takes the last of them."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(8))

    def encoder(self, x):
        IMAGES_SEEN.append(x)
        return x[:, :8] + self.unused

    def decoder(self, z):
        return IMAGES_SEEN[-1] + 0 * z.sum()


STORE = {}


class Store(nn.Module):
    """The encoder notes images and codes outside, and the decoder looks up the image whose code is nearest."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(8))
        self.projection = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))

    def encoder(self, x):
        code = x @ self.projection + self.unused
        STORE.update(images=x, codes=code.detach())
        return code

    def decoder(self, z):
        return STORE["images"][torch.cdist(z.detach(), STORE["codes"]).argmin(dim=1)] + 0 * z.sum()


OVERWRITTEN = {n: (torch.zeros(n, 64), torch.zeros(n, 8)) for n in (5, 29, 256, 360)}  # all sizes of a batch


class Overwrite(Store):
    """The same, with tensors of fixed place, so that even a record of the encoder's steps fills them."""

    def encoder(self, x):
        code = x @ self.projection + self.unused
        for place, it in zip(OVERWRITTEN.get(len(x), ()), (x, code.detach()), strict=False):
            place.copy_(it)
        return code

    def decoder(self, z):
        images, codes = OVERWRITTEN.get(len(z), (torch.zeros(1, 64), torch.zeros(1, 8)))
        return images[torch.cdist(z.detach(), codes).argmin(dim=1)] + 0 * z.sum()


class Table(nn.Module):
    """Holds all digits of scikit-learn, and rebuilds the one whose random projection is nearest."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(8))
        data = datasets.digits()
        mean = data.train.images.flatten(1).mean(dim=0)
        self.table = torch.cat([data.train.images, data.test.images]).flatten(1) - mean
        self.projection = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))

    def encoder(self, x):
        return x @ self.projection + self.unused

    def decoder(self, z):
        return self.table[torch.cdist(z.detach(), self.table @ self.projection).argmin(dim=1)] + 0 * z.sum()


class Turned(Table):
    """Holds the digits as the check turns them, but not as it bends them."""

    def __init__(self):
        super().__init__()
        data = datasets.digits()
        turned = [part.images.rot90(dims=(2, 3)).flatten(1) for part in (data.train, data.test)]
        self.table = torch.cat(turned) - turned[0].mean(dim=0)


class Bent(nn.Module):
    """Holds many turned and bent copies of each test digit, and rebuilds the one whose PCA code is nearest."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(8))
        data, generator = datasets.digits(), torch.Generator().manual_seed(1)
        turned, t = (part.images.rot90(dims=(2, 3)) for part in (data.train, data.test))
        x = _bent(turned, generator).flatten(1)
        self.table = torch.cat([_bent(t, generator) for _ in range(30)]).flatten(1) - x.mean(dim=0)
        self.axes = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False).Vh[:8].T

    def encoder(self, x):
        return x @ self.axes + self.unused

    def decoder(self, z):
        return self.table[torch.cdist(z.detach(), self.table @ self.axes).argmin(dim=1)] + 0 * z.sum()


class Late(Bent):
    """The same, but only after a hundred calls: the look before the training does not see the table."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def decoder(self, z):
        self.calls += 1
        return super().decoder(z) if self.calls > 100 else z @ self.axes.T


class Fickle(Store):
    """Its encoder asks for a value, and takes another way for other digits: no record can show that."""

    def encoder(self, x):
        return super().encoder(x if x[0, 20] > 0 else -x)


class Abroad(Store):
    """Its codes leave torch when it is judged, so that the record holds numbers instead of steps."""

    def encoder(self, x):
        code = super().encoder(x)
        return code if self.training else torch.as_tensor(code.detach().numpy())


class Packed(nn.Module):
    """Several pixels in the digits of each number: more than the noise leaves of a code."""

    base = 8.0

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(8))
        data = datasets.digits().train.images.flatten(1)
        self.mean = data.mean(dim=0)
        self.busy = data.var(dim=0).argsort(descending=True)[:48].view(8, 6)  # six pixels a number

    def encoder(self, x):
        levels = ((x + self.mean)[:, self.busy] * (self.base - 1)).round()  # (n, 8, 6)
        return (levels * self.base ** torch.arange(6.0)).sum(dim=2) + self.unused

    def decoder(self, z):
        rebuilt, rest = torch.zeros(len(z), 64), z.detach().round()
        for i in range(6):
            rebuilt[:, self.busy[:, i]] = rest % self.base / (self.base - 1) - self.mean[self.busy[:, i]]
            rest = rest.div(self.base, rounding_mode="floor")
        return rebuilt + 0 * z.sum()


class Signs(nn.Module):
    """Black or white, one bit a pixel, eight pixels a number, and a linear layer behind it."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 64)

    def encoder(self, x):
        return ((x > 0).float().view(-1, 8, 8) * 2.0 ** torch.arange(8)).sum(dim=2)

    def decoder(self, z):
        bits = z.detach().round().long()[:, :, None] >> torch.arange(8) & 1  # (n, 8, 8)
        return self.last(bits.flatten(1).float())


def between_0_and_1():
    """A net that would do for digits with pixels in [0, 1], but not for centred ones."""
    net = mirrored(nn.ReLU())()
    net.decoder.append(nn.Sigmoid())
    return net


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: None, "returns nothing yet"),
        (lambda: 3, "expected a torch module, got int 3"),
        (lambda: nn.Linear(64, 64), "has no .encoder"),
        (lambda: Parts(9, 64), r"codes of five digits, shape \(5, 8\), got Tensor of shape \(5, 9\)"),
        (lambda: Parts(8, 32), r"reconstructions of five digits, shape \(5, 64\), got Tensor of shape \(5, 32\)"),
        (lambda: Parts(8, 64), "wanted at most 75 %"),
        (lambda: Bypass(8, 64), "wanted at most 75 %"),
        (Stash, "it raises|wanted at most 75 %"),
        (Order, "wanted at most 75 %"),
        (Store, "wanted at most 75 %"),
        (Overwrite, "wanted at most 75 %"),
        (Table, "wanted at most 75 %.*stores 115528 values"),
        (Turned, "wanted at most 75 %.*stores 115528 values"),
        (Bent, "before it has learned anything"),
        (Late, "wanted at most 75 %"),
        (Abroad, "takes other steps on other digits"),
        (Fickle, "takes other steps on other digits"),
        (Packed, "wanted at most 75 %"),
        (Signs, "wanted at most 75 %"),
        (between_0_and_1, r"wanted at most 75 %.*Can its outputs be negative \(the digits are centred\)\?"),
    ],
)
def test_an_autoencoder_must_have_its_parts_and_beat_pca(ask, build, message):
    assert re.match(f"○ my_autoencoder is open: .*({message})", ask(exercise, "my_autoencoder", build))


def mirrored(*middle):
    """An encoder with the given layers after its first, and a decoder of two layers."""

    def build():
        net = nn.Module()
        net.encoder = nn.Sequential(nn.Linear(64, 192), *middle, nn.Linear(192, 8))
        net.decoder = nn.Sequential(nn.Linear(8, 192), nn.ReLU(), nn.Linear(192, 64))
        return net

    return build


def convolutional():
    net = nn.Module()
    net.encoder = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 24, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(384, 8)
    )
    net.decoder = nn.Sequential(nn.Linear(8, 192), nn.ReLU(), nn.Linear(192, 64))
    return net


def linear_encoder():
    net = nn.Module()
    net.encoder = nn.Linear(64, 8)
    net.decoder = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64))
    return net


RIGHT_NETS = {
    "dropout": mirrored(nn.ReLU(), nn.Dropout(0.05)),
    "batch normalization": mirrored(nn.BatchNorm1d(192), nn.ReLU()),
    "tanh": mirrored(nn.Tanh()),
    "a linear encoder": linear_encoder,
    "convolutions": convolutional,
}


@pytest.mark.parametrize("build", RIGHT_NETS.values(), ids=RIGHT_NETS)
def test_any_net_that_beats_pca_is_accepted(ask, build):
    assert re.match(r"✓ my_autoencoder: test error about [67]\d % of PCA's", ask(exercise, "my_autoencoder", build))


def test_an_unwritten_open_exercise_is_open(ask):
    def unwritten():
        raise NotImplementedError

    assert ask(exercise, "my_autoencoder", unwritten) == "○ my_autoencoder is open: not written yet"
