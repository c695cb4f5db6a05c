"""Devices of this machine: each job reserves its own, and waits while there are too few.

Jobs of one user coordinate through advisory file locks, whatever workflow they belong to. The operating
system releases the locks of a process when it ends, also after a crash. The lock files lie in the temporary
directory, so TMPDIR has to be the same for all jobs.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

NAMES = ("auto", "cpu", "cuda", "mps")
_PAUSE = 0.25  # seconds between checks for a free device


def upload(value: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a small array or CPU tensor to a device, without waiting for a busy GPU."""
    tensor = torch.as_tensor(value)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class DeviceError(RuntimeError):
    """The machine doesn't have the devices that a job requests."""


def available(kind: str) -> dict[torch.device, str]:
    """Devices of a kind (`cuda`, `mps`) that this process may use, each with its identity on the machine.

    Torch numbers them by CUDA_VISIBLE_DEVICES. The identity is the UUID, which doesn't depend on that list.
    """
    if kind == "mps":
        return {torch.device("mps", 0): "mps"} if torch.backends.mps.is_available() else {}
    if not torch.cuda.is_available():
        return {}
    devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    # The parts of a split GPU (MIG) may all report the UUID of the whole GPU.
    return {
        device: entry.replace("/", "_")
        if (entry := _entry(device)).startswith("MIG")
        else str(getattr(torch.cuda.get_device_properties(device.index), "uuid", entry))
        for device in devices
    }


def _entry(device: torch.device) -> str:
    """The entry of CUDA_VISIBLE_DEVICES for a device of this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(device.index) if visible is None else visible.split(",")[device.index].strip()


def environment(reserved: list[torch.device]) -> dict[str, str]:
    """The environment for child processes, in which only the reserved GPUs are visible.

    The k-th of them is `cuda:k` in the children. They take no locks, since this process keeps its own.
    """
    entries = [_entry(device) for device in reserved if device.type == "cuda"]
    return os.environ | ({"CUDA_VISIBLE_DEVICES": ",".join(entries)} if entries else {})


def absent(names: Iterable[str]) -> list[str]:
    """Return one message for each kind of device that this machine doesn't have."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    return [
        f"device: got {name}, and there is none (CUDA_VISIBLE_DEVICES: {seen}); accepted here: auto, cpu"
        for name in sorted(set(names) - {"auto", "cpu"})
        if not available(name)
    ]


@contextmanager
def reserve(
    name: str = "auto", count: int = 1, share: int = 1, *, log: Callable[[str], None] = print
) -> Iterator[list[torch.device]]:
    """Reserve `count` different devices, the least used first; at most `share` jobs use a device at a time.

    Waits until there are enough. `auto` takes CUDA, then MPS, then the CPU; the CPU isn't locked and is
    returned `count` times. All jobs have to use the same `share`. Raises ValueError for an unsupported
    argument and DeviceError if the machine has fewer than `count` devices of that kind.
    """
    if name not in NAMES:
        raise ValueError(f"device: got {name!r}; accepted: {', '.join(NAMES)}")
    if count < 1 or share < 1:
        raise ValueError(f"count and share: got {count} and {share}; accepted: 1 or more")
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if available(kind)), "cpu")
        if name == "cpu":
            log("device is auto and there is no GPU: this job runs on the CPU")
    if name == "cpu":
        yield [torch.device("cpu")] * count
        return
    devices = available(name)
    if len(devices) < count:
        raise DeviceError(
            f"the job asks for {count} {name} device{'s' * (count > 1)} and {len(devices)} can be seen "
            f"(CUDA_VISIBLE_DEVICES: {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}); "
            "ask for fewer, make more visible, or let device be auto or cpu"
        )
    folder = Path(tempfile.gettempdir()) / f"rlnas-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (taken := _take(devices, count, share, folder)):
        seen = ", ".join(f"{device} ({identity})" for device, identity in devices.items())
        log(f"waits for {count} of {seen}: too many are in use, by jobs that have files open in {folder}")
        while not (taken := _take(devices, count, share, folder)):
            time.sleep(_PAUSE)
    with ExitStack() as stack:
        for lock in taken.values():
            stack.callback(lock.release)
        log(f"reserved {', '.join(f'{device} ({devices[device]})' for device in taken)}")
        yield list(taken)


def _take(
    devices: dict[torch.device, str], count: int, share: int, folder: Path
) -> dict[torch.device, FileLock]:
    """Lock a slot of each of the `count` devices with the most free slots, or none if too few are free."""

    def free_slots(identity: str) -> Iterator[FileLock]:
        for slot in range(share):
            # Without flock, filelock would fall back to files that outlive their process.
            lock = FileLock(folder / f"{identity}.{slot}.lock", fallback_to_soft=False)
            with suppress(Timeout):
                lock.acquire(blocking=False)
                yield lock

    # One process checks at a time, so that a check isn't mistaken for a job. It takes all devices or none, so
    # that nobody waits while holding a device and there is no deadlock.
    with FileLock(folder / "door.lock", fallback_to_soft=False):
        free = {device: list(free_slots(identity)) for device, identity in devices.items()}
        chosen = sorted((device for device in devices if free[device]), key=lambda d: -len(free[d]))[:count]
        taken = {device: free[device].pop(0) for device in chosen} if len(chosen) == count else {}
        for lock in (lock for slots in free.values() for lock in slots):
            lock.release()
    return taken


def pick_device(name: str) -> torch.device:
    """The device of that name; one GPU per process. `auto` takes CUDA, then MPS, then the CPU."""
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        number = os.environ.get("LOCAL_RANK")
        return torch.device("cuda", torch.cuda.current_device() if number is None else int(number))
    if name != "auto":
        return torch.device(name)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
