"""The three rules compared with results worked by hand and with backward passes written out."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from coursekit.interpret import input_gradient, relu_rule, unit_gradient

X = torch.tensor([[1.0, -1, 2, 0], [-3, 4, -1, 2], [2, 1, -2, -1], [-1, -2, 3, 1]], dtype=torch.float64)
R = torch.tensor([[2.0, 1, -1, 3], [4, -2, -3, 1], [-1, 2, 1, -4], [3, -1, 2, -2]], dtype=torch.float64)
BY_HAND = {
    "gradient": [[2, 0, -1, 0], [0, -2, 0, 1], [-1, 2, 0, 0], [0, 0, 2, -2]],  # R where X > 0
    "deconvnet": [[2, 1, 0, 3], [4, 0, 0, 1], [0, 2, 1, 0], [3, 0, 2, 0]],  # R where R > 0
    "guided": [[2, 0, 0, 0], [0, 0, 0, 1], [0, 2, 0, 0], [0, 0, 2, 0]],  # R where both
}
RULES = tuple(BY_HAND)
OTHERS = ("deconvnet", "guided")

SPELLINGS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda h: F.relu(h, inplace=True),
    "F.relu in place, positional": lambda h: F.relu(h, True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "h.relu": lambda h: h.relu(),
    "h.relu_": lambda h: h.relu_(),
    "torch.clamp": lambda h: torch.clamp(h, 0),
    "torch.clamp, keywords": lambda h: torch.clamp(input=h, min=0.0),
    "torch.clamp_": lambda h: torch.clamp_(h, min=0),
    "h.clamp": lambda h: h.clamp(min=0),
    "h.clamp, both bounds named": lambda h: h.clamp(0, None),
    "h.clamp, tensor": lambda h: h.clamp(min=torch.tensor(0.0)),
    "h.clamp_": lambda h: h.clamp_(0.0),
    "torch.clamp_min": lambda h: torch.clamp_min(h, 0),
    "torch.clamp_min_": lambda h: torch.clamp_min_(h, 0),
    "h.clamp_min": lambda h: h.clamp_min(0),
    "h.clamp_min_": lambda h: h.clamp_min_(0),
    "torch.clip": lambda h: torch.clip(h, 0),
    "torch.clip_": lambda h: torch.clip_(h, 0),
    "h.clip": lambda h: h.clip(min=0),
    "h.clip_": lambda h: h.clip_(0),
}


class Net(nn.Module):
    """A function of the images as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def by_hand(rule, x, r):
    """What a ReLU with input x passes on of r, written independently of the package."""
    keep = {"gradient": x > 0, "deconvnet": r > 0, "guided": (x > 0) & (r > 0)}[rule]
    return r * keep


def total(output):
    return output.flatten(1).sum(dim=1)


# --- the rules


@pytest.mark.parametrize("rule", RULES)
def test_4_by_4_numbers_worked_by_hand(rule):
    """S = Σ R relu(X): what arrives at the ReLU from above is R itself (E03)."""
    found = input_gradient(Net(torch.relu), X[None, None], lambda h: total(R * h), rule)
    torch.testing.assert_close(found[0, 0], torch.tensor(BY_HAND[rule], dtype=torch.float64), rtol=0, atol=0)


@pytest.mark.parametrize("rule", RULES)
def test_convolution_relu_and_pooling_worked_by_hand(rule):
    """A 1×1 convolution with weight −1, ReLU, 2×2 max pooling, then the weights 1, −2, 3, −4."""
    conv = nn.Conv2d(1, 1, 1, bias=False).double()
    nn.init.constant_(conv.weight, -1)
    net = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))
    x = torch.tensor([[1.0, -1, 2, 1], [-3, 4, 5, 2], [2, 1, -2, -1], [4, 5, 3, 1]], dtype=torch.float64)
    weights = torch.tensor([[1.0, -2], [3, -4]], dtype=torch.float64)
    # −x has its maxima 3, −1, −1, 2 at (1,0), (0,3), (2,1), (2,2). After the ReLU the two windows with maximum −1 hold
    # zeros only, and pooling takes the first, at (0,2) and (2,0). There x > 0, so relu(−x) is off.
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[1, 0] = -1
    if rule == "gradient":
        expected[2, 2] = 4  # deconvnet and guided stop the −4
    if rule == "deconvnet":
        expected[2, 0] = -3  # it ignores whether the ReLU is on
    found = input_gradient(net, x[None, None], lambda h: total(weights * h), rule)
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=0)


@pytest.mark.parametrize("rule", OTHERS)
def test_at_zero_nothing_negative_passes_and_at_nan_the_value_stays(rule):
    x = torch.tensor([0.0, 0, 1, torch.nan], requires_grad=True)
    with relu_rule(rule):
        y = x.relu()
    y.backward(torch.tensor([-1.0, 2, -1, -1]))
    assert y[:3].tolist() == [0, 0, 1]
    assert y[3].isnan()
    assert x.grad.tolist() == [0, 2 if rule == "deconvnet" else 0, 0, 0]


def test_deconvnet_of_a_unit_below_every_relu_is_its_filter_at_its_receptive_field(images):
    conv = nn.Conv2d(2, 3, 3, stride=2).double()
    net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(27, 2).double())
    found = unit_gradient(net, images, "0", channel=1, position=(2, 1), rule="deconvnet")
    expected = torch.zeros_like(images)
    expected[:, :, 4:7, 2:5] = conv.weight[1].detach()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("rule", OTHERS)
def test_below_every_relu_all_rules_are_the_gradient(tiny, images, rule):
    for layer in ("conv1", "relu1"):  # at relu1, R = 1 > 0 and only "deconvnet" ignores that the ReLU is off
        plain = unit_gradient(tiny, images, layer, 2, (4, 4))
        found = unit_gradient(tiny, images, layer, 2, (4, 4), rule)
        if layer == "conv1" or rule == "guided":
            torch.testing.assert_close(found, plain, rtol=0, atol=0)


def test_guided_is_the_gradient_where_the_weights_above_are_not_negative(tiny, images):
    for layer in (tiny.conv2, tiny.output):
        layer.weight.data.abs_()
    guided, plain = (input_gradient(tiny, images, 1, rule) for rule in ("guided", "gradient"))
    assert plain.abs().max() > 0
    torch.testing.assert_close(guided, plain, rtol=0, atol=0)


def test_deconvnet_without_pooling_ignores_the_image(images):
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    ).double()
    found = {rule: input_gradient(net, images, 0, rule) for rule in RULES}
    assert found["deconvnet"][0].abs().max() > 0
    torch.testing.assert_close(found["deconvnet"][1:], found["deconvnet"][:1].expand(2, -1, -1, -1))
    assert (found["gradient"][0] != found["gradient"][1]).any()
    assert (found["guided"][0] != found["guided"][1]).any()


def test_deconvnet_is_zeilers_unpooling_rectification_and_transposed_convolution():
    """Unpooling adds, because 3×3 windows with stride 2 overlap; no ReLU is applied at the image."""
    first, second = nn.Conv2d(2, 3, 3, padding=1).double(), nn.Conv2d(3, 4, 3, padding=1).double()
    net = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(3, stride=2), second, nn.ReLU())
    images = torch.rand(2, 2, 9, 9, dtype=torch.float64)
    h = first(images).relu()
    pooled, switches = F.max_pool2d(h, 3, 2, return_indices=True)  # (2, 3, 4, 4)
    assert any(len(places.unique()) < 16 for places in switches.flatten(0, 1))  # some pixels win two windows

    signal = torch.zeros_like(second(pooled))
    signal[:, 1, 2, 2] = 1
    signal = F.conv_transpose2d(signal.clamp(min=0), second.weight, padding=1)
    unpooled = torch.zeros_like(h).flatten(2)
    unpooled.scatter_add_(2, switches.flatten(2), signal.flatten(2))
    expected = F.conv_transpose2d(unpooled.view_as(h).clamp(min=0), first.weight, padding=1)

    found = unit_gradient(net, images, "4", channel=1, position=(2, 2), rule="deconvnet")
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)
    assert (found < 0).any()


# --- every spelling, every structure


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_relu_gets_the_rule(spelling, rule):
    relu = SPELLINGS[spelling]
    found = input_gradient(Net(lambda x: relu(x * 1)), X[None, None], lambda h: total(R * h), rule)
    assert found[0, 0].tolist() == BY_HAND[rule]


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if "_" in name[-1:] or "in place" in name])
def test_an_in_place_relu_whose_result_is_dropped_still_changes_its_tensor(spelling, rule):
    def forward(x):
        h = x * 1
        SPELLINGS[spelling](h)
        return h

    with relu_rule(rule):
        assert torch.equal(forward(X.clone().requires_grad_()), X.relu())
    found = input_gradient(Net(forward), X[None, None], lambda h: total(R * h), rule)
    assert found[0, 0].tolist() == BY_HAND[rule]


@pytest.mark.parametrize("rule", OTHERS)
def test_an_in_place_relu_on_part_of_a_tensor_changes_that_part(rule):
    def forward(x):
        h = x * 1
        h[..., :2].relu_()
        return h

    found = input_gradient(Net(forward), X[None, None], lambda h: total(R * h), rule)[0, 0]
    assert found[:, :2].tolist() == [row[:2] for row in BY_HAND[rule]]
    assert torch.equal(found[:, 2:], R[:, 2:])


def test_clamps_that_are_not_relus_are_left_alone():
    x = X.clone().requires_grad_()
    with relu_rule("deconvnet"):
        x.relu()
        y = x.clamp(0, 3) + x.clamp(min=-1) + x.clamp_max(0) + x.clamp(min=torch.zeros(4))
        y = y + F.leaky_relu(x) + torch.clamp(x, max=1)
    z = X.clone().requires_grad_()
    plain = z.clamp(0, 3) + z.clamp(min=-1) + z.clamp_max(0) + z.clamp(min=torch.zeros(4))
    plain = plain + F.leaky_relu(z) + torch.clamp(z, max=1)
    (R * y).sum().backward()
    (R * plain).sum().backward()
    assert torch.equal(x.grad, z.grad)


def test_a_clamp_into_a_given_tensor_is_left_alone():
    out = torch.empty(4, 4, dtype=torch.float64)
    with relu_rule("guided"), torch.no_grad():
        torch.clamp(X, min=0, out=out)
        with torch.enable_grad():
            X.clone().requires_grad_().relu()
    assert torch.equal(out, X.relu())


@pytest.mark.parametrize("rule", RULES)
def test_a_residual_sum_keeps_the_signal_that_goes_around_the_relu(rule):
    """y = a relu(h) + b h with h = wx: backwards, h receives what the rule passes on of a R, and all of b R."""
    a, b, w = 2.0, -0.5, 3.0
    net = Net(lambda x: a * F.relu(w * x) + b * (w * x))
    shared = Net(lambda x: (lambda h: a * F.relu(h) + b * h)(w * x))
    expected = w * (by_hand(rule, w * X, a * R) + b * R)
    for model in (net, shared):
        found = input_gradient(model, X[None, None], lambda y: total(R * y), rule)
        torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("rule", RULES)
def test_one_module_used_twice_and_by_branches_that_interleave(rule):
    relu = nn.ReLU()

    def forward(x):
        left, right = 2 * x, -3 * x
        left, right = relu(left), relu(right)
        return relu(left - right)

    net = Net(forward)
    net.relu = relu
    left, right = 2 * X, -3 * X
    r = by_hand(rule, left.relu() - right.relu(), R)
    expected = 2 * by_hand(rule, left, r) - 3 * by_hand(rule, right, -r)
    found = input_gradient(net, X[None, None], lambda y: total(R * y), rule)
    torch.testing.assert_close(found[0, 0], expected)


@pytest.mark.parametrize("rule", RULES)
def test_a_residual_net_equals_its_backward_pass_by_hand(residual, images, rule):
    net = residual
    h0 = net.first(images)
    pre, h = [h0], h0.relu()
    for _ in range(2):
        pre.append(h + net.norm(net.block(h)))
        h = pre[-1].relu()
    r = (net.output.weight[2] / 64)[None, :, None, None].expand_as(h)
    gain = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt())[:, None, None]
    for p in pre[:0:-1]:
        r = by_hand(rule, p, r)
        r = r + F.conv_transpose2d(gain * r, net.block.weight, padding=1)
    expected = F.conv_transpose2d(by_hand(rule, h0, r), net.first.weight, padding=1)
    torch.testing.assert_close(input_gradient(net, images, 2, rule), expected.detach())


@pytest.mark.parametrize("rule", OTHERS)
def test_activation_checkpointing_makes_no_difference(tiny, images, rule):
    net = Net(lambda x: checkpoint(tiny, x, use_reentrant=False))  # repeats the forward pass during the backward pass
    found, expected = (input_gradient(model, images, 0, rule) for model in (net, tiny))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# --- the block


@pytest.mark.parametrize("rule", OTHERS)
def test_the_forward_pass_decides_and_its_values_do_not_change(tiny, images, rule):
    x = images.requires_grad_()
    with relu_rule(rule):
        output = tiny(x)
    assert torch.equal(output, tiny(x))
    (found,) = torch.autograd.grad(output[:, 0].sum(), x)
    torch.testing.assert_close(found, input_gradient(tiny, images, 0, rule), rtol=0, atol=0)


def test_the_gradient_rule_is_backpropagation(tiny, residual, images):
    x = images.requires_grad_()
    for net in (tiny, residual):
        (expected,) = torch.autograd.grad(net(x)[:, 3].sum(), x)
        with relu_rule("gradient"):
            (found,) = torch.autograd.grad(net(x)[:, 3].sum(), x)
        assert torch.equal(found, expected)


def test_the_innermost_block_wins_and_the_outer_one_returns():
    x = X.clone().requires_grad_()

    def pulled(y):
        return torch.autograd.grad((R * y).sum(), x)[0].tolist()

    with relu_rule("deconvnet"):
        with relu_rule("guided"):
            inner = x.relu()
        outer = x.relu()
    assert pulled(inner) == BY_HAND["guided"]
    assert pulled(outer) == BY_HAND["deconvnet"]
    assert pulled(x.relu()) == BY_HAND["gradient"]


def test_another_thread_keeps_the_plain_gradient():
    found = []

    def elsewhere():
        x = X.clone().requires_grad_()
        (R * x.relu()).sum().backward()
        found.append(x.grad.tolist())

    with relu_rule("guided"):
        X.clone().requires_grad_().relu()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found == [BY_HAND["gradient"]]


def test_the_model_is_unchanged_after_success_and_after_an_exception(tiny, residual, images, unchanged):
    for net in (tiny, residual):
        next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
        with unchanged(net):
            input_gradient(net, images, 0, "guided")
        with unchanged(net), pytest.raises(ValueError, match="target: expected an integer from 0 to 3, got 4"):
            input_gradient(net, images, 4, "guided")
    x = X.clone().requires_grad_()
    (R * x.relu()).sum().backward()
    assert x.grad.tolist() == BY_HAND["gradient"]  # the mode has ended


# --- bad input


@pytest.mark.parametrize("rule", OTHERS)
@pytest.mark.parametrize("layer", [nn.LeakyReLU(), nn.GELU(), nn.Sigmoid(), nn.Identity()])
def test_a_net_without_relu_is_refused(images, layer, rule):
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(128, 2).double())
    with pytest.raises(
        ValueError, match=rf"rule '{rule}' changes the backward pass of ReLUs, but no ReLU took part in backpropagation"
    ):
        input_gradient(net, images, 0, rule)
    assert input_gradient(net, images, 0).shape == images.shape


def test_relus_outside_backpropagation_do_not_count():
    with pytest.raises(ValueError, match="no ReLU took part in backpropagation"), relu_rule("guided"):
        X.relu()
    with pytest.raises(ValueError, match="no ReLU took part"), relu_rule("guided"), torch.no_grad():
        X.clone().requires_grad_().relu()


def test_an_unknown_rule_names_the_rules(without_annotations):
    with pytest.raises(ValueError, match="unknown rule 'deconv': did you mean deconvnet"), relu_rule("deconv"):
        pass
    with pytest.raises(ValueError, match="there are gradient, deconvnet, guided"), relu_rule("xyz"):
        pass
    with pytest.raises(TypeError, match="rule: expected one of 'gradient', 'deconvnet', 'guided', got NoneType"):
        relu_rule(None).__enter__()


def test_another_error_inside_the_block_is_raised_unchanged():
    with pytest.raises(KeyError) as caught, relu_rule("guided"):
        raise KeyError("mine")
    assert caught.value.__context__ is None


MORE_SPELLINGS = [
    lambda x: F.threshold(x, 0, 0),
    lambda x: F.threshold(x.clone(), 0.0, 0.0, inplace=True),
    nn.Threshold(0, 0),
    lambda x: torch.threshold_(x.clone(), 0, 0),
    lambda x: F.hardtanh(x, 0, float("inf")),
    nn.Hardtanh(0.0, float("inf"), inplace=False),
    lambda x: F.leaky_relu(x, 0.0),
    lambda x: x.clamp(0, float("inf")),
    lambda x: torch.clip(x, min=0, max=torch.tensor(float("inf"))),
    lambda x: torch.maximum(x, torch.zeros(())),
    lambda x: torch.max(torch.zeros_like(x), x),
    lambda x: x.fmax(torch.zeros(1)),
]
OTHERS = [
    lambda x: F.threshold(x, 0, -1),
    lambda x: F.threshold(x, 0.5, 0.5),
    nn.Hardtanh(),
    nn.ReLU6(),
    nn.LeakyReLU(),
    lambda x: x.clamp(0, 5),
    lambda x: torch.maximum(x, torch.ones(())),
    lambda x: torch.maximum(x, -x),
    lambda x: x.max(dim=0).values,
]


@pytest.mark.parametrize("relu", MORE_SPELLINGS)
def test_more_spellings_of_a_relu(relu):
    x = torch.tensor([1.0, 1.0, -1.0, -1.0], requires_grad=True)
    signal = torch.tensor([2.0, -2.0, 2.0, -2.0])
    with relu_rule("guided"):
        y = relu(x)
    assert torch.equal(y, x.relu())
    assert torch.autograd.grad(y, x, signal)[0].tolist() == [2.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("other", OTHERS)
def test_what_only_resembles_a_relu_keeps_its_gradient(other):
    x = torch.tensor([1.0, 3.0, -1.0, -7.0], requires_grad=True)
    plain = torch.autograd.grad(other(x).sum(), x)[0]
    with relu_rule("guided"):
        y = other(x).sum() + 0 * x.relu().sum()
    assert torch.equal(torch.autograd.grad(y, x)[0], plain)
