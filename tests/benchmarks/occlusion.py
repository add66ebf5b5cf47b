"""Seconds and memory of `occlusion` for one image and 169 windows, compared with captum at several batch sizes."""

import os
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from coursekit.interpret import occlusion
from coursekit.nets import convnet

from .harness import Figure, interleave, ratio

MOST_TIME, MOST_MEMORY = 1.0, 0.75
BATCH = 32  # the default of occlusion


def alexnet() -> nn.Sequential:
    """The layers of torchvision's AlexNet with random weights, without dropout."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)),
    )


def peak(run: Callable[[], object]) -> float:
    """The most memory that tensors took at once, in MiB, beyond those that existed before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        most = max(most, allocated)
    return most / 2**20


def compare(name: str, net: nn.Module, image: Tensor, window: int, stride: int, rounds: int) -> Iterator[Figure]:
    time_target, memory_target = f"≤ {MOST_TIME}", f"≤ {MOST_MEMORY}"
    try:
        from captum.attr import Occlusion
    except ModuleNotFoundError as error:
        if error.name != "captum":
            raise
        yield Figure(f"{name}: seconds ÷ captum at its best", "not measured: pip install captum", time_target, None)
        return
    captum = Occlusion(net.eval())

    @torch.no_grad()
    def theirs(batch: int) -> object:
        extent = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride)}
        return captum.attribute(image, target=3, perturbations_per_eval=batch, **extent)

    def ours() -> Tensor:
        return occlusion(net, image, 3, window, stride)

    batches = (8, BATCH, 64, 169) if image.shape[-1] < 100 else (8, BATCH, 64)
    contenders = {str(batch): lambda b=batch: theirs(b) for batch in batches}
    seconds = interleave({"ours": ours, **contenders}, rounds, time.process_time)
    best = min(contenders, key=lambda who: sum(seconds[who]))
    value = ratio(seconds["ours"], seconds[best])
    detail = f"ours {min(seconds['ours']):.3f} s; captum " + ", ".join(
        f"{batch} at once {min(seconds[batch]):.3f}" for batch in contenders
    )
    yield Figure(f"{name}: seconds ÷ captum at its best", f"{value:.2f}", time_target, value <= MOST_TIME, detail)

    mine = peak(ours)
    for what, batch in (("captum at its fastest", int(best)), ("captum at the same batch", BATCH)):
        yours = peak(lambda b=batch: theirs(b))
        fraction = mine / yours
        detail = f"{mine:.1f} and {yours:.1f} MiB, {BATCH} and {batch} windows at once"
        yield Figure(f"{name}: peak memory ÷ {what}", f"{fraction:.2f}", memory_target, fraction <= MOST_MEMORY, detail)
    with torch.no_grad():
        alone = peak(lambda: net(image.repeat(BATCH, 1, 1, 1))) / mine
    yield Figure(f"{name}: the net on {BATCH} images ÷ ours", f"{alone:.2f}", "–", None, "what every method needs")


def measure() -> Iterator[Figure]:
    os.environ["KINETO_LOG_LEVEL"] = "99"  # keeps the profiler from reporting its starts and stops
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield from compare("3×32×32", convnet(3, 32, 10, widths=(32, 64, 64)), torch.rand(1, 3, 32, 32), 8, 2, rounds=31)
    yield from compare("3×224×224", alexnet(), torch.rand(1, 3, 224, 224), 32, 16, rounds=3)
