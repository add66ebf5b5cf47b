"""The exercises on generating and fooling accept what is right and say what is wrong."""

import re

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from coursekit import datasets
from coursekit.exercises.lecture04 import exercise


def steps(size, count):
    """Gradient steps of a given length until the answer changes."""

    def attack(net, images, labels):
        z = images
        for _ in range(count):
            z = z.detach().requires_grad_()
            output = net(z)
            (gradient,) = torch.autograd.grad(F.cross_entropy(output, labels, reduction="sum"), z)
            right = (output.argmax(dim=1) == labels)[:, None, None, None]
            z = torch.where(right, (z + size * unit(gradient)).clamp(0, 1), z)
        return z

    return attack


def unit(gradient):
    return gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None, None]


def until_it_changes(net, images, labels, moved, count):
    """The first of the images moved(k), k < count, whose answer is another one."""
    z = images
    for k in range(count):
        right = (net(z).argmax(dim=1) == labels)[:, None, None, None]
        z = torch.where(right, moved(k).clamp(0, 1), z)
    return z


def one_gradient(net, images, labels):
    """One gradient, followed as it is until the answer changes."""
    z = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(z), labels, reduction="sum"), z)
    return until_it_changes(net, images, labels, lambda k: images + k / 100 * unit(gradient), 1001)


def small_sign_steps(net, images, labels):
    """Many small steps along the sign of the gradient, each with a new gradient: good for another yardstick."""
    z = images.clone()
    for _ in range(1000):
        z.requires_grad_()
        output = net(z)
        (gradient,) = torch.autograd.grad(F.cross_entropy(output, labels, reduction="sum"), z)
        right = (output.argmax(dim=1) == labels)[:, None, None, None]
        z = torch.where(right, (z + 0.002 * gradient.sign()).clamp(0, 1), z).detach()
    return z


def least_change(x, w, b, margin):
    log_odds = x @ w + b
    return -(log_odds * (1 + margin / log_odds.abs()) / w.norm() ** 2)[:, None] * w


def by_an_optimizer(net, images, labels):
    """Steps down the label's lead over the best other score; `backward` goes through the net that was handed over."""
    z = images.clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=0.01)
    for _ in range(400):
        output, own = net(z), F.one_hot(labels, 10).bool()
        optimizer.zero_grad()
        (output[own] - output.masked_fill(own, -torch.inf).amax(dim=1)).clamp(min=-1e-3).sum().backward()
        optimizer.step()
        z.data.clamp_(0, 1)
    return z


def towards_another_digit(net, images, labels):
    """No gradient: on the straight way to the nearest digit with another label, until the answer changes."""
    train = datasets.digits().train
    away = torch.cdist(images.flatten(1), train.images.flatten(1))
    goal = train.images[away.masked_fill(train.labels == labels[:, None], torch.inf).argmin(dim=1)]
    return until_it_changes(net, images, labels, lambda k: images + k / 100 * (goal - images), 301)


def towards_another_mean(net, images, labels):
    """No gradient: along the nine lines from class mean to class mean, the shortest change of the answer."""
    train = datasets.digits().train
    means = torch.stack([train.images[train.labels == k].mean(dim=0) for k in range(10)])
    z, shortest = images, torch.full((len(images),), torch.inf)
    for line in (unit(mean - means[labels]) for mean in means):
        for k in range(1, 151):
            moved = (images + k / 50 * line).clamp(0, 1)
            length = (moved - images).flatten(1).norm(dim=1)
            better = (net(moved).argmax(dim=1) != labels) & (length < shortest)
            z = torch.where(better[:, None, None, None], moved, z)
            shortest = torch.where(better, length, shortest)
    return z


def fool(net, images, labels):
    """The targeted attack of section 1, towards the likeliest wrong answer."""
    targets, z = net(images).topk(2).indices[:, 1], images.clone()
    for _ in range(60):
        output = net(z.requires_grad_())
        (gradient,) = torch.autograd.grad(F.cross_entropy(output, targets, reduction="sum"), z)
        arrived = (output.argmax(dim=1) == targets)[:, None, None, None]
        z = torch.where(arrived, z, (z - 0.05 * unit(gradient)).clamp(0, 1)).detach()
    return z


def along_linear_weights(net, images, labels):
    """No gradient of the net: the shortest of many ways along the weights of seven logistic regressions."""
    train = datasets.digits().train
    z, shortest = images, torch.full((len(images),), torch.inf)
    for C in (0.003, 0.01, 0.03, 0.1, 0.3, 1, 10):
        linear = LogisticRegression(C=C, max_iter=3000).fit(train.images.flatten(1), train.labels)
        weights = torch.tensor(linear.coef_, dtype=torch.float32).view(10, 1, 8, 8)
        for line in (unit(w - weights[labels]) for w in weights):
            near, far = torch.zeros(len(images), 1, 1, 1), torch.full((len(images), 1, 1, 1), 4.0)
            for _ in range(14):  # bisection on the net's answers
                middle = (near + far) / 2
                changed = net((images + middle * line).clamp(0, 1)).argmax(dim=1) != labels
                far = torch.where(changed[:, None, None, None], middle, far)
                near = torch.where(changed[:, None, None, None], near, middle)
            moved = (images + far * line).clamp(0, 1)
            length = (moved - images).flatten(1).norm(dim=1)
            better = (net(moved).argmax(dim=1) != labels) & (length < shortest)
            z = torch.where(better[:, None, None, None], moved, z)
            shortest = torch.where(better, length, shortest)
    return z


def more_and_more_noise(net, images, labels):
    return until_it_changes(net, images, labels, lambda k: images + k / 100 * torch.randn_like(images), 400)


def train_it_away(net, images, labels):
    """Teach the net wrong labels, and leave the images as they are."""
    optimizer = torch.optim.Adam(net.requires_grad_(True).parameters(), lr=1e-2)
    for _ in range(50):
        optimizer.zero_grad()
        F.cross_entropy(net(images), (labels + 1) % 10).backward()
        optimizer.step()
    return images


@pytest.mark.parametrize(
    ("name", "answer", "praise"),
    [
        ("ascent_step", lambda x, g, lr, penalty: (1 - 2 * lr * penalty) * x + lr * g, "right on no penalty"),
        (
            "ascent_step",
            lambda x, g, lr, penalty: x + lr * torch.func.grad(lambda z: (g * z - penalty * z**2).sum())(x),
            "right on no penalty, no gradient, both",
        ),
        ("ascent_step", lambda x, g, lr, penalty: (x + lr * (g - 2 * penalty * x)).numpy(), "right on no penalty"),
        ("least_change", least_change, "right on positive log odds, both signs, a margin"),
        (
            "worst_log_odds",
            lambda x, y, w, b, eps: torch.where(y == 1, x @ w + b, -(x @ w) - b) - eps * w.norm(p=1),
            "right on no change, label 1, both labels",
        ),
        ("my_attack", steps(0.05, 100), "every answer changed, by 3"),
        ("my_attack", steps(0.01, 500), "every answer changed, by 3"),
        ("my_attack", by_an_optimizer, "every answer changed, by 3"),
        ("my_attack", fool, "every answer changed, by 3"),
        ("my_attack", one_gradient, "every answer changed, by 3"),
    ],
)
def test_a_right_answer_is_praised(ask, name, answer, praise):
    assert ask(exercise, name, answer).startswith(f"✓ {name}: {praise}")


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        (
            "ascent_step",
            lambda x, g, lr, penalty: x + lr * g,
            "right on no penalty; wrong on no gradient",
        ),
        ("ascent_step", lambda x, g, lr, penalty: x - lr * (g - 2 * penalty * x), "wrong on no penalty"),
        ("ascent_step", lambda x, g, lr, penalty: x + lr * (g - penalty * x), "wrong on no gradient"),
        ("ascent_step", lambda x, g, lr, penalty: (x + lr * g) * (1 - 2 * lr * penalty), "no gradient; wrong on both"),
        ("ascent_step", lambda x, g, lr, penalty: x + lr * (g - penalty * x / x.norm()), "wrong on no gradient"),
        ("ascent_step", lambda x, g, lr, penalty: x.add_(lr * (g - 2 * penalty * x)), "changes its argument in place"),
        ("least_change", lambda x, w, b, m: -(x @ w + b)[:, None] * w / w.norm(), "wrong on positive log odds"),
        ("least_change", lambda x, w, b, m: -(x @ w + b)[:, None] * w / w.norm() ** 2, "both signs; wrong on a margin"),
        (
            "least_change",
            lambda x, w, b, m: -((x @ w + b + m) / w.norm() ** 2)[:, None] * w,
            "both signs; wrong on a margin",
        ),
        ("worst_log_odds", lambda x, y, w, b, eps: x @ w + b - eps * w.abs().sum(), "wrong on no change"),
        (
            "worst_log_odds",
            lambda x, y, w, b, eps: (2 * y - 1) * (x @ w + b) - eps * w.norm(),
            "right on no change; wrong on label 1",
        ),
        (
            "worst_log_odds",
            lambda x, y, w, b, eps: (2 * y - 1) * (x @ w + b) - eps * w.sum().abs(),
            "right on no change; wrong on label 1",
        ),
        (
            "worst_log_odds",
            lambda x, y, w, b, eps: (2 * y - 1) * (x @ w + b) + eps * w.abs().sum(),
            "right on no change; wrong on label 1",
        ),
        (
            "worst_log_odds",
            lambda x, y, w, b, eps: (2 * y - 1) * (x @ w + b - eps * w.abs().sum()),
            "no change, label 1; wrong on both labels",
        ),
        ("my_attack", lambda net, images, labels: None, "returns nothing yet"),
        (
            "my_attack",
            lambda net, images, labels: images[0],
            r"expected one image for each digit, shape \(50, 1, 8, 8\), got Tensor of shape \(1,",
        ),
        ("my_attack", lambda net, images, labels: images + 0.5, r"must stay in \[0, 1\]; these go from 0.5 to 1.5"),
        ("my_attack", lambda net, images, labels: images, "still reads 50 of the 50 digits correctly"),
        ("my_attack", steps(2.0, 20), "wanted at most 36 %. Length is ‖r‖₂ here"),
        ("my_attack", small_sign_steps, "wanted at most 36 %. .*: follow the gradient itself"),
        ("my_attack", towards_another_digit, "wanted at most 36 %. Length is ‖r‖₂"),
        ("my_attack", towards_another_mean, r"by 39\.\d % of the way .* wanted at most 36 %"),
        ("my_attack", along_linear_weights, r"by 36\.\d % of the way .* wanted at most 36 %"),
        ("my_attack", more_and_more_noise, "wanted at most 36 %. Length is ‖r‖₂"),
        ("my_attack", train_it_away, "it changes the net; leave the weights as they are"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, answer, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, answer))


def test_the_courses_attack_is_shorter_than_fool_and_says_so(ask):
    assert "shorter than `fool` of section 1" in ask(exercise, "my_attack", steps(0.01, 500))
    assert "now beat `fool` of section 1 (33.4 % or less)" in ask(exercise, "my_attack", fool)


def test_a_spoiled_net_wins_nothing(ask):
    def spoil(net, images, labels):
        for p in net.parameters():
            p.data.zero_()
        return images

    assert "it changes the net; leave the weights as they are" in ask(exercise, "my_attack", spoil)
