"""Several processes that train one model together: how ``torchrun`` starts them, and how they share a batch.

Every process holds all data, draws the same batches and makes the same random numbers. `Descent` gives each process
its share of the rows, and torch's DistributedDataParallel makes one gradient of theirs. So a run of several processes
is the run of one, up to rounding. Only the first process writes files and speaks.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from coursekit.errors import CourseError
from coursekit.training.device import own_randomness, resolve_device, rng_states
from coursekit.training.history import Losses, by_name

LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # what gloo says of a lost process


def started_by_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def processes() -> int:
    """How many processes train together; 1 if this one is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks: rank 0, or the only one."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


@contextmanager
def joined(device: str, saved: Path) -> Iterator[torch.device]:
    """Compute together with the other processes that ``torchrun`` started, if it did, while the block lasts.

    Args:
        device: as for `resolve_device`; with several processes, each takes the GPU of its own number.
        saved: the checkpoint from which the run can go on.

    Yields:
        The device of this process.

    Raises:
        CourseError: there are fewer GPUs than processes here; or a process was lost while the block ran.
    """
    if not started_by_torchrun():
        yield resolve_device(device)
        return
    mine = _device_of_this_process(device)
    # Sums of tensors on the CPU go through gloo, which also notices at once that a process is gone.
    backend = "cpu:gloo,cuda:nccl" if mine.type == "cuda" else "gloo"
    # When torchrun starts a run again, its store still holds the addresses of the lost processes.
    store, rank, size = next(dist.rendezvous("env://"))
    store = dist.PrefixStore(f"coursekit start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    who = f"process {dist.get_rank() + 1} of {dist.get_world_size()}"
    try:
        yield mine
    except (RuntimeError, KeyboardInterrupt) as error:  # torchrun ends the others by SIGTERM
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in LOST):
            raise
        kept = f"{'The last checkpoint' if saved.exists() else 'The checkpoint, if one was written,'} is {saved}"
        raise CourseError(
            f"{who}: the run ended early, because another of its processes was lost or torchrun was stopped. "
            f"{kept}; the same command goes on from there."
        ) from error
    finally:
        dist.destroy_process_group()


def _device_of_this_process(name: str) -> torch.device:
    device, number = resolve_device(name), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if number >= (here := torch.cuda.device_count()):
            asked = os.environ["LOCAL_WORLD_SIZE"]
            raise CourseError(f"{asked} processes need as many GPUs, and this machine has {here}: --nproc-per-node.")
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise CourseError(f"several processes cannot train on {device.type} together: choose --device cpu.")
    return device


def wait_for_all() -> None:
    """Go on when all processes have come here."""
    any_process(False)


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true in this process or in another one."""
    if processes() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def require_enough(samples: int) -> None:
    """A batch must give every process at least one sample."""
    if samples < processes():
        raise CourseError(
            f"{processes()} processes cannot share a batch of {samples}: start fewer, or choose another batch_size."
        )


class Together:
    """The loss of a batch, computed by all processes: a step can use it as if it were the loss of one process.

    With n samples in the batch and nᵣ in the share of process r, the loss is Σᵣ (nᵣ/n) ℓᵣ in every process. For a loss
    that is a mean over the samples, these are the loss and the gradient of the whole batch.

    Args:
        model: what learns. On GPUs its batch normalization becomes torch's SyncBatchNorm, which takes its statistics
            from the whole batch.
        loss: maps a batch to a scalar or a dict of them, as in `Descent`.

    Raises:
        CourseError: the loss of the first batch is not the mean of what the processes find, because it is a sum or
            compares samples; it draws random numbers, which every process would draw alike; or there is batch
            normalization on a CPU, where torch cannot take statistics of the whole batch.
    """

    shares = 0  # how many were taken in this process, by whatever step

    def __init__(self, model: nn.Module, loss: Callable[..., Losses]) -> None:
        norms = [name for name, it in model.named_modules() if isinstance(it, _BatchNorm)]
        if norms:
            if next(model.parameters()).device.type != "cuda":
                raise CourseError(
                    f"{', '.join(norms[:3])}: several processes on a CPU would normalize their shares of a batch "
                    "apart, which is another model. Use GPUs or one process."
                )
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model, self.loss, self.checked = model, loss, False
        self.parallel = DistributedDataParallel(_AsModule(model, loss))

    def __call__(self, *batch: Tensor) -> Losses:
        n = len(batch[0])
        require_enough(n)
        share = [x.tensor_split(dist.get_world_size())[dist.get_rank()] for x in batch]  # (nᵣ, ...) each
        Together.shares += 1
        weight = len(share[0]) / n
        losses = self.parallel(*share)
        own = by_name(losses)
        means = weight * torch.stack([loss.detach() for loss in own.values()])
        dist.all_reduce(means)
        if not self.checked:
            self._check(batch, dict(zip(own, means, strict=True)))
        # DDP divides the sum of the gradients by the number of processes. The value is the mean of all of them.
        terms = [weight * dist.get_world_size() * loss for loss in own.values()]
        whole = [mean + (term - term.detach()) for mean, term in zip(means, terms, strict=True)]
        return whole[0] if isinstance(losses, Tensor) else dict(zip(own, whole, strict=True))

    def _check(self, batch: tuple[Tensor, ...], means: Mapping[str, Tensor]) -> None:
        """Compare with the loss of the whole batch, which every process can compute, and leave no trace of that."""
        device = batch[0].device
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        with torch.no_grad(), own_randomness(device):
            before = rng_states(device)
            whole = by_name(self.loss(*batch))
            drawn = any(not torch.equal(state, before[kind]) for kind, state in rng_states(device).items())
        with torch.no_grad():
            for buffer, value in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(value)
        if drawn:
            raise CourseError(
                "the loss draws random numbers (dropout, noise), and every process would draw the same ones: "
                "draw them before the loss, for the whole batch, or use one process."
            )
        for name, value in whole.items():
            rounding = 1e-8 if value.dtype == torch.float64 else 1e-3
            if torch.is_autocast_enabled(device.type):
                rounding = 1e-2
            if not torch.isclose(means[name], value, rtol=rounding, atol=1e-3 * rounding, equal_nan=True):
                raise CourseError(
                    f"{name} is {value:.6g} for a whole batch, but {means[name]:.6g} on average over the shares of "
                    f"{processes()} processes: only a mean over the samples can be shared. Use one process."
                )
        self.checked = True


class _AsModule(nn.Module):
    """The loss as a module, because DistributedDataParallel wraps modules."""

    def __init__(self, model: nn.Module, loss: Callable[..., Losses]) -> None:
        super().__init__()
        self.model = model
        self.loss: Callable[..., Losses] = loss

    def forward(self, *batch: Tensor) -> Any:
        return self.loss(*batch)
