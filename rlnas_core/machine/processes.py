"""Training in several processes: each takes a part of every batch, and the result is that of one process.

`torchrun` starts the processes and sets their ranks in the environment. Without it there is one process, and
the functions here do nothing.
"""

import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

if sys.platform == "linux":
    _LIBC, _PDEATHSIG = ctypes.CDLL(None), 1


def join(device: torch.device) -> None:
    """Connect to the other processes, if any: by NCCL on GPUs, else by Gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
        atexit.register(dist.destroy_process_group)


def end_with_parent() -> None:
    """Let Linux kill this process when its parent ends for any reason; does nothing on other systems."""
    if sys.platform == "linux":
        _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)


def count() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def described() -> str:
    """The number of processes and of threads of each, as text for the log."""
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return threads if count() == 1 else f"{count()} processes of {threads}"


def rank() -> int:
    """The number of this process, from 0; only process 0 writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def part(batch_size: int) -> slice:
    """The part of a batch for this process; ValueError if the parts can't be equal."""
    if batch_size % count():
        raise ValueError(
            f"batch_size: got {batch_size} for {count()} processes; accepted: a multiple of {count()}"
        )
    each = batch_size // count()
    return slice(rank() * each, (rank() + 1) * each)


def first_then_others(action: Callable[[], Any]) -> Any:
    """Call a function in the first process, and only then in the others."""
    for turn in (rank() == 0, rank() != 0):
        if turn:
            result = action()
        if count() > 1:
            dist.barrier()
    return result


def add_up(tensor: Tensor) -> Tensor:
    """Sum a tensor over the processes, in place."""
    if count() > 1:
        dist.all_reduce(tensor)
    return tensor


def share(tensors: Iterable[Tensor]) -> None:
    """Copy the values of tensors from the first process to all others, in place."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def largest(number: int, device: torch.device) -> int:
    """The largest of the numbers of all processes."""
    if count() == 1:
        return number
    shared = torch.tensor(number, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)


@torch.no_grad()
def average_gradients(weights: Sequence[Tensor], flag: bool, look: bool = True) -> bool:
    """Average gradients over the processes, in place; return whether `flag` is true in any process.

    All gradients go in one message. Every process must have gradients of the same weights and `look` at the
    flags in the same steps, since a look waits for the GPU.
    """
    if count() == 1:
        return flag
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    raised = gradients[0].new_full((1,), flag)  # filled on the GPU: a copy would wait for it
    message = torch.cat([*(gradient.flatten() for gradient in gradients), raised])
    dist.all_reduce(message)
    *averaged, flags = message.split([*(gradient.numel() for gradient in gradients), 1])
    for gradient, total in zip(gradients, averaged, strict=True):
        gradient.copy_(total.view(gradient.shape)).div_(count())
    return look and flags.item() > 0


def var_mean(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Biased variance and mean per channel of x (B, C, H, W) over all processes, and the number of values.

    Parts may have different sizes. Gradients flow back to all processes.
    """
    x, dims = x.float() if x.dtype == torch.bfloat16 else x, (0, 2, 3)
    own = x.new_full((1,), x.numel() // x.shape[1])
    *sums, size = _Sum.apply(torch.cat([x.sum(dims), own])).split([x.shape[1], 1])
    mean = sums[0] / size
    variance = _Sum.apply((x - mean[:, None, None]).square().sum(dims)) / size
    return variance, mean, size


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        return add_up(tensor.clone())

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return add_up(gradients[0].clone())
