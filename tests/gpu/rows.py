"""The rows of docs/gpu.md: each is a function that measures one thing and returns a `Result`.

To add a row, write such a function, with small sizes for the dry run, and enter it in ``ROWS``; the slowest come last.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from coursekit import autoencoders
from coursekit.datasets import digits, grid, ring, shapes
from coursekit.generative.vae import VAE
from coursekit.interpret import nearest_neighbours, occlusion, tsne
from coursekit.nets import ResidualNet, pretrained
from coursekit.recurrent import LSTM
from coursekit.training import Descent, fit
from coursekit.validation import checks_put_off
from tests.benchmarks.games import seeds_at_once
from tests.benchmarks.harness import interleave, ratio
from tests.gpu.target import DEVICE, DRY_RUN

ROOT = Path(__file__).parents[2]
BATCH, ROUNDS = 128, 1 if DRY_RUN else 5


@dataclass(frozen=True)
class Result:
    """The cells of a row after its name."""

    gpu: str
    other: str = ""
    ratio: str = ""
    notes: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, [self.gpu, self.other, self.ratio and f"ratio {self.ratio}", self.notes]))


@dataclass(frozen=True)
class Row:
    """A row of the table. It is stopped after ``limit`` seconds."""

    what: str
    measure: Callable[[], Result]
    limit: float


def tests() -> Result:
    """The tests marked ``gpu``, all of which must pass: a skipped one has not met the GPU."""
    # Only this folder: the other tests need packages that are not here. Warnings are no errors here, because the
    # versions are those of the machine and not the pinned ones.
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    summary = done.stdout.strip().splitlines()[-1].strip("= ")  # "41 passed in 12.3s"
    if done.returncode or "skipped" in summary:
        raise RuntimeError(summary)
    return Result(summary)


def fit_autoencoder() -> Result:
    """`fit` on an MLP autoencoder and as many images as MNIST has."""
    images = torch.rand(512 if DRY_RUN else 60_000, 784, device=DEVICE)
    make = partial(autoencoders.deep, 784, 512, 256, 32)
    return _fit_against_plain_loop(make, lambda net, x: F.mse_loss(net(x), x), images)


def fit_vae(batch: int) -> Result:
    """`fit` on a small VAE and as many images as MNIST has."""
    images = torch.rand(512 if DRY_RUN else 60_000, 784, device=DEVICE)
    return _fit_against_plain_loop(
        lambda: VAE(784, hidden=512, latent=16), lambda net, x: -net.elbo(x).mean(), images, batch=batch
    )


def fit_residual() -> Result:
    """`fit` on the residual net and a third of CIFAR-10, and what that is of the rate of one large matrix product."""
    n = 64 if DRY_RUN else 16_384
    images, labels = torch.rand(n, 3, 32, 32, device=DEVICE), torch.randint(10, (n,), device=DEVICE)
    result = _fit_against_plain_loop(ResidualNet, lambda net, x, y: F.cross_entropy(net(x), y), images, labels)

    # The products of one image, forward and backward, against those that the device does in a second.
    net = ResidualNet()
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(net(images[:2].cpu()), labels[:2].cpu()).backward()
    rate = float(result.gpu.split()[0].replace(",", "")) * counter.get_total_flops() / 2
    share = rate / _largest_rate()
    return replace(result, notes=f"{result.notes}; {share:.0%} of the rate of a large bf16 product")


def _largest_rate() -> float:
    """Floating-point operations per second of one large matrix product in bfloat16."""
    side = 256 if DRY_RUN else 8192
    a = torch.rand(side, side, device=DEVICE, dtype=torch.bfloat16)
    return 2 * side**3 / min(_seconds(lambda: a @ a)[0] for _ in range(10))


def lstm_against_cudnn() -> Result:
    """The course's LSTM, written out step by step, and torch's: forward and backward."""
    t, b, h = (8, 4, 16) if DRY_RUN else (128, 64, 256)
    x = torch.rand(t, b, h, device=DEVICE)

    def steps(net: nn.Module) -> Callable[[], None]:
        net.to(DEVICE)

        def run() -> None:
            for _ in range(5):
                net.zero_grad()
                net(x)[0].sum().backward()
            if DEVICE == "cuda":
                torch.cuda.synchronize()

        return run

    seconds = interleave({"ours": steps(LSTM(h, h)), "torch.nn": steps(nn.LSTM(h, h))}, ROUNDS)
    rates = {name: f"{5 * t * b / min(taken):,.0f} tokens/s" for name, taken in seconds.items()}
    faster = ratio(seconds["torch.nn"], seconds["ours"])
    return Result(rates["ours"], f"torch.nn: {rates['torch.nn']}", f"{faster:.2f}", f"float32, T, B, H = {t}, {b}, {h}")


def _fit_against_plain_loop(
    make: Callable[[], nn.Module], loss: Callable[..., Tensor], *data: Tensor, batch: int = BATCH
) -> Result:
    """Samples per second of `fit`, and of the loop that one writes without it.

    Both have the same net, optimizer and precision, and data that are on the device already.
    """
    net, plain_net = make().to(DEVICE), make().to(DEVICE)
    bf16 = DEVICE == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    precision = "bf16" if bf16 else "float32"
    step = Descent(net, partial(loss, net), precision=precision)
    optimizer = torch.optim.Adam(plain_net.parameters(), lr=1e-3, fused=True)
    n, epochs = len(data[0]), 1 if DRY_RUN else 3

    def plain_loop() -> None:
        plain_net.train()
        for _ in range(epochs):
            for index in torch.randperm(n, device=DEVICE).split(batch):
                optimizer.zero_grad()
                with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
                    value = loss(plain_net, *(x[index] for x in data))
                value.backward()
                optimizer.step()
        value.item()  # waits for the device

    def ours() -> None:
        fit(step, data, epochs=epochs, batch_size=batch, device=DEVICE, progress=False)

    seconds = interleave({"fit": ours, "plain loop": plain_loop}, ROUNDS)
    rates = {name: f"{epochs * n / min(taken):,.0f} samples/s" for name, taken in seconds.items()}
    faster = ratio(seconds["plain loop"], seconds["fit"])
    notes = f"{precision}, {n:,} samples, batch {batch}"
    return Result(rates["fit"], f"plain loop: {rates['plain loop']}", f"{faster:.2f}", notes)


def vae_as_graph() -> Result:
    """A step of a small VAE, whose operators Python asks for one by one, and the same recorded once as a CUDA graph."""
    images = torch.rand(512 if DRY_RUN else 60_000, 784, device=DEVICE)
    steps = len(images) // BATCH

    def step_on(x: Tensor) -> Callable[[], Tensor]:
        net = VAE(784, hidden=512, latent=16).to(DEVICE)
        optimizer = torch.optim.Adam(net.parameters(), fused=True, capturable=DEVICE == "cuda")

        def step() -> Tensor:
            with checks_put_off({}):
                loss = -net.elbo(x).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def epoch(step: Callable[[], Tensor], x: Tensor) -> Callable[[], float]:
        def run() -> float:
            for batch in images.split(BATCH)[:steps]:
                x.copy_(batch)
                loss = step()
            return loss.item()  # waits for the device

        return run

    one_by_one, recorded = images[:BATCH].clone(), images[:BATCH].clone()
    runs = {
        "one by one": epoch(step_on(one_by_one), one_by_one),
        "graph": epoch(_as_graph(step_on(recorded)), recorded),
    }
    seconds = interleave(runs, ROUNDS)
    rates = {name: f"{steps * BATCH / min(taken):,.0f} samples/s" for name, taken in seconds.items()}
    faster = ratio(seconds["one by one"], seconds["graph"])
    losses = {name: run() for name, run in runs.items()}
    notes = f"float32, batch {BATCH}; loss {losses['graph']:.1f}, one by one {losses['one by one']:.1f}"
    return Result(rates["graph"], f"one by one: {rates['one by one']}", f"{faster:.2f}", notes)


def _as_graph(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The step, recorded: to replay it, Python asks the device once. A CPU has no such graphs."""
    if DRY_RUN:
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # libraries and the optimizer's state are made ready before the recording
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def ten_seeds(points: Callable[[int], Any]) -> Result:
    """The game of a GAN for ten seeds at once, on the GPU and on the CPU."""
    data, steps = points(1000 if DRY_RUN else 100_000).points, 5 if DRY_RUN else 1000
    there, here = (seeds_at_once(range(10), data.to(device), steps) for device in (DEVICE, "cpu"))
    seeds_at_once(range(10), data.to(DEVICE), 1)()  # the first call pays for loading CUDA's libraries
    on_gpu, on_cpu = _seconds(there)[0], _seconds(here)[0]
    return Result(f"{on_gpu:.2f} s", f"CPU: {on_cpu:.2f} s", f"{on_cpu / on_gpu:.1f}", f"{steps} steps of batch 64")


def map_of_many() -> Result:
    """The exact t-SNE of as many points as MNIST has; a CPU would take hours."""
    n = 200 if DRY_RUN else 60_000
    centres = 4 * torch.randn(10, 1, 50, device=DEVICE)
    x = (centres + torch.randn(10, n // 10, 50, device=DEVICE)).flatten(0, 1)  # (n, 50)
    taken, found = _seconds(lambda: tsne(x, progress=False))
    nearest = nearest_neighbours(found.embedding[:: n // 100], found.embedding, 2).indices[:, 1]
    same = (nearest // (n // 10) == torch.arange(0, n, n // 100, device=DEVICE) // (n // 10)).float().mean().item()
    peak = "" if DRY_RUN else f", {torch.cuda.max_memory_allocated() / 1e9:.0f} GB"
    notes = f"{len(x)} points, {found.method}; KL {found.kl:.2f}; {same:.0%} next to a point of their cloud{peak}"
    return Result(f"{taken:.0f} s", notes=notes)


def map_of_digits() -> Result:
    """The exact t-SNE of the digits."""
    x = digits().train.images[: 100 if DRY_RUN else None].flatten(1)  # (n, 64)
    tsne(x.to(DEVICE), steps=10, progress=False)  # the first call pays for loading CUDA's libraries
    there, on_gpu = _seconds(lambda: tsne(x.to(DEVICE), progress=False))
    here, on_cpu = _seconds(lambda: tsne(x, progress=False))
    notes = f"{len(x)} digits; KL {on_gpu.kl:.3f}, on the CPU {on_cpu.kl:.3f}"
    return Result(f"{there:.2f} s", f"CPU: {here:.2f} s", f"{here / there:.1f}", notes)


def occlusion_of_shapes() -> Result:
    """Occlusion of the trained residual net."""
    net, images = pretrained("residual"), shapes(4 if DRY_RUN else 64).images
    net_there, images_there = pretrained("residual").to(DEVICE), images.to(DEVICE)
    look = partial(occlusion, target=0, window=8, stride=2, batch_size=256)
    look(net_there, images_there[:1])  # the first call pays for loading CUDA's libraries
    there, on_gpu = _seconds(lambda: look(net_there, images_there))
    here, on_cpu = _seconds(lambda: look(net, images))
    error = (on_gpu.cpu() - on_cpu).abs().max() / on_cpu.abs().max()
    notes = f"{len(images)} images, {on_cpu[0].numel()} windows each; scores differ by {error:.1e} of the largest"
    return Result(f"{there:.2f} s", f"CPU: {here:.2f} s", f"{here / there:.1f}", notes)


def occlusion_of_many() -> Result:
    """Occlusion of as many images as a class of CIFAR-10's test set has; a CPU would take too long."""
    images = shapes(4 if DRY_RUN else 1000).images.to(DEVICE)
    net = pretrained("residual").to(DEVICE)
    look = partial(occlusion, target=0, window=8, stride=2, batch_size=1024)
    look(net, images[:1])
    taken, scores = _seconds(lambda: look(net, images))
    return Result(f"{taken:.2f} s", notes=f"{len(images)} images, {scores[0].numel()} windows each")


def notebook() -> Result:
    """Notebook 03, whose data come with the packages at every profile; its claims must hold. A dry run takes 00."""
    lecture, profile = ("00", "smoke") if DRY_RUN else ("03", "full")  # 03 at smoke is tested elsewhere
    settings = ["--profile", profile, "--device", DEVICE, "--jobs", "1"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "coursekit", "run", lecture, *settings, "--out", folder]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - start
    print(done.stdout, flush=True)
    summary = re.findall("^1 notebook: (.*)", done.stdout, re.MULTILINE)  # "1 ok. 22 claims held. 41 s"
    if done.returncode:
        raise RuntimeError(summary[-1] if summary else f"coursekit run ended with {done.returncode}")
    return Result(f"{seconds:.0f} s", notes=f"notebook {lecture}, profile {profile}: {summary[-1]}")


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes until the device is done, and the result."""
    start = time.perf_counter()
    result = run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


ROWS = [
    Row("tests marked `gpu`", tests, limit=150),
    Row("`fit`, MLP autoencoder 784-512-256-32", fit_autoencoder, limit=60),
    Row("`fit`, VAE 784-512-16, batch 128", partial(fit_vae, 128), limit=60),
    Row("`fit`, VAE 784-512-16, batch 8192", partial(fit_vae, 8192), limit=40),
    Row("`fit`, residual net", fit_residual, limit=60),
    Row("LSTM, forward and backward", lstm_against_cudnn, limit=40),
    Row("VAE 784-512-16, CUDA graph", vae_as_graph, limit=40),
    Row("GAN on the ring, ten seeds at once", partial(ten_seeds, ring), limit=40),
    Row("GAN on the grid, ten seeds at once", partial(ten_seeds, grid), limit=40),
    Row("`tsne`", map_of_digits, limit=60),
    Row("`occlusion`, residual net", occlusion_of_shapes, limit=60),
    Row("`occlusion`, 1000 images", occlusion_of_many, limit=60),
    Row("`tsne`, 60 000 points", map_of_many, limit=150),
    Row("notebook 03", notebook, limit=240),
]
