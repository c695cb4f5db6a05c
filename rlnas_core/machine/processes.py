"""Training in several processes that each take a part of every batch, with the result of one.

`torchrun` starts them and says in the environment who they are. Without it there is one process, and nothing
here has a cost.
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
    """Meet the other processes, if there are any: by NCCL where they have GPUs, else by Gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
        atexit.register(dist.destroy_process_group)


def end_with_parent() -> None:
    """Be killed when the process that started this one is gone, however it went; only Linux can do that."""
    if sys.platform == "linux":
        _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def described() -> str:
    """How many processes with how many threads each there are, as a log says it."""
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return threads if count() == 1 else f"{count()} processes of {threads}"


def rank() -> int:
    """The number of this process, from 0; the first alone writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def part(batch_size: int) -> slice:
    """The part of a batch that is this process's; ValueError where the parts can't be equal."""
    if batch_size % count():
        raise ValueError(
            f"batch_size: got {batch_size} for {count()} processes; accepted: a multiple of {count()}"
        )
    each = batch_size // count()
    return slice(rank() * each, (rank() + 1) * each)


def first_then_others(action: Callable[[], Any]) -> Any:
    """Do something in the first process, and only then in the others."""
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
    """Give tensors the values of the first process, in place."""
    if count() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' numbers."""
    if count() == 1:
        return number
    shared = torch.tensor(number, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)


@torch.no_grad()
def average_gradients(weights: Sequence[Tensor], flag: bool, look: bool = True) -> bool:
    """Average gradients over the processes, in place; return whether any process raised its flag.

    All go in one message. Every process has to have gradients of the same weights, and to `look` at the flags
    at the same time; a GPU has to be waited for then.
    """
    if count() == 1:
        return flag
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    message = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([flag])])
    dist.all_reduce(message)
    *averaged, flags = message.split([*(gradient.numel() for gradient in gradients), 1])
    for gradient, total in zip(gradients, averaged, strict=True):
        gradient.copy_(total.view(gradient.shape)).div_(count())
    return look and flags.item() > 0


def var_mean(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Biased variance and mean by channel of x (B, C, H, W) over the batch of all processes, and of how many.

    Parts may be of different sizes. Gradients flow back to those of all processes.
    """
    x, dims = x.float() if x.dtype == torch.bfloat16 else x, (0, 2, 3)
    own = x.new_tensor([x.numel() // x.shape[1]])
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
