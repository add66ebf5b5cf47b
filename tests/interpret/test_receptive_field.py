import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.interpret import receptive_field, top_patches
from coursekit.interpret.layers import layer_output
from coursekit.nets import ResidualNet


def monotone(net):
    """The net with positive weights and no biases, so that a brighter pixel can only raise the units that see it."""
    net = net.double().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.uniform_(module.weight, 0.5, 1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


@torch.no_grad()
def sees_exactly(net, layer, row, column, shape):
    """Whether light on each edge of the unit's box raises it, and light everywhere outside the box does not."""
    top, left, bottom, right = receptive_field(net, layer, shape).box(row, column)
    lights = torch.zeros(5, *shape, dtype=torch.float64)
    lights[0, :, top] = lights[1, :, bottom - 1] = 1
    lights[2, :, :, left] = lights[3, :, :, right - 1] = 1
    lights[4] = 1
    lights[4, :, top:bottom, left:right] = 0
    raised = layer_output(net, lights, layer)[:, :, row, column].sum(dim=1) > 0
    return raised.tolist() == [True] * 4 + [False]


def alexnet_features(width=1):
    """The geometry of AlexNet's convolutions and poolings (Krizhevsky 2014), with few channels."""
    layers = nn.Sequential()
    channels = 3
    for i, (kernel, stride, padding) in enumerate([(11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)], start=1):
        layers.append(nn.Sequential(nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU(inplace=True)))
        channels = width
        if i in (1, 2, 5):
            layers[-1].append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*layers)


def test_alexnet_has_the_receptive_fields_of_the_textbooks():
    net = alexnet_features()
    found = [receptive_field(net, f"{i}.0", 224) for i in range(5)]
    assert [f.size for f in found] == [(s, s) for s in (11, 51, 99, 131, 163)]
    assert [f.stride for f in found] == [(s, s) for s in (4, 8, 16, 16, 16)]
    assert found[4].map_size == (13, 13)


@pytest.mark.parametrize("layer", range(5))
def test_alexnet_units_see_exactly_their_box(layer):
    net = monotone(alexnet_features())
    shape = (3, 224, 195)
    field = receptive_field(net, f"{layer}.0", shape)
    row, column = (n // 2 for n in field.map_size)
    assert sees_exactly(net, f"{layer}.0", row, column, shape)


@pytest.mark.parametrize("layer", ["stem", "norm", "stage1.conv1", "stage1", "stage2.skip", "stage2", "stage3"])
def test_the_union_of_a_residual_nets_branches_is_what_its_units_see(layer):
    net = ResidualNet()
    net.standardize.mean.zero_()
    field = receptive_field(monotone(net), layer, 64)
    row, column = field.map_size[0] // 2, field.map_size[1] // 2 + 1
    assert sees_exactly(net, layer, row, column, (3, 64, 64))


def random_stack(rng):
    """Two to four unusual layers, each axis with its own kernel, stride, padding and dilation."""
    layers = [nn.Conv2d(1, 2, 1)]
    for _ in range(rng.randint(2, 4)):
        kernel, stride = (tuple(rng.randint(1, 3) for _ in range(2)) for _ in range(2))
        padding = tuple(rng.randint(0, k // 2) for k in kernel)
        dilation = tuple(rng.randint(1, 2) for _ in range(2))
        layers.append(
            rng.choice(
                [
                    nn.Conv2d(2, 2, kernel, stride, padding, dilation),
                    nn.Conv2d(2, 2, kernel, padding="same", dilation=dilation),
                    nn.MaxPool2d(kernel, stride, padding, dilation),
                    nn.MaxPool2d(kernel),
                    nn.AvgPool2d(kernel, stride, padding),
                    nn.AvgPool2d(2, ceil_mode=True),
                    nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.BatchNorm2d(2), nn.Hardswish()),
                ]
            )
        )
    return nn.Sequential(*layers, nn.Conv2d(2, 1, 1))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("seed", range(40))
def test_units_of_random_nets_see_exactly_their_box(seed):
    rng = random.Random(seed)
    net, shape = monotone(random_stack(rng)), (1, 200, 230)
    layer = str(len(net) - 1)
    field = receptive_field(net, layer, shape)
    # An inner unit, because at the edge a field with holes from dilation may start with a hole.
    row, column = (n // 2 for n in field.map_size)
    assert sees_exactly(net, layer, row, column, shape)


def test_the_box_is_the_support_of_the_gradient():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 2, (1, 3))).double()
    field = receptive_field(net, "3", 32)
    image = torch.rand(1, 2, 32, 32, dtype=torch.float64, requires_grad=True)
    net(image)[0, :, 3, 4].sum().backward()
    rows, columns = (image.grad[0] != 0).any(dim=0).nonzero().T
    assert field.box(3, 4) == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


class Branches(nn.Module):
    """Functional calls, a concatenation, one module used twice, a shortcut around other layers."""

    def __init__(self, after=lambda h: h):
        super().__init__()
        self.wide, self.tall = nn.Conv2d(1, 1, (1, 5), padding=(0, 2)), nn.Conv2d(1, 1, (5, 1), padding=(2, 0))
        self.twice = nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 1)
        self.after = after

    def forward(self, x):
        h = torch.cat([F.relu(self.wide(x)), self.tall(x).clamp(min=0)], dim=1)
        h = h + self.twice(self.twice(h)).relu_()
        return self.last(self.after(h))


def test_branches_give_the_union_and_a_module_used_twice_counts_twice():
    field = receptive_field(Branches(), "last", 32)
    assert (field.size, field.start, field.stride) == ((9, 9), (-4, -4), (1, 1))
    assert receptive_field(Branches(), "wide", 32).size == (1, 5)
    assert receptive_field(Branches(), "twice", 32).size == (9, 9)  # its last run
    net = monotone(Branches())
    assert sees_exactly(net, "last", 10, 12, (1, 32, 32))


@pytest.mark.parametrize(
    ("after", "operation"),
    [
        (lambda h: h * h.mean(dim=(2, 3), keepdim=True), "mean"),
        (lambda h: F.interpolate(h, scale_factor=2), "upsample_nearest2d"),
        (lambda h: h.flip(2), "flip"),
        (lambda h: h + h[:, :, :1, :1], "slice"),
        (lambda h: torch.cat([h, h], dim=2), "cat"),
        (lambda h: h[:, :, ::2, ::2] + F.pad(h, (0, 0, 0, 0))[:, :, 1::2, 1::2], "slice"),
        (lambda h: F.conv2d(h, h[:, :, :3, :3]).expand(-1, 2, -1, -1), "slice"),
        (lambda h: F.conv2d(h, F.max_pool2d(h, 8)).expand(-1, 2, -1, -1), "convolution"),
        (lambda h: F.conv_transpose2d(h, torch.ones(2, 2, 2, 2)), "convolution"),
        (lambda h: F.max_pool2d(h, 2)[:, :, :9, :9] + F.avg_pool2d(h, 3)[:, :, :9, :9], "slice"),
        (lambda h: F.max_pool2d(h, 1, 3) + F.conv2d(h, torch.ones(2, 2, 11, 11), stride=2), "add"),
    ],
)
def test_what_mixes_places_ends_the_receptive_field(after, operation):
    net = Branches(after)
    with pytest.raises(ValueError, match=f"'last' has no receptive field.*{operation}.*Choose an earlier layer"):
        receptive_field(net, "last", 32)
    assert receptive_field(net, "twice", 32).size == (9, 9)


def test_a_linear_layer_has_no_receptive_field(tiny, residual):
    with pytest.raises(ValueError, match=r"'output' has no receptive field.*view"):
        receptive_field(tiny, "output", 8)
    with pytest.raises(ValueError, match=r"'output' has no receptive field.*mean"):
        receptive_field(residual, "output", 8)


def test_a_layer_that_ignores_the_image_is_refused():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.conv(torch.ones(1, 1, 3, 3))

    with pytest.raises(ValueError, match="a constant"):
        receptive_field(Constant(), "conv", 3)


def test_sizes_may_be_given_in_three_ways(tiny):
    by_number = receptive_field(tiny, "conv2", 8)
    assert by_number == receptive_field(tiny, "conv2", (8, 8)) == receptive_field(tiny, "conv2", (2, 8, 8))
    assert (by_number.size, by_number.start, by_number.stride) == ((8, 8), (-3, -3), (2, 2))
    assert by_number.image_size == (8, 8)
    assert by_number.map_size == (4, 4)


def test_wrong_arguments_are_refused(tiny):
    with pytest.raises(ValueError, match="unknown layer 'conv3': did you mean conv"):
        receptive_field(tiny, "conv3", 8)
    with pytest.raises(ValueError, match=r"image_size: expected a number, .*got \(8,\)"):
        receptive_field(tiny, "conv1", (8,))
    with pytest.raises(ValueError, match="image_size: expected an integer from 1 on, got 0"):
        receptive_field(tiny, "conv1", 0)
    with pytest.raises(ValueError, match=r"cannot take images of shape \(1, 3, 8, 8\)"):
        receptive_field(tiny, "conv1", (3, 8, 8))
    with pytest.raises(ValueError, match=r"holds no nn.Conv2d: pass image_size as \(c, h, w\)"):
        receptive_field(nn.Sequential(nn.MaxPool2d(2)), "0", 8)
    assert receptive_field(nn.Sequential(nn.MaxPool2d(2)), "0", (1, 8, 8)).size == (2, 2)
    field = receptive_field(tiny, "conv2", 8)
    for place, message in {(4, 0): "row: .* from 0 to 3, got 4", (0, -1): "column: .* from 0 to 3, got -1"}.items():
        with pytest.raises(ValueError, match=message):
            field.box(*place)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net, x: receptive_field(net, "conv1", 8.0), "image_size: expected an integer, got float 8.0"),
        (lambda net, x: receptive_field(net, "conv1", (8, 8.0)), "image_size: expected an integer, got float 8.0"),
        (lambda net, x: receptive_field(net, 1, 8), "layer: expected one of .*, got int 1"),
        (lambda net, x: receptive_field(net, "conv1", 8).box(0.5, 0), "row: expected an integer, got float 0.5"),
        (lambda net, x: top_patches(net, "conv1", x, k=2.0), "k: expected an integer, got float 2.0"),
        (lambda net, x: top_patches(net, "conv1", x, 1, batch_size=True), "batch_size: expected an integer, got bool"),
        (lambda net, x: top_patches(net, "conv1", x.long(), 1), "images: expected float32 or float64, got int64"),
        (lambda net, x: top_patches(net, "conv1", x.numpy(), 1), "images: expected a tensor, got ndarray"),
    ],
)
def test_arguments_of_another_type_are_refused(without_annotations, tiny, images, call, message):
    with pytest.raises(TypeError, match=message):
        call(tiny, images)


def test_receptive_fields_leave_the_model_as_it_was(tiny, residual, images, unchanged):
    for model, layer in ((tiny, "relu2"), (residual, "block")):
        with unchanged(model):
            receptive_field(model, layer, 8)
            top_patches(model, layer, images, k=2)
            with pytest.raises(ValueError, match="no receptive field"):
                top_patches(model, "output", images, k=1)


def test_a_patch_fed_back_in_its_place_gives_its_activation(tiny):
    images = torch.rand(40, 2, 8, 8, dtype=torch.float64)
    top = top_patches(tiny, "relu1", images, k=9, batch_size=7)
    inside = 0
    for channel in range(3):
        for patch, value, row, column in zip(
            top.patches(channel), top.values[channel], top.row[channel], top.column[channel], strict=True
        ):
            if 1 <= row <= 6 and 1 <= column <= 6:  # not at the edge
                alone = F.conv2d(patch[None], tiny.conv1.weight, tiny.conv1.bias).relu()  # (1, 3, 1, 1)
                assert abs(alone[0, channel, 0, 0] - value) < 1e-12
                inside += 1
    assert inside > 5


def test_deep_patches_fed_back_on_any_background_give_their_activation():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3, padding=1), nn.ReLU()
    )
    net, images = net.double(), torch.rand(30, 3, 24, 24, dtype=torch.float64)
    top = top_patches(net, "4", images)
    for channel in range(4):
        for patch, value, row, column in zip(
            top.patches(channel), top.values[channel], top.row[channel].tolist(), top.column[channel].tolist(),
            strict=True,
        ):  # fmt: skip
            top_, left, bottom, right = top.field.box(row, column)
            if (bottom - top_, right - left) == top.field.size:
                background = torch.rand(1, 3, 24, 24, dtype=torch.float64)
                background[0, :, top_:bottom, left:right] = patch
                assert abs(net(background)[0, channel, row, column] - value) < 1e-12


def test_a_planted_template_fills_the_top_nine():
    conv = nn.Conv2d(3, 1, 5, padding=2, bias=False).double()
    template = conv.weight.detach()[0].sign().clamp(0, 1)  # of all patches in [0, 1] this one excites the unit most
    images = torch.rand(100, 3, 16, 16, dtype=torch.float64)
    chosen, spots = torch.randperm(100)[:9], torch.randint(0, 12, (9, 2))
    for i, (y, x) in zip(chosen.tolist(), spots.tolist(), strict=True):
        images[i, :, y : y + 5, x : x + 5] = template
    top = top_patches(nn.Sequential(conv), "0", images, batch_size=13)
    assert set(top.image[0].tolist()) == set(chosen.tolist())
    by_image = {i: (y + 2, x + 2) for i, (y, x) in zip(chosen.tolist(), spots.tolist(), strict=True)}
    assert [by_image[i] for i in top.image[0].tolist()] == list(
        zip(top.row[0].tolist(), top.column[0].tolist(), strict=True)
    )
    assert (top.patches(0) == template).all()


def test_top_patches_are_the_best_of_all_images_whatever_the_batch_size(tiny):
    images = torch.rand(20, 2, 8, 8, dtype=torch.float64)
    maps = layer_output(tiny, images, "conv2").detach()
    best = maps.amax(dim=(2, 3)).sort(dim=0, descending=True)
    for batch_size in (1, 3, 20, 100):
        top = top_patches(tiny, "conv2", images, k=5, batch_size=batch_size)
        torch.testing.assert_close(top.values, best.values[:5].T, rtol=0, atol=1e-12)
        assert torch.equal(top.image, best.indices[:5].T)
        channels = torch.arange(4)[:, None]
        torch.testing.assert_close(maps[top.image, channels, top.row, top.column], top.values, rtol=0, atol=1e-12)


def test_patches_are_zero_beyond_the_edge():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False))
    nn.init.ones_(net[0].weight)
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 0, 3] = 2  # the corner
    image[0, 0, 0, 2] = 1
    net[0].weight.data[:, :, 0] = 0
    net[0].weight.data[0, 0, 1] = torch.tensor([1.0, 2.0, 3.0])  # best where its right neighbour is bright
    top = top_patches(net, "0", image, k=1)
    assert (top.row[0, 0], top.column[0, 0], top.values[0, 0]) == (0, 2, 8)
    net[0].weight.data[0, 0, 1] = torch.tensor([0.0, 5.0, 1.0])
    top = top_patches(net, "0", image, k=1)
    assert (top.row[0, 0], top.column[0, 0]) == (0, 3)
    expected = torch.tensor([[0.0, 0, 0], [1, 2, 0], [0, 0, 0]])
    assert torch.equal(top.patches(0)[0, 0], expected)


def test_wrong_arguments_of_top_patches_are_refused(tiny, images):
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k: expected an integer from 1 to 3, got {k}"):
            top_patches(tiny, "conv1", images, k=k)
    with pytest.raises(ValueError, match=r"images: expected at least one element, got shape \(0, 2, 8, 8\)"):
        top_patches(tiny, "conv1", images[:0])
    spoiled = images.clone()
    spoiled[1, 0, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="images: 1 of 384 numbers are NaN"):
        top_patches(tiny, "conv1", spoiled, k=1)
    with pytest.raises(ValueError, match="cannot take images"):
        top_patches(tiny, "conv1", images[:, :1], k=1)
    with pytest.raises(ValueError, match="did you mean"):
        top_patches(tiny, "conv", images, k=1)
    dropping = nn.Sequential(nn.Conv2d(2, 1, 1), nn.Dropout()).double()
    with pytest.raises(ValueError, match=r"Dropout.*call model.eval"):
        top_patches(dropping, "0", images, k=1)


def test_half_precision_and_float32_models_are_followed():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        assert receptive_field(nn.Sequential(nn.Conv2d(3, 1, 3)).to(dtype), "0", 9).size == (3, 3)
